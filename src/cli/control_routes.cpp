#include "cli/control_routes.hpp"

#include <utility>

#include "cli/control_answers.hpp"
#include "town/codec.hpp"
#include "town/decode.hpp"

namespace townkeeper::cli {
namespace {

http::response other_town(const std::string& ours) {
  return http::failure(403, "forbidden", "this container serves town " + ours + ", not the one that was named");
}

/// `h` for callers of this container's epoch alone.
http::handler fenced_by(std::shared_ptr<const published_health> published, http::handler h) {
  return [published = std::move(published), h = std::move(h)](http::request r, http::responder answer) {
    if (auto refusal = epoch_refusal(r.headers.find("X-Gastown-Epoch"), published->read()->epoch))
      return answer(std::move(*refusal));
    h(std::move(r), std::move(answer));
  };
}

void add_probes(http::router& routes, const control_context& c) {
  const auto published = c.published;
  routes.add("GET", "/health", [published](const http::request&, const http::responder& answer) {
    http::response document;
    document.body = published->read()->document;
    answer(std::move(document));
  });
  routes.add("GET", "/livez",
             [](const http::request&, const http::responder& answer) { answer(http::ok(R"({"live":true})")); });
  routes.add("GET", "/readyz", [published](const http::request& r, const http::responder& answer) {
    answer(readiness(*published->read(), r.query_value("strict").has_value()));
  });
  routes.add("GET", "/metrics", [metrics = c.metrics](const http::request&, const http::responder& answer) {
    answer({.content_type = "text/plain; version=0.0.4; charset=utf-8", .body = metrics->text(), .headers = {}});
  });
}

http::handler start_route(const control_context& c) {
  return [town_id = c.town_id, actors = c.actors](const http::request& r, const http::responder& answer) {
    auto wanted = town::decode_start_request(r.body);
    if (!wanted) return answer(invalid_body(wanted.error()));
    if (wanted->town_id != town_id) return answer(other_town(town_id));
    actors->start(std::move(*wanted), [answer](const result<start_answer>& a) { answer(start_response(a)); });
  };
}

http::handler stop_route(const control_context& c) {
  return [actors = c.actors](const http::request& r, const http::responder& answer) {
    actors->stop(r.params.at("agent"), [answer](const result<stop_answer>& a) {
      if (!a) return answer(unanswered(a.error()));
      answer(a->known ? http::ok(R"({"stopped":true})")
                      : http::failure(404, "unknown_agent", "there is no such agent in this container"));
    });
  };
}

http::handler status_route(const control_context& c) {
  return [actors = c.actors](const http::request& r, const http::responder& answer) {
    actors->status(r.params.at("agent"), [answer](const result<agent_status_answer>& a) {
      if (!a) return answer(unanswered(a.error()));
      answer(a->status ? http::ok(town::encode(*a->status))
                       : http::failure(404, "unknown_agent", "there is no such agent in this container"));
    });
  };
}

http::handler snapshot_route(const control_context& c) {
  return [actors = c.actors](const http::request& r, const http::responder& answer) {
    auto agent_id = town::decode_snapshot_request(r.body);
    if (!agent_id) return answer(invalid_body(agent_id.error()));
    actors->snapshot({std::move(*agent_id)},
                     [answer](const result<snapshot_answer>& a) { answer(snapshot_response(a)); });
  };
}

http::handler drain_route(const control_context& c) {
  return [actors = c.actors](const http::request&, const http::responder& answer) {
    if (!actors->drain("POST /drain"))
      return answer(unanswered({error_code::unavailable, "townkeeper", "the daemon is not up yet, or about to end"}));
    answer(http::ok(R"({"draining":true})", 202));
  };
}

http::handler refresh_token_route(const control_context& c) {
  return [town_id = c.town_id, token = c.container_token, actors = c.actors](const http::request& r,
                                                                             const http::responder& answer) {
    const auto fresh = town::decode_token_refresh(r.body);
    if (!fresh) return answer(invalid_body(fresh.error()));
    if (fresh->town_id && *fresh->town_id != town_id) return answer(other_town(town_id));
    if (!actors->take_token(fresh->token))
      return answer(unanswered({error_code::unavailable, "townkeeper", "the daemon is not up yet"}));
    token->set(fresh->token);
    answer(http::ok(R"({"refreshed":true})"));
  };
}

} // namespace

http::router control_routes(const control_context& c) {
  const auto with_control_token = http::accepts(c.control_token);
  const auto with_either_token = [with_control_token, current = c.container_token](std::string_view token) {
    const bool control = with_control_token(token);
    return current->equals(token) || control;
  };
  http::router routes;
  add_probes(routes, c);
  routes.add("POST", "/agents/start", with_control_token, fenced_by(c.published, start_route(c)));
  routes.add("POST", "/agents/{agent}/stop", with_control_token, fenced_by(c.published, stop_route(c)));
  routes.add("GET", "/agents/{agent}/status", status_route(c));
  routes.add("POST", "/snapshot", with_control_token, fenced_by(c.published, snapshot_route(c)));
  routes.add("POST", "/drain", with_control_token, fenced_by(c.published, drain_route(c)));
  routes.add("POST", "/refresh-token", with_either_token, fenced_by(c.published, refresh_token_route(c)));
  return routes;
}

} // namespace townkeeper::cli
