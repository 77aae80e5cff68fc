#include "git/repository_points.hpp"

#include <fmt/core.h>

#include <charconv>
#include <memory>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

#include "core/fault_point.hpp"
#include "git/git_error.hpp"
#include "git/loose_reader.hpp"
#include "git/object_id.hpp"
#include "git/point_objects.hpp"
#include "git/point_reading.hpp"
#include "git/point_tree.hpp"
#include "git/private_objects.hpp"
#include "git/recovery.hpp"
#include "git/repository_layout.hpp"
#include "git/rig_refs.hpp"
#include "git/url.hpp"

namespace townkeeper::git {
namespace {

namespace fs = std::filesystem;

/// What follows an agent's prefix, where it is an epoch as townkeeper writes it.
std::optional<std::int64_t> epoch_of(std::string_view text) {
  std::int64_t epoch = 0;
  if (text.empty() || text.front() < '1' || text.front() > '9') return std::nullopt;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), epoch);
  return failure == std::errc{} && end == text.data() + text.size() ? std::optional(epoch) : std::nullopt;
}

auto order_of(const town::recovery_point& point) {
  return std::tuple(point.epoch, point.seq);
}

result<repository_handle> open_repository(const fs::path& path) {
  repository_handle repo;
  if (const int code = open_bare_repository(out(repo), path.c_str()); code < 0) return last_error(code, path.string());
  return repo;
}

bool is_whole_in(const fs::path& repository, const std::string& commit) {
  const auto repo = open_repository(repository);
  return repo && point_is_whole(repo->get(), commit);
}

bool is_elsewhere(const repository_job& job, const wanted_point& wanted) {
  return wanted.recorded && !wanted.recorded->git_url.empty() && wanted.recorded->git_url != job.url;
}

/// The job for the remote a point was pushed to; the rig's login goes to no other host.
repository_job job_for(const repository_job& job, const std::string& url) {
  auto other = job;
  other.url = url;
  const auto here = parse_url(job.url), there = parse_url(url);
  if (!here || !there || here->host != there->host || here->port != there->port || here->kind != there->kind)
    other.login.reset();
  return other;
}

/// A disk that made the point itself has it in the agent's private store: from there it goes into the repository as one
/// pack. False: it is not there whole.
bool take_from_private_store(const fs::path& repository, const std::string& agent_id, const std::string& commit) {
  struct free_builder {
    void operator()(git_packbuilder* builder) const noexcept { git_packbuilder_free(builder); }
  };
  std::error_code ignored;
  if (!fs::exists(private_objects_path(repository, agent_id), ignored)) return false;
  const auto repo = open_with_private_objects(repository, {agent_id});
  const auto id = parse_oid(commit);
  if (!repo || !id || !point_is_whole(repo->get(), commit)) return false;
  git_packbuilder* made = nullptr;
  if (git_packbuilder_new(&made, repo->get()) != 0) return false;
  const std::unique_ptr<git_packbuilder, free_builder> builder(made);
  revwalk_handle walk;
  int code = git_revwalk_new(out(walk), repo->get());
  if (code == 0) code = git_revwalk_push(walk.get(), &*id);
  if (code == 0) code = git_revwalk_hide_glob(walk.get(), "refs/remotes/*");
  if (code == 0) code = git_packbuilder_insert_walk(builder.get(), walk.get());
  const auto packs = repository / "objects" / "pack";
  return code == 0 && fault_point("point-packed") == 0 &&
         git_packbuilder_write(builder.get(), packs.c_str(), 0444, nullptr, nullptr) == 0;
}

std::string held_by(const std::string& agent_id) {
  return restored_prefix + agent_id;
}

/// Lets go of the point that was found last time. A ref that a crash left unreadable goes as a file.
void forget(const fs::path& repository, const std::string& agent_id) {
  const auto repo = open_repository(repository);
  if (repo && git_reference_remove(repo->get(), held_by(agent_id).c_str()) == 0) return;
  std::error_code ignored;
  fs::remove(repository / held_by(agent_id), ignored);
}

error missing(const wanted_point& wanted, const std::string& why) {
  const auto& point = *wanted.recorded;
  return {error_code::recovery_point_missing, wanted.agent_id,
          fmt::format("the recovery point {}-{} ({}, {}) cannot be had: {}. Nothing older is used; an operator accepts "
                      "the loss with DELETE …/recovery",
                      point.epoch, point.seq, point.ref, point.commit, why)};
}

} // namespace

std::optional<point_search::advertised_point> point_search::greatest(const advertisement& remote,
                                                                     const std::string& prefix) const {
  std::optional<advertised_point> best;
  for (auto ref = remote.refs.lower_bound(prefix); ref != remote.refs.end() && ref->first.starts_with(prefix); ++ref) {
    const auto epoch = epoch_of(std::string_view(ref->first).substr(prefix.size()));
    if (epoch && (!best || *epoch > best->epoch)) best = advertised_point{ref->first, ref->second, *epoch};
  }
  return best;
}

std::vector<std::string> point_search::refs_to_bring(const advertisement& remote, const fs::path& repository) const {
  std::set<std::string> refs;
  const auto add = [&](const std::string& agent_id, const std::string& ref) {
    const auto& commit = remote.refs.at(ref);
    const bool is_here = !repository.empty() &&
                         (is_whole_in(repository, commit) || take_from_private_store(repository, agent_id, commit));
    if (!is_here) refs.insert(ref);
  };
  for (const auto& wanted : job_.points) {
    if (const auto best = greatest(remote, wanted.prefix)) add(wanted.agent_id, best->ref);
    if (wanted.recorded && !is_elsewhere(job_, wanted) && remote.refs.contains(wanted.recorded->ref))
      add(wanted.agent_id, wanted.recorded->ref);
  }
  return {refs.begin(), refs.end()};
}

result<void> point_search::settle(const advertisement& remote, bool is_new, repository_restored& done) {
  done_ = &done;
  for (const auto& wanted : job_.points) {
    auto found = find(wanted, remote);
    if (found)
      done.points.insert_or_assign(wanted.agent_id, std::move(*found));
    else
      forget(done.repository, wanted.agent_id);
  }
  auto set = set_refs_of_rig(remote, is_new);
  done_ = nullptr;
  return set;
}

/// Nothing: there is no point.
std::optional<result<found_recovery>> point_search::find(const wanted_point& wanted, const advertisement& remote) {
  const auto best = greatest(remote, wanted.prefix);
  const auto& recorded = wanted.recorded;
  if (!best && !recorded) return std::nullopt;
  if (best && (!recorded || best->epoch > recorded->epoch)) return read_advertised(wanted, *best);
  if (!best || best->epoch < recorded->epoch) return obtain_recorded(wanted);
  auto advertised = read_advertised(wanted, *best);
  if (!advertised || advertised->point.seq >= recorded->seq) return advertised;
  return obtain_recorded(wanted);
}

result<found_recovery> point_search::read_advertised(const wanted_point& wanted, const advertised_point& point) {
  auto commit = point.commit;
  if (!is_whole_in(done_->repository, commit) && !take_from_private_store(done_->repository, wanted.agent_id, commit)) {
    auto fetched = fetch(job_, point.ref, commit);
    if (!fetched) return error{fetched.error().code, wanted.agent_id, point.ref + ": " + fetched.error().message};
    commit = std::move(*fetched);
  }
  auto found = keep(wanted, commit, point.ref);
  if (found && found->point.epoch != point.epoch)
    return error{error_code::corrupt, wanted.agent_id,
                 fmt::format("{} holds a point of epoch {}", point.ref, found->point.epoch)};
  return found;
}

result<found_recovery> point_search::obtain_recorded(const wanted_point& wanted) {
  const auto& recorded = *wanted.recorded;
  auto commit = recorded.commit;
  if (!is_whole_in(done_->repository, commit) && !take_from_private_store(done_->repository, wanted.agent_id, commit)) {
    const auto url = recorded.git_url.empty() ? job_.url : recorded.git_url;
    auto fetched = fetch(job_for(job_, url), recorded.ref, commit);
    if (!fetched && is_transient(fetched.error().code))
      return error{fetched.error().code, wanted.agent_id, recorded.ref + ": " + fetched.error().message};
    if (!fetched) return missing(wanted, fetched.error().message);
    commit = std::move(*fetched);
  }
  auto found = keep(wanted, commit, recorded.ref);
  if (found && order_of(found->point) < order_of(recorded))
    return missing(wanted, fmt::format("the ref holds {}-{} instead", found->point.epoch, found->point.seq));
  return found;
}

/// Fetches a point by its ref, or by its id where the ref is gone and the server allows it. Returns the commit that
/// came: the ref may have moved on.
result<std::string> point_search::fetch(const repository_job& from, const std::string& ref, const std::string& commit) {
  if (const auto allowed = check_url(from.url, from.urls); !allowed) return allowed.error();
  auto repo = open_repository(done_->repository);
  if (!repo) return repo.error();
  auto session = fetch_session::open(from, std::move(*repo), true, observe_);
  if (!session) return session.error();
  const auto advertised = (*session)->remote().refs.find(ref);
  const bool by_ref = advertised != (*session)->remote().refs.end();
  if (auto brought = (*session)->download({by_ref ? ref : commit}); !brought)
    return by_ref ? brought.error()
                  : error{error_code::not_found, from.rig_id,
                          "the remote has no such ref, and does not give the commit by its id"};
  done_->fetched_bytes += (*session)->received().bytes;
  done_->fetched_objects += (*session)->received().objects;
  return by_ref ? advertised->second : commit;
}

/// Reads the point and holds it by a ref of ours.
result<found_recovery> point_search::keep(const wanted_point& wanted, const std::string& commit,
                                          const std::string& ref) {
  auto found = read_point(done_->repository, commit, ref);
  if (!found) return error{found.error().code, wanted.agent_id, ref + " (" + commit + "): " + found.error().message};
  const auto repo = open_repository(done_->repository);
  const auto id = parse_oid(commit);
  if (!repo) return repo.error();
  if (git_oid held{};
      git_reference_name_to_id(&held, repo->get(), held_by(wanted.agent_id).c_str()) == 0 && to_hex(held) == commit)
    return found;
  forget(done_->repository, wanted.agent_id);
  reference_handle made;
  const auto name = held_by(wanted.agent_id);
  if (const int failed = fault_point("point-held"); failed != 0) return disk_error(name, "cannot be set", failed);
  if (const int code = git_reference_create(out(made), repo->get(), name.c_str(), &*id, 1, nullptr); code < 0)
    return last_error(code, name);
  return found;
}

/// Once, when the repository is new: from the rig's greatest point.
result<void> point_search::set_refs_of_rig(const advertisement& remote, bool is_new) {
  if (!rig_refs_are_wanted(done_->repository)) return {};
  const found_recovery* greatest_found = nullptr;
  bool any_failed = false;
  for (const auto& [agent, found] : done_->points) {
    any_failed = any_failed || !found;
    if (found && (greatest_found == nullptr || order_of(found->point) > order_of(greatest_found->point)))
      greatest_found = &*found;
  }
  if (greatest_found == nullptr) {
    if (!any_failed) rig_refs_have_come(done_->repository);
    return {};
  }
  const auto trouble = [&](const error& why) -> result<void> {
    if (why.code == error_code::disk) return why;
    done_->healed.push_back("branches, tags and stash of the recovery point did not come back: " + to_string(why));
    return {};
  };
  const auto& commit = greatest_found->point.commit;
  auto repo = open_repository(done_->repository);
  if (!repo) return trouble(repo.error());
  const auto parts = read_point_parts(repo->get(), commit);
  if (!parts) return trouble(parts.error());
  if (auto made = recreate_tags(repo->get(), parts->tree); !made)
    if (auto bearable = trouble(made.error()); !bearable) return bearable;
  if (auto refs = refs_to_fetch_for(repo->get(), parts->refs, remote); !refs.empty()) {
    auto session = fetch_session::open(job_, std::move(*repo), true, observe_);
    std::erase_if(refs, [&](const std::string& ref) { return session && !(*session)->remote().refs.contains(ref); });
    const auto brought = session ? (*session)->download(refs) : result<void>(session.error());
    if (!brought)
      if (auto bearable = trouble(brought.error()); !bearable) return bearable;
  }
  const auto set = set_rig_refs(done_->repository, *parts, job_.agent_branches, is_new, done_->healed);
  if (!set) return trouble(set.error());
  done_->rig_refs_set = *set;
  rig_refs_have_come(done_->repository);
  return {};
}

} // namespace townkeeper::git
