#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "git/fetch.hpp"
#include "git/git_error.hpp"
#include "git/point_seal.hpp"
#include "git/private_objects.hpp"
#include "git/push_refusal.hpp"
#include "git/recovery.hpp"
#include "git/vanished_objects.hpp"

namespace townkeeper::git {
namespace {

using point_or_nothing = std::optional<town::recovery_point>;

/// What a connection needs to know of a push or a deletion.
template <class Job>
repository_job connection_of(const Job& job) {
  repository_job connection;
  connection.rig_id = job.rig_id;
  connection.url = job.url;
  connection.login = job.login;
  connection.limits = job.limits;
  connection.urls = job.urls;
  connection.ca_file = job.ca_file;
  connection.cancel = job.cancel;
  return connection;
}

result<void> check_remote(const std::string& rig_id, const std::string& url, const url_policy& policy) {
  if (const auto allowed = check_url(url, policy); !allowed)
    return error{allowed.error().code, rig_id, allowed.error().object + ": " + allowed.error().message};
  return {};
}

error not_ours(const std::string& rig_id, const std::string& ref) {
  return {error_code::invalid_argument, rig_id, ref + " is not below refs/townkeeper/: nothing else is pushed"};
}

/// A conflict with the agent's git: the next snapshot is of what is there then.
error vanished_error(const std::string& agent_id) {
  return {error_code::conflict, agent_id,
          "objects of the snapshot vanished before they were pushed (git gc): another one is taken"};
}

/// Items that go through one connection together.
class push_batch {
public:
  push_batch(const push_job& job, std::vector<const push_item*> items)
      : job_(job)
      , connection_(connection_of(job))
      , items_(std::move(items)) {}

  /// One answer for each item, in their order. Errors: of the whole.
  result<std::vector<pushed_point>> run();

private:
  result<std::vector<pushed_point>> run_once();
  bool set_aside_vanished();
  std::vector<std::string> agents() const;
  std::vector<std::string> seal(fetch_session& session);
  void take(const upload_report& report);
  void refuse(const error& why);

  const push_job& job_;
  const repository_job connection_;
  const std::vector<const push_item*> items_;
  std::vector<pushed_point> answers_;
  std::set<std::string> advertised_points_;
  std::set<std::string> vanished_; ///< agents whose snapshot has lost objects: not sent
};

/// An object that is gone is in the way of everything: then once more, on a fresh connection, without what misses it.
result<std::vector<pushed_point>> push_batch::run() {
  auto answers = run_once();
  if (answers || answers.error().code != error_code::corrupt || !set_aside_vanished()) return answers;
  answers_.clear();
  return run_once();
}

/// False: nothing is amiss with our objects.
bool push_batch::set_aside_vanished() {
  const auto forgotten = forget_broken_points(job_.repository, agents(), advertised_points_);
  for (const auto& answer : answers_) {
    if (!answer.point || !*answer.point) continue;
    const auto whole = can_be_sent(job_.repository, answer.agent_id, (*answer.point)->commit);
    if (whole && !*whole) vanished_.insert(answer.agent_id);
  }
  return !vanished_.empty() || (forgotten && *forgotten > 0);
}

std::vector<std::string> push_batch::agents() const {
  std::vector<std::string> agents;
  for (const auto* item : items_)
    agents.push_back(item->taken.agent_id);
  return agents;
}

result<std::vector<pushed_point>> push_batch::run_once() {
  auto repo = open_with_private_objects(job_.repository, agents());
  if (!repo) return repo.error();
  auto session = fetch_session::open_for_push(connection_, std::move(*repo));
  if (!session) return session.error();
  const auto refspecs = seal(**session);
  if (refspecs.empty()) return std::move(answers_);
  if (job_.about_to_send)
    for (const auto& answer : answers_)
      if (answer.point && *answer.point) job_.about_to_send(answer.agent_id, **answer.point);
  const auto report = (*session)->upload(refspecs);
  if (report)
    take(*report);
  else if (report.error().code == error_code::too_large)
    refuse(report.error());
  else
    return report.error();
  return std::move(answers_);
}

/// The refspecs of those that make a point. One that cannot be sealed fails by itself.
std::vector<std::string> push_batch::seal(fetch_session& session) {
  const seal_terms terms{session.remote(), job_.epoch, *job_.seq, job_.url, job_.saved_at};
  for (const auto& [ref, commit] : session.remote().refs)
    if (ref.starts_with(point_namespace)) advertised_points_.insert(commit);
  std::vector<std::string> refspecs;
  for (const auto* item : items_) {
    if (vanished_.contains(item->taken.agent_id)) {
      answers_.push_back({item->taken.agent_id, vanished_error(item->taken.agent_id), refusal::none, 0});
      continue;
    }
    auto point = seal_point(session.repository(), *item, terms);
    if (point && *point) refspecs.push_back("+" + (*point)->commit + ":" + item->ref);
    answers_.push_back({item->taken.agent_id, std::move(point), refusal::none, 0});
  }
  return refspecs;
}

void push_batch::take(const upload_report& report) {
  for (auto& answer : answers_) {
    answer.sent_bytes = report.sent_bytes;
    if (!answer.point || !*answer.point) continue;
    auto refused = refusal_of(report, answer.agent_id, (*answer.point)->ref);
    if (refused.kind == refusal::none) continue;
    answer.refused = refused.kind;
    answer.point = std::move(refused.why);
  }
}

void push_batch::refuse(const error& why) {
  for (auto& answer : answers_) {
    if (!answer.point || !*answer.point) continue;
    auto refused = refused_size(answer.agent_id, why);
    answer.refused = refused.kind;
    answer.point = std::move(refused.why);
  }
}

} // namespace

result<std::vector<pushed_point>> push_points(const push_job& job) {
  if (const auto checked = check_remote(job.rig_id, job.url, job.urls); !checked) return checked.error();
  std::vector<const push_item*> items;
  for (const auto& item : job.items) {
    if (!item.ref.starts_with(point_namespace)) return not_ours(job.rig_id, item.ref);
    items.push_back(&item);
  }
  if (items.empty()) return std::vector<pushed_point>{};
  auto answers = push_batch(job, items).run();
  if (!answers || items.size() == 1) return answers;
  // One item's content may have had all of them refused.
  for (std::size_t i = 0; i < items.size(); ++i) {
    if ((*answers)[i].refused != refusal::content) continue;
    auto alone = push_batch(job, {items[i]}).run();
    auto& answer = (*answers)[i];
    answer = alone ? std::move(alone->front())
                   : pushed_point{answer.agent_id, alone.error(), refusal::none, answer.sent_bytes};
  }
  return answers;
}

result<std::set<std::string>> delete_points(const delete_job& job) {
  if (const auto checked = check_remote(job.rig_id, job.url, job.urls); !checked) return checked.error();
  for (const auto& [ref, commit] : job.refs)
    if (!ref.starts_with(point_namespace)) return not_ours(job.rig_id, ref);
  std::set<std::string> gone;
  if (job.refs.empty()) return gone;
  repository_handle repo;
  if (const int code = git_repository_open_bare(out(repo), job.repository.c_str()); code < 0)
    return last_error(code, job.repository.string());
  const auto connection = connection_of(job);
  auto session = fetch_session::open_for_push(connection, std::move(repo));
  if (!session) return session.error();
  std::vector<std::string> refspecs;
  for (const auto& [ref, commit] : job.refs) {
    const auto there = (*session)->remote().refs.find(ref);
    if (there == (*session)->remote().refs.end())
      gone.insert(ref);
    else if (there->second == commit)
      refspecs.push_back(":" + ref);
  }
  if (refspecs.empty()) return gone;
  const auto report = (*session)->upload(refspecs);
  if (!report) return report.error();
  for (const auto& [ref, why] : report->answers)
    if (why.empty()) gone.insert(ref);
  return gone;
}

} // namespace townkeeper::git
