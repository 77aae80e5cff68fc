#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/container.hpp"
#include "tests/support/remote.hpp"
#include "tests/support/town.hpp"
#include "tests/support/worktree_picture.hpp"

namespace townkeeper::faults {

/// What every run of the sweep shares: the servers, and the repository that each run gets a copy of.
class sweep_ground {
public:
  sweep_ground();

  const test::town& town() const { return town_; }
  test::remote& server() { return server_; }
  /// A repository of this name as no run has touched it: branches of four agents, a merge that main offers, a link.
  void copy_repository(const std::string& name);

private:
  test::remote server_;
  test::town town_;
};

/// What one life of a container shall suffer.
struct life_faults {
  std::string points;               ///< `TOWNKEEPER_FAULT_POINTS`
  std::filesystem::path log;        ///< `TOWNKEEPER_FAULT_LOG`; empty: none
  std::vector<std::string> awaited; ///< points that come only with time: it waits for them before it drains
};

/// Comes only with much work: a life that awaits it does that too.
inline const std::string pruning_point = "private-object-pruned";

/// One town of its own, of one rig and four agents, through the lives of its containers:
///
///     1  an empty disk; work of every kind is saved, more of it is drained
///     2  another empty disk: a wake; more work, drained
///     3  the disk of life 1, which is older than the point; more work, drained
///     4  the same disk, as it was left; one agent leaves the town; drained
///
/// Between lives the remote's main and the branch of an agent that never has unsaved work move on. `ada` and `bob`
/// work; `cyd` never does, and its process ends at once; `dan` leaves. Every life checks, as soon as it is ready, that
/// each worktree is as it was when it was last acknowledged as saved, or as one of its later states. A check that fails
/// is a line in `violations`.
class crash_scenario {
public:
  static constexpr int lives = 4;

  crash_scenario(sweep_ground& ground, const std::string& town_id);

  /// Runs this life's script to its end, or to the daemon's.
  void live(int number, const life_faults& faults = {});
  /// After a life with a fault, whatever became of it: a container without faults has to wake and have everything.
  /// `wiped`: on an empty disk, else on the one that the life before left.
  void wake_after(int number, bool wiped);

  const std::vector<std::string>& violations() const { return violations_; }
  int checked_saves() const { return checked_saves_; }
  /// The last health document and the last lines of the daemon's log, for a report.
  std::string last_words() const;

private:
  struct agent_work {
    std::vector<test::worktree_picture> states; ///< the last acknowledged one, and what came after it
    bool acknowledged = false;                  ///< the first of them is
  };

  test::container& box_of(int number) { return number == 2 ? second_ : first_; }
  bool start(test::container& box, const life_faults& faults);
  bool wait_until_ready(test::container& box, bool faulty);
  void check_worktrees(test::container& box);
  std::string difference_to_branch(test::container& box, const std::string& agent);
  void check_towns_points();
  void check_dispatches();
  void check_sound(const std::filesystem::path& repository);
  void first_work(test::container& box, int number);
  void much_work(test::container& box, bool faulty);
  void second_work(test::container& box, int number);
  void take_pictures(test::container& box);
  void save(test::container& box, bool faulty);
  void wait_for_dispatch(test::container& box);
  void wait_for_points(test::container& box, const life_faults& faults);
  void remove_agent(test::container& box, bool faulty);
  void drain(test::container& box, bool faulty);
  void move_remote(int number);
  void acknowledge(const std::string& agent);
  void violated(const std::string& what);

  sweep_ground& ground_;
  std::string town_id_;
  test::town_admin admin_;
  test::container first_, second_;
  test::container* last_ = nullptr;
  std::map<std::string, agent_work> work_;
  int life_ = 0;
  bool dan_is_there_ = true;
  int checked_saves_ = 0;
  std::string last_health_;
  std::vector<std::string> violations_;
};

} // namespace townkeeper::faults
