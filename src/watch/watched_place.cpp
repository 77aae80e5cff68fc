#include "watch/watched_place.hpp"

#include <algorithm>
#include <utility>

#include "watch/watched_names.hpp"

namespace townkeeper::watch {
namespace {

/// Between two looks at a changed .gitignore, and at a changed index (which is read for it).
constexpr std::chrono::milliseconds rules_interval{200}, index_interval{1000};

} // namespace

watched_place::watched_place(watch_table& table, place_kind kind, std::filesystem::path root)
    : kind_(kind)
    , tree_(table, std::move(root), observer()) {}

tree_observer watched_place::observer() {
  return {[this](const std::string& directory) { return descends(directory); },
          [this](const watched_directory& in, std::string_view name, tree_observer::entry what) {
            changed(in, name, what);
          },
          [this] {
            // What happened while a later walk went on may have been missed where it had not come by yet.
            if (std::exchange(standing_, true)) note_all(kind_ == place_kind::repository);
            if (rules_.reload) rules_.reload(); // few questions follow now: it need not hold an index
            on_standing();
          },
          [this](const error& reason) {
            for (const auto& each : subscribers_) {
              each->note_lost(reason);
              each->note(kind_ == place_kind::repository);
            }
            on_standing();
          }};
}

// -- who hears --------------------------------------------------------------------------------------------------------

void watched_place::join(const subscriber& who) {
  const bool first = subscribers_.empty();
  subscribers_.push_back(who);
  if (kind_ == place_kind::worktree) rules_ = who->request.ignored;
  if (tree_.lost()) {
    standing_ = false;
    tree_.try_again();
  } else if (first || kind_ == place_kind::worktree) {
    tree_.walk();
  }
}

bool watched_place::leave(const subscriber& who) {
  std::erase(subscribers_, who);
  return subscribers_.empty();
}

void watched_place::note_all(bool refs) {
  for (const auto& each : subscribers_)
    each->note(refs);
}

void watched_place::start_over() {
  note_all(kind_ == place_kind::repository);
  if (kind_ == place_kind::worktree && rules_.reload) rules_.reload();
  tree_.walk();
}

// -- what counts ------------------------------------------------------------------------------------------------------

bool watched_place::descends(const std::string& directory) const {
  switch (kind_) {
  case place_kind::worktree:
    return !rules_.is_ignored || !rules_.is_ignored(directory);
  case place_kind::admin:
    return admin_descends(directory);
  case place_kind::repository:
    return repository_descends(directory);
  }
  return true;
}

void watched_place::changed(const watched_directory& in, std::string_view name, tree_observer::entry what) {
  if (!standing_ && what == tree_observer::entry::found) return; // `started` says that
  switch (kind_) {
  case place_kind::worktree:
    note_all(false);
    // One that was found came with its directory, and was asked for whatever lies beside it.
    if (what == tree_observer::entry::file && name == ".gitignore") on_rules_of(subscribers_.front(), true);
    return;
  case place_kind::admin:
    return changed_admin(in.path_of(name));
  case place_kind::repository:
    if (what != tree_observer::entry::directory) changed_repository(in.path_of(name));
    return;
  }
}

void watched_place::changed_admin(const std::string& path) {
  if (!admin_counts(path)) return;
  note_all(false);
  if (path != "index") return;
  for (const auto& each : subscribers_)
    on_rules_of(each, false);
}

void watched_place::changed_repository(const std::string& path) {
  const auto change = change_of(path);
  if (change == repository_change::none) return;
  for (const auto& each : subscribers_) {
    const auto& request = each->request;
    if (change == repository_change::branch) {
      const std::string name(branch_of(path));
      if (name == request.branch)
        each->note(false);
      else if (!request.agent_branches.contains(name))
        each->note(true);
      continue;
    }
    each->note(change == repository_change::refs);
    if (change == repository_change::exclude) on_rules_of(each, true);
  }
}

// -- what is ignored --------------------------------------------------------------------------------------------------

void watched_place::rules_changed(clock::time_point now) {
  if (!walk_due_) walk_due_ = std::max(now, rules_applied_at_ + rules_interval);
}

void watched_place::index_changed(clock::time_point now) {
  if (!recheck_due_) recheck_due_ = std::max(now, rules_applied_at_ + index_interval);
}

std::optional<watched_place::clock::time_point> watched_place::rules_due() const noexcept {
  if (walk_due_ && recheck_due_) return std::min(*walk_due_, *recheck_due_);
  return walk_due_ ? walk_due_ : recheck_due_;
}

void watched_place::apply_rules(clock::time_point now) {
  const auto due = rules_due();
  if (!due || *due > now) return;
  if (rules_.reload) rules_.reload();
  if (std::exchange(walk_due_, std::nullopt))
    tree_.walk();
  else
    tree_.reconsider();
  recheck_due_.reset();
  rules_applied_at_ = now;
}

} // namespace townkeeper::watch
