#include "cli/control_answers.hpp"

#include <charconv>
#include <string>

#include "core/secret.hpp"
#include "town/codec.hpp"
#include "town/json_writer.hpp"

namespace townkeeper::cli {
namespace {

constexpr unsigned retry_seconds = 1;
constexpr int created = 201;

/// `[RecoveryPoint]`.
void write(town::json_writer& out, const std::vector<town::recovery_point>& points) {
  out.begin_array();
  for (const auto& point : points)
    out.raw(town::encode(point));
  out.end_array();
}

http::response partly_saved(const snapshot_answer& answer, const std::string& why) {
  town::json_writer out;
  out.begin_object();
  out.member("success", false);
  out.member("error", why);
  out.member("code", "unsaved");
  out.key("data");
  write(out, answer.points);
  out.list("unsaved", answer.failures, [&](const error& e) {
    out.begin_object();
    out.member("agentId", e.object);
    out.member("code", to_string(e.code));
    out.member("error", redact(to_string(e)));
    out.end_object();
  });
  out.end_object();
  http::response given{.status = 503, .body = out.text(), .headers = {}};
  return http::with_retry_after(std::move(given), retry_seconds);
}

} // namespace

http::response readiness(const health_snapshot& now, bool strict) {
  const bool settled = now.phase == town::town_phase::ready || (now.phase == town::town_phase::degraded && !strict);
  const std::string phase(town::to_string(now.phase));
  if (now.converged && settled) return http::ok(R"({"phase":")" + phase + R"("})");
  return http::with_retry_after(http::failure(503, "not_ready", "the town is in phase " + phase), retry_seconds);
}

std::optional<http::response> epoch_refusal(std::optional<std::string_view> header, std::int64_t epoch) {
  if (!header) return std::nullopt;
  std::int64_t said = 0;
  const auto [end, failed] = std::from_chars(header->data(), header->data() + header->size(), said);
  if (failed != std::errc() || end != header->data() + header->size() || said < 1)
    return http::failure(400, "invalid_epoch", "X-Gastown-Epoch is the integer that container-boot answered");
  if (epoch == 0)
    return http::with_retry_after(http::failure(503, "not_ready", "this container has no epoch yet"), retry_seconds);
  if (said == epoch) return std::nullopt;
  return http::failure(409, "fenced",
                       "this container has epoch " + std::to_string(epoch) + ", not " + std::to_string(said));
}

http::response start_response(const result<start_answer>& answer) {
  if (!answer) return unanswered(answer.error());
  if (answer->agent && answer->status <= created) return http::ok(town::encode(*answer->agent), answer->status);
  const auto why = answer->failure.value_or(error{error_code::internal, "agent", "the start has no answer"});
  const auto code = answer->status == 404 ? std::string_view("unknown_agent") : to_string(why.code);
  auto refused = http::failure(answer->status, code, to_string(why));
  if (answer->retry_after_seconds <= 0) return refused;
  return http::with_retry_after(std::move(refused), static_cast<unsigned>(answer->retry_after_seconds));
}

http::response snapshot_response(const result<snapshot_answer>& answer) {
  if (!answer) return unanswered(answer.error());
  const auto& failures = answer->failures;
  if (failures.empty()) {
    town::json_writer out;
    write(out, answer->points);
    return http::ok(out.text());
  }
  if (answer->unknown_agent) return http::failure(404, "unknown_agent", to_string(failures.front()));
  std::string why = "unsaved: ";
  for (const auto& e : failures)
    why += (&e == &failures.front() ? "" : "; ") + redact(to_string(e));
  return partly_saved(*answer, why);
}

http::response unanswered(const error& why) {
  const bool bug = why.code == error_code::internal;
  auto answer = http::failure(bug ? 500 : 503, to_string(why.code), to_string(why));
  return bug ? answer : http::with_retry_after(std::move(answer), retry_seconds);
}

http::response invalid_body(const error& why) {
  return http::failure(400, "invalid_body", to_string(why));
}

} // namespace townkeeper::cli
