#include "town/decode.hpp"

#include <fmt/format.h>
#include <rapidjson/document.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "core/bounded_json.hpp"
#include "town/object_reader.hpp"

namespace townkeeper::town {
namespace {

error unreadable(std::string_view what, const object_reader& in) {
  return {error_code::corrupt, std::string(what), in.problem()};
}

error refused_body(std::string what, std::string message) {
  return {error_code::invalid_argument, std::move(what), std::move(message)};
}

/// A body that came to the control server: `invalid_argument` unless it is one JSON object.
result<rapidjson::Document> parse_body(std::string_view what, std::string_view body) {
  rapidjson::Document document;
  if (const auto fault = parse_bounded(body, document))
    return refused_body(std::string(what),
                        fmt::format("the body is not JSON: {} at byte {}", fault->message, fault->offset));
  return document;
}

bool is_variable_name(std::string_view name) {
  const auto good = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  };
  return !name.empty() && !(name.front() >= '0' && name.front() <= '9') && std::all_of(name.begin(), name.end(), good);
}

/// What a program can be given: no NUL byte.
const char* without_nul(std::string_view text) noexcept {
  return text.find('\0') == std::string_view::npos ? nullptr : "must not hold a NUL byte";
}

std::vector<std::pair<std::string, std::string>> read_variables(object_reader& in) {
  std::vector<std::pair<std::string, std::string>> out;
  const auto* values = in.find_object("envVars");
  if (values == nullptr) return out;
  object_reader inner(*values, "envVars");
  for (const auto& m : values->GetObject()) {
    const std::string name(m.name.GetString(), m.name.GetStringLength());
    if (!is_variable_name(name)) {
      in.fail("envVars", "has a name that no variable can have");
      return out;
    }
    out.emplace_back(name, inner.text(name, without_nul));
  }
  in.adopt(inner);
  return out;
}

/// Reads `digits` decimal digits at `at` and moves on.
std::optional<int> take_number(std::string_view text, std::size_t& at, std::size_t digits) {
  int value = 0;
  if (at + digits > text.size()) return std::nullopt;
  const auto* begin = text.data() + at;
  const auto [end, failure] = std::from_chars(begin, begin + digits, value);
  if (failure != std::errc{} || end != begin + digits || value < 0) return std::nullopt;
  at += digits;
  return value;
}

bool take(std::string_view text, std::size_t& at, char expected) {
  if (at >= text.size() || text[at] != expected) return false;
  ++at;
  return true;
}

/// The offset from UTC that ends a time (`Z`, `+01:00`), if that is all that is left.
std::optional<std::chrono::minutes> take_offset(std::string_view text, std::size_t at) {
  if (text.substr(at) == "Z") return std::chrono::minutes{0};
  const bool east = at < text.size() && text[at] == '+';
  if (!east && (at >= text.size() || text[at] != '-')) return std::nullopt;
  ++at;
  const auto hours = take_number(text, at, 2);
  if (!hours || !take(text, at, ':')) return std::nullopt;
  const auto minutes = take_number(text, at, 2);
  if (!minutes || at != text.size() || *hours > 23 || *minutes > 59) return std::nullopt;
  return std::chrono::minutes{(east ? 1 : -1) * (*hours * 60 + *minutes)};
}

} // namespace

result<ready_answer> decode_ready_answer(const answer_data& data) {
  object_reader in(data.value(), {});
  const ready_answer answer{in.boolean("cleared"), in.integer("pending", 0), in.integer("desiredVersion", 0)};
  if (!in.ok()) return unreadable("container-ready", in);
  return answer;
}

result<heartbeat_answer> decode_heartbeat_answer(const answer_data& data) {
  object_reader in(data.value(), {});
  heartbeat_answer answer{in.integer("desiredVersion", 0), in.optional_text("drainNonce", one_line)};
  if (!in.ok()) return unreadable("container-heartbeat", in);
  return answer;
}

result<git_token> decode_git_token(const answer_data& data) {
  object_reader in(data.value(), {});
  auto token = in.text("token", header_word);
  auto username = in.optional_text("username", header_word);
  const auto expires = in.optional_text("expiresAt");
  if (username && username->find(':') != std::string::npos) in.fail("username", "must not hold a colon");
  if (!in.ok()) return unreadable("refresh-git-token", in);
  git_token out;
  out.token = secret(std::move(token));
  if (username) out.username = std::move(*username);
  if (expires) out.expires_at = parse_time(*expires);
  return out;
}

result<secret> decode_container_token(const answer_data& data) {
  object_reader in(data.value(), {});
  auto token = in.text("token", header_word);
  if (!in.ok()) return unreadable("refresh-container-token", in);
  return secret(std::move(token));
}

result<start_request> decode_start_request(std::string_view body) {
  constexpr auto what = "agents/start";
  const auto document = parse_body(what, body);
  if (!document) return document.error();
  object_reader in(*document, {});
  start_request r;
  r.agent_id = in.text("agentId", valid_id);
  r.rig_id = in.text("rigId", valid_id);
  r.town_id = in.text("townId", valid_id);
  r.role = in.text("role", valid_id);
  r.name = in.text("name", one_line);
  r.identity = in.text("identity", identity_line);
  r.prompt = in.text("prompt", without_nul);
  r.model = in.text("model", one_line);
  r.system_prompt = in.optional_text("systemPrompt", without_nul);
  r.git_url = in.text("gitUrl", url_shape);
  r.branch = in.text("branch", valid_branch);
  r.default_branch = in.text("defaultBranch", valid_branch);
  r.env_vars = read_variables(in);
  r.start_point = in.optional_text("startPoint", one_line);
  r.dispatch_id = in.optional_text("dispatchId", valid_id);
  if (!in.ok()) return refused_body(what, in.problem());
  return r;
}

result<token_refresh> decode_token_refresh(std::string_view body) {
  constexpr auto what = "refresh-token";
  const auto document = parse_body(what, body);
  if (!document) return document.error();
  object_reader in(*document, {});
  auto token = in.text("token", header_word);
  auto town_id = in.optional_text("townId", valid_id);
  if (!in.ok()) return refused_body(what, in.problem());
  return token_refresh{secret(std::move(token)), std::move(town_id)};
}

result<std::vector<finished_agent>> decode_finished_agents(const answer_data& data) {
  object_reader in(data.value(), {});
  const auto* rigs = in.find_array("rigs");
  if (rigs == nullptr) return error{error_code::corrupt, "state", "rigs is missing"};
  std::vector<finished_agent> finished;
  for (const auto& entry : rigs->GetArray()) {
    object_reader rig(entry, "rigs[]");
    const auto rig_id = rig.text("rigId", valid_id);
    const auto* agents = rig.find_array("agents");
    if (!rig.ok() || agents == nullptr) continue;
    for (const auto& each : agents->GetArray()) {
      object_reader agent(each, "agents[]");
      auto agent_id = agent.text("agentId", valid_id);
      const auto status = agent.text("status");
      const bool has_said_done = agent.find_object("done") != nullptr;
      std::optional<std::string> recovery_commit;
      if (const auto* point = agent.find_object("recovery")) {
        object_reader inner(*point, "recovery");
        recovery_commit = inner.text("commit", full_commit);
        agent.adopt(inner);
      }
      if (agent.ok() && status == "idle" && has_said_done)
        finished.push_back({rig_id, std::move(agent_id), std::move(recovery_commit)});
    }
  }
  return finished;
}

result<std::optional<std::int64_t>> decode_live_epoch(const answer_data& data) {
  object_reader in(data.value(), {});
  const auto* container = in.find_object("container");
  if (!in.ok()) return error{error_code::corrupt, "state", in.problem()};
  if (container == nullptr) return std::optional<std::int64_t>{};
  object_reader newest(*container, "container");
  const auto epoch = newest.integer("epoch", 1);
  const bool lives = newest.boolean("live");
  if (!newest.ok()) return error{error_code::corrupt, "state", newest.problem()};
  return lives ? std::optional{epoch} : std::nullopt;
}

result<std::optional<std::string>> decode_snapshot_request(std::string_view body) {
  constexpr auto what = "snapshot";
  if (body.empty()) return std::optional<std::string>{};
  const auto document = parse_body(what, body);
  if (!document) return document.error();
  object_reader in(*document, {});
  auto agent_id = in.optional_text("agentId", valid_id);
  if (!in.ok()) return refused_body(what, in.problem());
  return agent_id;
}

std::optional<std::chrono::system_clock::time_point> parse_time(std::string_view text) {
  namespace c = std::chrono;
  std::size_t at = 0;
  std::array<int, 6> part{};
  constexpr std::array<std::size_t, 6> digits{4, 2, 2, 2, 2, 2};
  constexpr std::string_view separators = "--T::";
  for (std::size_t i = 0; i < part.size(); ++i) {
    const auto number = take_number(text, at, digits[i]);
    if (!number || (i < separators.size() && !take(text, at, separators[i]))) return std::nullopt;
    part[i] = *number;
  }
  c::milliseconds fraction{0};
  if (take(text, at, '.')) {
    const auto begin = at;
    for (int unit = 100; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, unit /= 10)
      fraction += c::milliseconds{(text[at] - '0') * unit};
    if (at == begin) return std::nullopt;
  }
  const auto offset = take_offset(text, at);
  const auto [year, month, day, hour, minute, second] = part;
  const c::year_month_day date{c::year{year}, c::month{static_cast<unsigned>(month)},
                               c::day{static_cast<unsigned>(day)}};
  if (!offset || !date.ok() || hour > 23 || minute > 59 || second > 60) return std::nullopt;
  // The clock counts nanoseconds in 64 bits, from 1677 to 2262: a time beyond would come out as any other.
  if (year < 1678 || year > 2261) return std::nullopt;
  return c::sys_days{date} + c::hours{hour} + c::minutes{minute} + c::seconds{second} + fraction - *offset;
}

} // namespace townkeeper::town
