#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <set>
#include <string_view>
#include <utility>

#include "git/clean_conversion.hpp"
#include "git/git_error.hpp"
#include "git/loose_reader.hpp"
#include "git/object_id.hpp"
#include "git/point_meta.hpp"
#include "git/private_closure.hpp"
#include "git/private_objects.hpp"
#include "git/recovery.hpp"
#include "git/snapshot_commits.hpp"
#include "git/snapshot_contents.hpp"
#include "git/snapshot_fingerprint.hpp"
#include "git/snapshot_index.hpp"
#include "git/snapshot_layers.hpp"
#include "git/snapshot_memory.hpp"
#include "git/snapshot_operation.hpp"
#include "git/snapshot_refs.hpp"
#include "git/snapshot_walk.hpp"
#include "git/tree_builder.hpp"
#include "git/tree_reader.hpp"
#include "git/worktree_place.hpp"

namespace townkeeper::git {
namespace {

/// A commit or checkout that goes on while the files are read gives a moment that never was: such a one is taken again.
constexpr int max_attempts = 4;
/// What is missing while the agent moves on may have been its own `git gc`'s: looked for where it has moved to.
constexpr int max_attempts_to_catch_up = 24;
constexpr std::size_t max_listed = 200;
constexpr std::size_t max_attribute_bytes = std::size_t{1} << 20;

result<worktree_place> place_of(const snapshot_job& job) {
  struct stat st {};
  for (const auto& path : {job.worktree, job.repository / "worktrees" / job.agent_id})
    if (::lstat(path.c_str(), &st) != 0 || !S_ISDIR(st.st_mode))
      return error{error_code::not_found, job.agent_id,
                   fmt::format("has no worktree to be saved: {} is not there", path.native())};
  worktree_job where;
  where.rig_id = job.rig_id;
  where.agent_id = job.agent_id;
  where.repository = job.repository;
  where.worktree = job.worktree;
  where.branch = job.branch;
  return open_place(where);
}

/// Everything that is open while one agent's snapshots are taken.
struct open_worktree {
  worktree_place place;
  descriptor root, registration;
  repository_handle repository; ///< reads the private store too
  repository_handle rules;      ///< opened at the worktree: attributes and ignore rules
  odb_handle objects;
  private_store store;
};

result<open_worktree> open_worktree_of(const snapshot_job& job) {
  auto place = place_of(job);
  if (!place) return place.error();
  auto root = open_directory(place->worktrees.get(), job.agent_id.c_str(), place->worktree.native());
  if (!root) return root.error();
  auto registration = open_directory(place->registrations.get(), job.agent_id.c_str(), place->registration.native());
  if (!registration) return registration.error();
  auto repository = open_with_private_objects(place->repository, {job.agent_id});
  if (!repository) return repository.error();
  repository_handle rules;
  if (const auto rc = open_worktree_repository(out(rules), place->worktree.c_str()); rc != 0)
    return last_error(rc, place->worktree.native());
  odb_handle objects;
  if (const auto rc = git_repository_odb(out(objects), repository->get()); rc != 0)
    return last_error(rc, place->repository.native());
  auto store = private_store::open(place->repository, job.agent_id);
  if (!store) return store.error();
  return open_worktree{std::move(*place), std::move(*root),   std::move(*registration), std::move(*repository),
                       std::move(rules),  std::move(objects), std::move(*store)};
}

/// The contents of all `.gitattributes` the walk saw, and whether one of them is not as HEAD's checkout has it.
struct attribute_files {
  std::vector<std::string> contents;
  bool untracked = false;
};
attribute_files read_attribute_files(const walk_result& walk, int root) {
  attribute_files files;
  directory_stack directories(root);
  const auto look = [&](const std::vector<found_path>& list) {
    for (const auto& found : list) {
      if (std::string_view(leaf_of(found.path)) != ".gitattributes") continue;
      files.untracked = files.untracked || found.entry == nullptr;
      auto directory = directories.enter(parent_of(found.path), directory_stack::on_missing::fail);
      if (!directory) continue;
      auto content = read_small_file(*directory, ".gitattributes", max_attribute_bytes);
      if (content) files.contents.push_back(found.path + '\n' + *content);
    }
  };
  look(walk.unchanged);
  look(walk.changed);
  look(walk.untracked);
  return files;
}

class snapshot_taking {
public:
  snapshot_taking(const snapshot_job& job, open_worktree& open, snapshot_memory& memory)
      : job_(job)
      , open_(open)
      , memory_(memory)
      , builder_(open.objects.get(), open.store) {}

  result<snapshot> run() {
    for (int attempt = 1;; ++attempt) {
      auto head = read_head();
      if (!head) return head.error();
      observe(snapshot_step::head_read);
      auto index = read_index();
      if (!index) return index.error();
      observe(snapshot_step::index_read);
      const bool is_last = attempt >= max_attempts;
      auto taken = take(*head, *index);
      if (!taken && may_have_vanished(taken.error()) && may_catch_up(attempt, *head, *index)) continue;
      if (!taken) return as_damage(taken.error());
      if (!is_last && !stands_still(*head, *index)) continue;
      observe(snapshot_step::checked);
      auto done = finish(std::move(*taken), *head, *index, is_last);
      if (done) return done;
      if (!may_have_vanished(done.error()) || !may_catch_up(attempt, *head, *index)) return as_damage(done.error());
    }
  }

private:
  /// All that was found, before the commits are written.
  struct moment {
    staged_changes staged;
    worktree_layers layers;
    operation_moment operation;
    point_refs refs;
  };

  void observe(snapshot_step step) const {
    if (job_.observe) job_.observe(step);
  }

  result<head_moment> read_head() const {
    return read_head_moment(open_.repository.get(), open_.registration.get(), open_.place.registration.native());
  }
  result<index_moment> read_index() const {
    return read_index_moment(open_.registration.get(), (open_.place.registration / "index").native());
  }
  result<index_moment> read_index_identity() const {
    return read_index_stamp(open_.registration.get(), (open_.place.registration / "index").native());
  }

  bool stands_still(const head_moment& head, const index_moment& index) const {
    auto head_after = read_head();
    auto index_after = read_index_identity();
    return head_after && head_after->state == head.state && index_after && index.same_file(*index_after);
  }
  /// Whether another look may find what this one missed. Where nothing moves it is damage.
  bool may_catch_up(int attempt, const head_moment& head, const index_moment& index) const {
    if (attempt < max_attempts) return true;
    return attempt < max_attempts_to_catch_up && !stands_still(head, index);
  }

  result<moment> take(const head_moment& head, const index_moment& index) {
    moment m;
    auto staged =
        compare_index_with_head(index.image, open_.objects.get(), head.tree, open_.store, job_.limits, job_.cancel);
    if (!staged) return staged.error();
    m.staged = std::move(*staged);
    const include_patterns include(job_.limits.include);
    auto walk = walk_worktree(open_.root.get(), index, open_.rules.get(), include, job_.cancel);
    if (!walk) return walk.error();
    observe(snapshot_step::walked);
    auto layers = read_files(*walk, index);
    if (!layers) return layers.error();
    observe(snapshot_step::files_read);
    m.layers = std::move(*layers);
    auto operation = read_operation(open_.repository.get(), open_.registration.get());
    if (!operation) return operation.error();
    m.operation = std::move(*operation);
    auto refs = read_rig_refs(open_.repository.get(), job_.agent_branches);
    if (!refs) return refs.error();
    refs->erase("refs/heads/" + job_.branch);
    auto stash = read_stash_list(open_.repository.get());
    if (!stash) return stash.error();
    m.refs = {m.operation.ids, std::move(*refs), std::move(*stash)};
    return m;
  }

  result<worktree_layers> read_files(const walk_result& walk, const index_moment& index) {
    const auto attributes = read_attribute_files(walk, open_.root.get());
    auto conversion = clean_conversion::open(open_.rules.get(), attributes.contents, attributes.untracked);
    if (!conversion) return conversion.error();
    auto key = conversion->configuration();
    for (const auto& content : attributes.contents)
      key += content + '\0';
    if (memory_.conversion != key) memory_.files.clear();
    memory_.conversion = std::move(key);
    content_reader contents({open_.root.get(), open_.objects.get(), &open_.store, &*conversion, &memory_, &job_.limits,
                             trusts_file_mode(open_.rules.get()), &job_.observe});
    auto layers = read_worktree_layers(walk, index.image, contents, job_, open_.root.get());
    memory_.files = contents.take_memory();
    return layers;
  }

  /// What an agent's `git gc` removes while it is read was not needed any more when it did: another look does not miss
  /// it.
  static bool may_have_vanished(const error& why) {
    return why.code == error_code::corrupt || why.code == error_code::not_found;
  }
  /// `not_found` is a worktree that is not there, and nothing else.
  static error as_damage(error why) {
    if (why.code == error_code::not_found) why.code = error_code::corrupt;
    return why;
  }

  result<snapshot> finish(moment m, const head_moment& head, const index_moment& index, bool is_last) {
    snapshot s;
    s.agent_id = job_.agent_id;
    s.branch = job_.branch;
    s.identity = job_.identity;
    s.repository = job_.repository;
    // Where HEAD is on the branch, both are of one moment.
    s.branch_commit =
        head.branch == job_.branch ? head.state.commit : read_branch_commit(open_.repository.get(), job_.branch);
    s.head = head.state;
    auto closed = close_over(s, m, is_last);
    if (!closed) return closed.error();
    s.files = {m.staged.staged, m.layers.modified, static_cast<std::int64_t>(m.layers.untracked.size()), 0};
    s.uncommitted = m.staged.staged > 0 || m.staged.conflicts > 0 || m.staged.has_flags || m.layers.modified > 0 ||
                    m.layers.has_untracked || m.operation.in_progress;
    s.holds_work = s.uncommitted || !are_published(m.refs.refs) || !m.refs.stash.empty() ||
                   head.branch != job_.branch || !is_published(open_.repository.get(), job_.branch, head.commit);
    s.operation_ids = m.refs.operation;
    s.rig_refs = m.refs.refs;
    s.stash = m.refs.stash;
    list_left_out(s, m);

    auto trees = write_trees(m, head);
    if (!trees) return trees.error();
    auto extras = extras_of(m, *trees, head);
    if (!extras) return extras.error();
    auto steady_tree = builder_.apply(std::nullopt, *extras);
    if (!steady_tree) return steady_tree.error();
    s.fingerprint = fingerprint_of(s, *trees, *steady_tree, index.image);
    if (const auto& last = memory_.last; last && last->fingerprint == s.fingerprint && is_whole(*last)) {
      auto again = *last;
      again.left_out = s.left_out;
      return again;
    }
    return write_commits(std::move(s), *trees, m, head, index, std::move(*extras));
  }

  /// The rig's branches, each in the remote's branch of its name; of tags it is not known.
  bool are_published(const std::map<std::string, std::string>& refs) const {
    constexpr std::string_view prefix = "refs/heads/";
    return std::all_of(refs.begin(), refs.end(), [&](const auto& named) {
      const auto& [name, id] = named;
      const auto commit = parse_oid(id);
      return name.starts_with(prefix) && commit &&
             is_published(open_.repository.get(), name.substr(prefix.size()), *commit);
    });
  }

  /// Brings what the point will name into the private store. What is not whole any more is not named; without HEAD and
  /// the branch there is no point.
  result<void> close_over(const snapshot& s, moment& m, bool is_last) {
    std::set<std::string> ids{m.refs.stash.begin(), m.refs.stash.end()};
    for (const auto& id : {s.branch_commit, s.head.commit})
      if (id) ids.insert(*id);
    for (const auto* named : {&m.refs.operation, &m.refs.refs})
      for (const auto& [name, id] : *named)
        ids.insert(id);
    auto lost = close_history(
        {open_.repository.get(), open_.store, memory_.closure, job_.limits.point_bytes, job_.cancel}, ids);
    if (!lost) return lost.error();
    for (const auto& id : {s.branch_commit, s.head.commit})
      if (id && lost->contains(*id)) {
        memory_.closure.look_again();
        return error{error_code::corrupt, job_.agent_id,
                     fmt::format("the history of {} is not complete in the repository: see git fsck", *id)};
      }
    // It may only be gone since it was named. What the next look misses too is lost.
    if (!is_last && misses_more(*lost)) {
      memory_.closure.look_again();
      missed_ = std::move(*lost);
      return error{error_code::corrupt, job_.agent_id, "commits vanished while they were read"};
    }
    std::erase_if(m.refs.operation, [&](const auto& named) { return lost->contains(named.second); });
    std::erase_if(m.refs.stash, [&](const auto& id) { return lost->contains(id); });
    for (const auto& [name, id] : m.refs.refs)
      if (lost->contains(id))
        m.layers.left_out.push_back({name, "names a commit whose history is not complete in the repository"});
    std::erase_if(m.refs.refs, [&](const auto& named) { return lost->contains(named.second); });
    memory_.closure.reported = std::move(*lost);
    return {};
  }

  /// Than the last snapshot, and than the look before.
  bool misses_more(const std::set<std::string>& lost) const {
    return std::any_of(lost.begin(), lost.end(), [&](const std::string& id) {
      return !memory_.closure.reported.contains(id) && !missed_.contains(id);
    });
  }

  /// Says each path once, and of many only the first.
  static void list_left_out(snapshot& s, const moment& m) {
    std::map<std::string, std::string> reasons;
    for (const auto* list : {&m.staged.left_out, &m.layers.left_out})
      for (const auto& each : *list)
        reasons.emplace(each.path, each.reason);
    s.files.left_out = static_cast<std::int64_t>(reasons.size());
    for (auto& [path, reason] : reasons) {
      if (s.left_out.size() == max_listed) {
        s.left_out.push_back({"…", fmt::format("{} more paths were left out", reasons.size() - max_listed)});
        return;
      }
      s.left_out.push_back({path, reason});
    }
  }

  result<stash_trees> write_trees(moment& m, const head_moment& head) {
    stash_trees trees;
    auto index = builder_.apply(head.tree, m.staged.changes);
    if (!index) return index.error();
    trees.index = *index;
    auto worktree = builder_.apply(*index, m.layers.worktree);
    if (!worktree) return worktree.error();
    trees.worktree = *worktree;
    if (m.layers.untracked.empty()) return trees;
    auto untracked = builder_.apply(std::nullopt, m.layers.untracked);
    if (!untracked) return untracked.error();
    trees.untracked = *untracked;
    return trees;
  }

  /// All of R's tree but meta.json and the raw index, whose stamps change without a change.
  result<std::vector<tree_change>> extras_of(const moment& m, const stash_trees& trees, const head_moment& head) {
    auto changes = m.layers.extras;
    changes.insert(changes.end(), m.staged.stages.begin(), m.staged.stages.end());
    changes.push_back({"worktree", tree_item{trees.worktree, mode_directory}});
    changes.push_back({"index", tree_item{trees.index, mode_directory}});
    if (trees.untracked) changes.push_back({"untracked", tree_item{*trees.untracked, mode_directory}});
    if (const auto merged = parse_oid(m.operation.merged_tree)) {
      auto whole = bring_tree(open_.objects.get(), open_.store, *merged, head.tree);
      if (!whole) return whole.error();
      if (*whole) changes.push_back({"auto-merge", tree_item{*merged, mode_directory}});
    }
    const auto add = [&](const std::string& path, std::string_view bytes) -> result<void> {
      auto id = open_.store.put(bytes, GIT_OBJECT_BLOB);
      if (!id) return id.error();
      changes.push_back({path, tree_item{*id, mode_file}});
      return {};
    };
    for (const auto& [path, bytes] : m.operation.files)
      if (auto done = add("operation/" + path, bytes); !done) return done.error();
    if (!m.refs.operation.empty() || !m.refs.refs.empty() || !m.refs.stash.empty())
      if (auto done = add("refs.json", encode_refs(m.refs)); !done) return done.error();
    return changes;
  }

  bool is_whole(const snapshot& s) {
    const auto commit = parse_oid(s.stash_commit);
    const auto extras = parse_oid(s.extras_tree);
    if (!commit || !extras || !open_.store.contains(*commit) || !open_.store.contains(*extras)) return false;
    commit_handle stash;
    if (git_commit_lookup(out(stash), open_.repository.get(), &*commit) != 0) return false;
    for (unsigned i = 1; i < git_commit_parentcount(stash.get()); ++i) // the first is HEAD
      if (!open_.store.contains(*git_commit_parent_id(stash.get(), i))) return false;
    return true;
  }

  result<snapshot> write_commits(snapshot s, const stash_trees& trees, const moment& m, const head_moment& head,
                                 const index_moment& index, std::vector<tree_change> extras) {
    auto base = head.commit ? result<git_oid>(*head.commit) : write_stand_in(open_.store);
    if (!base) return base.error();
    auto stash = write_stash(open_.store, trees, head, *base, job_.identity, job_.agent_id);
    if (!stash) return stash.error();
    s.stash_commit = to_hex(*stash);
    if (m.staged.has_flags || m.layers.has_other_sizes) {
      auto id = open_.store.put(index.image.bytes(), GIT_OBJECT_BLOB);
      if (!id) return id.error();
      extras.push_back({"raw-index", tree_item{*id, mode_file}});
    }
    auto extras_tree = builder_.apply(std::nullopt, std::move(extras));
    if (!extras_tree) return extras_tree.error();
    s.extras_tree = to_hex(*extras_tree);
    memory_.last = s;
    return s;
  }

  const snapshot_job& job_;
  open_worktree& open_;
  snapshot_memory& memory_;
  tree_builder builder_;
  std::set<std::string> missed_; ///< names whose commits the look before did not find
};

} // namespace

result<snapshot> take_snapshot(const snapshot_job& job) {
  auto open = open_worktree_of(job);
  if (!open) return open.error();
  const auto memory = snapshot_memory::of(open->place.repository, job.agent_id);
  const std::lock_guard one_at_a_time(memory->in_use);
  return snapshot_taking(job, *open, *memory).run();
}

} // namespace townkeeper::git
