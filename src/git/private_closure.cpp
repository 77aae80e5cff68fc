#include "git/private_closure.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "git/descriptor.hpp"
#include "git/git_error.hpp"
#include "git/object_id.hpp"
#include "git/point_tree.hpp"
#include "git/private_pack.hpp"
#include "git/tree_builder.hpp"
#include "git/tree_reader.hpp"

namespace townkeeper::git {
namespace {

namespace fs = std::filesystem;
using reference_iterator = std::unique_ptr<git_reference_iterator, free_with<git_reference_iterator_free>>;

bool same_sets(const oid_set& a, const oid_set& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), same);
}

/// What a directory of a parent commit has.
class known_tree {
public:
  static result<known_tree> read(git_odb* objects, const git_oid& id) {
    auto object = read_tree_object(objects, id);
    if (!object) return object.error();
    known_tree tree;
    auto lines = parse_tree(bytes_of(object->get()), id);
    if (!lines) return lines.error();
    for (const auto& line : *lines)
      tree.items_.emplace(line.name, line.item);
    tree.object_ = std::move(*object);
    return tree;
  }
  const tree_item* find(std::string_view name) const {
    const auto found = items_.find(name);
    return found == items_.end() ? nullptr : &found->second;
  }

private:
  odb_object_handle object_; ///< the names point into it
  std::map<std::string_view, tree_item> items_;
};

class closure {
public:
  explicit closure(const closing& with)
      : with_(with)
      , loose_(fs::path(git_repository_commondir(with.repository)) / "objects") {}

  result<std::set<std::string>> run(const std::set<std::string>& ids);

private:
  result<oid_set> read_boundary() const;
  bool is_closed(const oid_set& tips, const oid_set& boundary);
  result<std::set<std::string>> close_each(const std::map<std::string, git_oid>& commits, const oid_set& boundary);
  result<void> close(const oid_set& tips, const oid_set& boundary, bool goes_on);
  error stopped(const error& why);
  result<void> bring_commit(const git_oid& id);
  result<void> bring_tree(const git_oid& id, const std::vector<git_oid>& parents);
  result<void> bring_other(const named_object& named);
  result<void> bring(const git_oid& id);

  closing with_;
  fs::path loose_; ///< of the agent's repository
  odb_handle objects_;
  std::optional<private_pack> pack_; ///< what is copied, until the end
  oid_set whole_;                    ///< commits that are whole when the pack is written
  std::int64_t brought_bytes_ = 0;
};

bool is_vanished(const error& why) {
  return why.code == error_code::corrupt || why.code == error_code::not_found;
}

result<oid_set> closure::read_boundary() const {
  reference_iterator iterator;
  if (const auto rc = git_reference_iterator_glob_new(out(iterator), with_.repository, "refs/remotes/origin/*");
      rc != 0)
    return object_error(rc, "refs/remotes/origin");
  oid_set boundary;
  for (;;) {
    git_reference* raw = nullptr;
    const auto rc = git_reference_next(&raw, iterator.get());
    if (rc == GIT_ITEROVER) return boundary;
    if (rc != 0) return object_error(rc, "refs/remotes/origin");
    const reference_handle ref(raw);
    if (const auto* id = git_reference_target(ref.get())) boundary.insert(*id);
  }
}

/// Nothing moved since the last time, and what was brought then is still in the store.
bool closure::is_closed(const oid_set& tips, const oid_set& boundary) {
  auto& memory = with_.memory;
  const auto is_there = [&](const git_oid& id) { return !memory.whole.contains(id) || with_.store.contains(id); };
  if (!std::all_of(memory.tips.begin(), memory.tips.end(), is_there)) memory = {};
  return same_sets(tips, memory.tips) && same_sets(boundary, memory.boundary);
}

result<std::set<std::string>> closure::run(const std::set<std::string>& ids) {
  if (const auto rc = git_repository_odb(out(objects_), with_.repository); rc != 0)
    return object_error(rc, "recovery point");
  pack_.emplace(with_.store, objects_.get());
  auto boundary = read_boundary();
  if (!boundary) return boundary.error();
  std::set<std::string> lost;
  oid_set tips;
  std::map<std::string, git_oid> commits;
  for (const auto& id : ids) {
    const auto named = peel(with_.repository, id);
    const auto done = named ? bring_other(*named) : result<void>(error{error_code::corrupt, id, "is gone"});
    if (!done && !is_vanished(done.error())) return done.error();
    if (!done)
      lost.insert(id);
    else if (named->commit)
      tips.insert(commits[id] = *named->commit);
  }
  auto& memory = with_.memory;
  const bool is_known = is_closed(tips, *boundary);
  auto broken = memory.lost;
  if (!is_known) {
    broken.clear();
    const auto closed = close(tips, *boundary, same_sets(*boundary, memory.boundary));
    if (!closed && !is_vanished(closed.error())) return stopped(closed.error());
    if (!closed) {
      auto each = close_each(commits, *boundary);
      if (!each) return stopped(each.error());
      broken = std::move(*each);
    }
  }
  if (auto done = pack_->finish(); !done) return done.error();
  memory.whole.add(whole_);
  memory.tips = std::move(tips);
  memory.boundary = std::move(*boundary);
  memory.lost = broken;
  lost.merge(broken);
  return lost;
}

/// What was brought until a cancellation is kept, so that the next attempt goes on from there: commits are cancelled
/// between one another.
error closure::stopped(const error& why) {
  if (why.code == error_code::cancelled && pack_->finish()) with_.memory.whole.add(whole_);
  return why;
}

/// Something is nowhere: each by itself, so that only what needs it is lost. Returns the ids of those.
result<std::set<std::string>> closure::close_each(const std::map<std::string, git_oid>& commits,
                                                  const oid_set& boundary) {
  std::set<std::string> broken;
  for (const auto& [id, commit] : commits) {
    const auto closed = close({commit}, boundary, false);
    if (!closed && !is_vanished(closed.error())) return closed.error();
    if (!closed) broken.insert(id);
  }
  return broken;
}

/// `goes_on`: what the last closing reached is not looked at again.
result<void> closure::close(const oid_set& tips, const oid_set& boundary, bool goes_on) {
  revwalk_handle walk;
  if (const auto rc = git_revwalk_new(out(walk), with_.repository); rc != 0) return object_error(rc, "recovery point");
  for (const auto& tip : tips)
    if (const auto rc = git_revwalk_push(walk.get(), &tip); rc != 0) return object_error(rc, to_hex(tip));
  const auto hide = [&](const git_oid& id) {
    if (git_odb_exists(objects_.get(), &id) == 1) git_revwalk_hide(walk.get(), &id); // a tag of a tree has no history
  };
  std::for_each(boundary.begin(), boundary.end(), hide);
  if (goes_on && with_.memory.lost.empty()) std::for_each(with_.memory.tips.begin(), with_.memory.tips.end(), hide);
  git_oid next;
  int rc = 0;
  while ((rc = git_revwalk_next(&next, walk.get())) == 0) {
    if (is_cancelled(with_.cancel)) return cancelled_error("recovery point");
    if (with_.memory.whole.contains(next) || whole_.contains(next)) continue;
    if (brought_bytes_ > with_.limit_bytes) return {};
    if (auto done = bring_commit(next); !done) return done;
    whole_.insert(next);
  }
  if (rc != GIT_ITEROVER) return object_error(rc, "recovery point");
  return {};
}

result<void> closure::bring_commit(const git_oid& id) {
  commit_handle commit;
  if (const auto rc = git_commit_lookup(out(commit), with_.repository, &id); rc != 0)
    return object_error(rc, to_hex(id));
  std::vector<git_oid> parents;
  for (unsigned i = 0; i < git_commit_parentcount(commit.get()); ++i) {
    commit_handle parent;
    // Beyond the end of a shallow history there is none, and all of the tree is new.
    if (git_commit_lookup(out(parent), with_.repository, git_commit_parent_id(commit.get(), i)) == 0)
      parents.push_back(*git_commit_tree_id(parent.get()));
  }
  if (auto done = bring_tree(*git_commit_tree_id(commit.get()), parents); !done) return done;
  return bring(id);
}

/// All of a tree that is not at the same place in one of `parents`.
result<void> closure::bring_tree(const git_oid& id, const std::vector<git_oid>& parents) {
  if (std::any_of(parents.begin(), parents.end(), [&](const git_oid& each) { return same(each, id); })) return {};
  auto object = read_tree_object(objects_.get(), id);
  if (!object) return object.error();
  auto lines = parse_tree(bytes_of(object->get()), id);
  if (!lines) return lines.error();
  std::vector<known_tree> known;
  for (const auto& parent : parents) {
    auto tree = known_tree::read(objects_.get(), parent);
    if (!tree) return tree.error();
    known.push_back(std::move(*tree));
  }
  for (const auto& line : *lines) {
    if (line.item.mode == mode_submodule) continue;
    std::vector<git_oid> below;
    bool is_known = false;
    for (const auto& tree : known) {
      const auto* item = tree.find(line.name);
      if (item == nullptr || item->mode == mode_submodule) continue;
      is_known = is_known || same(item->id, line.item.id);
      if (item->mode == mode_directory) below.push_back(item->id);
    }
    if (is_known) continue;
    auto done = line.item.mode == mode_directory ? bring_tree(line.item.id, below) : bring(line.item.id);
    if (!done) return done;
  }
  return bring(id);
}

/// Tag objects, and the tree or file that one may name.
result<void> closure::bring_other(const named_object& named) {
  if (named.other) {
    std::size_t size = 0;
    git_object_t type = GIT_OBJECT_INVALID;
    if (const auto rc = git_odb_read_header(&size, &type, objects_.get(), &*named.other); rc != 0)
      return object_error(rc, to_hex(*named.other));
    auto done = type == GIT_OBJECT_TREE ? bring_tree(*named.other, {}) : bring(*named.other);
    if (!done) return done;
  }
  for (const auto& tag : named.tags)
    if (auto done = bring(tag); !done) return done;
  return {};
}

result<void> closure::bring(const git_oid& id) {
  if (pack_->contains(id) || with_.store.contains(id)) return {};
  auto linked = with_.store.link(loose_, id);
  if (!linked) return linked.error();
  if (*linked) return {};
  odb_object_handle object;
  if (const auto rc = git_odb_read(out(object), objects_.get(), &id); rc != 0) return object_error(rc, to_hex(id));
  brought_bytes_ += static_cast<std::int64_t>(git_odb_object_size(object.get()));
  return pack_->add(std::move(object));
}

} // namespace

void commit_list::add(const oid_set& more) {
  if (more.empty()) return;
  std::vector<git_oid> all;
  all.reserve(sorted_.size() + more.size());
  std::set_union(sorted_.begin(), sorted_.end(), more.begin(), more.end(), std::back_inserter(all), oid_order{});
  sorted_ = std::move(all);
}

result<std::set<std::string>> close_history(const closing& with, const std::set<std::string>& ids) {
  return closure(with).run(ids);
}

} // namespace townkeeper::git
