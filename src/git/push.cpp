#include <algorithm>
#include <charconv>
#include <filesystem>
#include <set>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "core/fault_point.hpp"
#include "git/fetch.hpp"
#include "git/git_error.hpp"
#include "git/loose_reader.hpp"
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

/// True where a worktree that was not restored at this wake certainly is at or after every point of its agent.
bool is_at_newest_point(const std::filesystem::path& repository, const push_item& item, const advertisement& remote) {
  const auto mark = read_point_mark(repository, item.taken.agent_id);
  const auto is_older_than = [&](std::int64_t epoch, std::int64_t seq) {
    return !mark || std::pair{mark->epoch, mark->seq} < std::pair{epoch, seq};
  };
  if (item.recorded && is_older_than(item.recorded->epoch, item.recorded->seq)) return false;
  const auto prefix = item.ref.substr(0, item.ref.rfind('/') + 1);
  for (auto it = remote.refs.lower_bound(prefix); it != remote.refs.end() && it->first.starts_with(prefix); ++it) {
    const auto& [ref, commit] = *it;
    if (is_kept_point(ref)) continue;
    std::int64_t epoch = 0;
    const auto [end, failed] = std::from_chars(ref.data() + prefix.size(), ref.data() + ref.size(), epoch);
    if (failed != std::errc{} || end != ref.data() + ref.size()) return false;
    // Which of two in one epoch is the later is in the other's own words, which are not here: it counts as the later.
    if (!mark || epoch > mark->epoch || (epoch == mark->epoch && commit != mark->commit)) return false;
  }
  return true;
}

/// What becomes of a worktree that was not restored at this wake.
push_item unrestored_item(const std::filesystem::path& repository, push_item item, const advertisement& remote) {
  if (!is_at_newest_point(repository, item, remote)) {
    item.ref = item.kept_ref;
    item.even_if_clean = item.taken.holds_work;
  } else {
    // It has a mark only where there was a point: what was discarded since then stays so.
    item.even_if_clean = read_point_mark(repository, item.taken.agent_id).has_value();
  }
  return item;
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
  int fails_before_push() const;
  error broken_off(int error_number) const;
  void take(const upload_report& report);
  void refuse(const error& why);
  void leave_unanswered(const error& why);

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
  if (const int failed = fails_before_push(); failed != 0) return broken_off(failed);
  const auto report = (*session)->upload(refspecs);
  if (const int failed = fault_point("push-acknowledged"); failed != 0) return broken_off(failed);
  if (report)
    take(*report);
  else if (report.error().code == error_code::too_large)
    refuse(report.error());
  else if (report.error().code == error_code::timed_out)
    leave_unanswered(report.error());
  else
    return report.error();
  return std::move(answers_);
}

/// The errno with which the connection breaks.
int push_batch::fails_before_push() const {
  const bool any_kept =
      std::any_of(items_.begin(), items_.end(), [](const push_item* item) { return is_kept_point(item->ref); });
  return any_kept ? fault_point("kept-point-pushed") : fault_point("point-pushed");
}

error push_batch::broken_off(int error_number) const {
  return {error_code::unavailable, job_.rig_id,
          "the connection broke: " + std::generic_category().message(error_number)};
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
    // Looked at after the advertisement was read: whatever sets the ref later is refused to us by the remote.
    if (item->overtaken && *item->overtaken) {
      answers_.push_back({item->taken.agent_id,
                          error{error_code::conflict, item->taken.agent_id, "a later moment of it is being pushed"},
                          refusal::none, 0});
      continue;
    }
    auto point = item->kept_ref.empty() ? seal_point(session.repository(), *item, terms)
                                        : seal_point(session.repository(),
                                                     unrestored_item(job_.repository, *item, session.remote()), terms);
    if (point && *point) refspecs.push_back("+" + (*point)->commit + ":" + (*point)->ref);
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

/// Which of them the remote is still at is not known: perhaps a hook hangs on one alone.
void push_batch::leave_unanswered(const error& why) {
  for (auto& answer : answers_) {
    if (!answer.point || !*answer.point) continue;
    answer.refused = refusal::no_answer;
    answer.point = error{why.code, answer.agent_id, why.message};
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
  if (const int code = open_bare_repository(out(repo), job.repository.c_str()); code < 0)
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
  if (const int failed = fault_point("old-point-deleted"); failed != 0)
    return error{error_code::unavailable, job.rig_id, std::generic_category().message(failed)};
  const auto report = (*session)->upload(refspecs);
  if (!report) return report.error();
  for (const auto& [ref, why] : report->answers)
    if (why.empty()) gone.insert(ref);
  return gone;
}

} // namespace townkeeper::git
