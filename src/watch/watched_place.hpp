#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "watch/subscription.hpp"
#include "watch/watched_tree.hpp"

namespace townkeeper::watch {

/// What a tree is to git, and with it which of its names count.
enum class place_kind {
  worktree,   ///< files of an agent
  admin,      ///< `<repository>/worktrees/<agent>`
  repository, ///< refs of a rig, shared by its worktrees
};

/// One watched tree and those who hear of it. Belongs to the hub's thread.
class watched_place {
public:
  using clock = subscription::clock;
  using subscriber = std::shared_ptr<subscription>;

  watched_place(watch_table& table, place_kind kind, std::filesystem::path root);

  place_kind kind() const noexcept { return kind_; }
  watched_tree& tree() noexcept { return tree_; }

  /// Hears from now on; where the place stands already, its rules are read afresh.
  void join(const subscriber& who);
  /// True: nobody listens any more.
  bool leave(const subscriber& who);

  bool stands() const noexcept { return standing_ || tree_.lost(); }

  /// After the kernel's queue overflowed: everything may have changed.
  void start_over();

  /// Of a worktree: the rules of what is ignored may not be what they were. Looked at by `apply_rules` when due.
  void rules_changed(clock::time_point now);
  void index_changed(clock::time_point now);
  std::optional<clock::time_point> rules_due() const noexcept;
  void apply_rules(clock::time_point now);

  /// Set by the hub, whose clock counts: the index, or what names what is ignored (.gitignore, info/exclude), of whom.
  std::function<void(const subscriber&, bool exclude)> on_rules_of;
  std::function<void()> on_standing;

private:
  tree_observer observer();
  bool descends(const std::string& directory) const;
  void changed(const watched_directory& in, std::string_view name, tree_observer::entry what);
  void changed_file(const watched_directory& in, std::string_view name);
  void changed_admin(const std::string& path);
  void changed_repository(const std::string& path);
  void note_all(bool refs);

  place_kind kind_;
  std::vector<subscriber> subscribers_;
  ignored_directories rules_; ///< of the latest subscriber
  bool standing_ = false;
  std::optional<clock::time_point> walk_due_, recheck_due_;
  clock::time_point rules_applied_at_{};
  watched_tree tree_;
};

} // namespace townkeeper::watch
