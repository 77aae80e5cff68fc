#include "cli/agent_routes.hpp"

#include <mutex>
#include <set>
#include <utility>

#include "cli/control_answers.hpp"
#include "cli/credential_request.hpp"
#include "town/json_writer.hpp"

namespace townkeeper::cli {
namespace {

struct speaker {
  std::string rig_id, agent_id;
};

speaker speaker_of(const http::request& r) {
  const auto slash = r.label.find('/');
  return {r.label.substr(0, slash), r.label.substr(slash + 1)};
}

/// Rigs whose login a remote has refused since it was told last. Thread-safe.
class refused_logins {
public:
  void add(const std::string& rig_id) {
    const std::lock_guard lock(mutex_);
    rigs_.insert(rig_id);
  }
  bool take(const std::string& rig_id) {
    const std::lock_guard lock(mutex_);
    return rigs_.erase(rig_id) > 0;
  }

private:
  std::mutex mutex_;
  std::set<std::string> rigs_;
};

http::handler to_town(const std::shared_ptr<actor_gateway>& actors, std::string route) {
  return [actors, route = std::move(route)](http::request r, const http::responder& answer) {
    auto from = speaker_of(r);
    const auto target = r.query.empty() ? route : route + "?" + r.query;
    actors->call_town({std::move(from.rig_id), std::move(from.agent_id), r.method, target, std::move(r.body)},
                      [answer](result<agent_call_answer> a) {
                        if (!a) return answer(unanswered(a.error()));
                        http::response out;
                        out.status = a->status;
                        out.body = std::move(a->body);
                        answer(std::move(out));
                      });
  };
}

credential_request asked_for(const http::request& r) {
  return {r.query_value("protocol").value_or(""), r.query_value("host").value_or(""),
          r.query_value("path").value_or("")};
}

http::response not_told() {
  return http::failure(404, "not_found", "there is no login for that remote");
}

http::response login_response(const git::credentials& login) {
  town::json_writer out;
  out.begin_object();
  out.member("username", login.username);
  out.member("password", login.token.reveal());
  out.end_object();
  auto told = http::ok(out.text());
  told.headers.add("Cache-Control", "no-store");
  return told;
}

/// One question of git about a login.
struct login_question {
  std::shared_ptr<actor_gateway> actors;
  std::shared_ptr<refused_logins> refused;
  std::string rig_id;
  credential_request asked;
  http::responder answer;
};

void tell_login(const login_question& q, bool refresh) {
  q.actors->credentials({q.rig_id, refresh}, [q, refresh](const result<git_credentials_answer>& a) {
    if (!a || !a->login) {
      if (refresh) q.refused->add(q.rig_id);
      return q.answer(unanswered(a ? a->login.error() : a.error()));
    }
    if (!is_of_remote(q.asked, a->git_url)) return q.answer(not_told());
    if (const auto& login = *a->login) return q.answer(login_response(*login));
    // Git asks only where the remote demands a login: that there was none is no longer true.
    if (!refresh) return tell_login(q, true);
    q.answer(not_told());
  });
}

void add_credentials(http::router& routes, const std::shared_ptr<actor_gateway>& actors) {
  const auto refused = std::make_shared<refused_logins>();
  const auto question = [actors, refused](const http::request& r, const http::responder& answer) {
    return login_question{actors, refused, speaker_of(r).rig_id, asked_for(r), answer};
  };
  routes.add("GET", "/credential", [question](const http::request& r, const http::responder& answer) {
    const auto q = question(r, answer);
    tell_login(q, q.refused->take(q.rig_id));
  });
  routes.add("POST", "/credential-refused", [question](const http::request& r, const http::responder& answer) {
    const auto q = question(r, answer);
    q.actors->credentials({q.rig_id, false}, [q](const result<git_credentials_answer>& a) {
      if (!a) return q.answer(unanswered(a.error()));
      if (!is_of_remote(q.asked, a->git_url)) return q.answer(not_told());
      q.refused->add(q.rig_id);
      q.answer(http::ok(R"({"refreshed":"with the next question"})"));
    });
  });
}

} // namespace

std::string agent_label(const std::string& rig_id, const std::string& agent_id) {
  return rig_id + "/" + agent_id;
}

http::router agent_routes(const std::shared_ptr<actor_gateway>& actors) {
  http::router routes;
  for (const auto* said : {"checkpoint", "done", "status", "mail-ack"})
    routes.add("POST", std::string("/") + said, to_town(actors, said));
  for (const auto* asked : {"prime", "checkpoints"})
    routes.add("GET", std::string("/") + asked, to_town(actors, asked));
  add_credentials(routes, actors);
  return routes;
}

} // namespace townkeeper::cli
