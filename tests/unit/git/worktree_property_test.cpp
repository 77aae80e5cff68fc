// Random trees, one after another on one branch: each restored or moved to, and compared by git's command line.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>

#include <algorithm>
#include <random>

#include "worktree_rig.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
namespace fs = std::filesystem;

namespace {

class random_tree {
public:
  explicit random_tree(unsigned seed)
      : random_(seed) {}

  tree_paths next() {
    paths_.clear();
    fill("", 0);
    return paths_;
  }

private:
  unsigned seed() { return static_cast<unsigned>(random_()); }
  int below(int limit) { return static_cast<int>(seed() % static_cast<unsigned>(limit)); }

  /// Few names, so that a later tree has files where an earlier one had directories, links or nothing.
  std::string name() {
    static const std::vector<std::string> names{"a", "b", "a.b", "a-b", "A", "ab", "\xc3\xa4", "\xe4", "x y", "z"};
    return names[static_cast<std::size_t>(below(static_cast<int>(names.size())))];
  }

  void fill(const std::string& directory, int depth) {
    const int count = 1 + below(6);
    for (int i = 0; i < count; ++i) {
      const auto path = directory + name();
      if (taken(path)) continue;
      switch (below(depth < 4 ? 8 : 5)) {
      case 0:
        paths_[path] = tree_path::executable(noise(static_cast<std::size_t>(below(50)), seed()));
        break;
      case 1:
        paths_[path] = tree_path::link(below(2) == 0 ? name() : "../" + name() + "/../..");
        break;
      case 2:
        paths_[path] = tree_path::file("");
        break;
      case 3:
        paths_[path] = below(4) == 0 ? tree_path::submodule(std::string(40, '1')) : tree_path::file("a line\n");
        break;
      case 4:
        paths_[path] = tree_path::file(noise(static_cast<std::size_t>(below(5000)), seed()));
        break;
      default:
        fill(path + '/', depth + 1);
      }
    }
  }

  bool taken(const std::string& path) const {
    return std::any_of(paths_.begin(), paths_.end(), [&](const auto& p) {
      return p.first == path || p.first.starts_with(path + '/') || path.starts_with(p.first + '/');
    });
  }

  std::mt19937 random_;
  tree_paths paths_;
};

} // namespace

TEST_CASE("random trees: restored and moved between, each is what git says it is") {
  constexpr unsigned trees_per_seed = 5;
  const auto seed = GENERATE(range(1U, 11U));
  random_tree trees(seed);
  worktree_rig rig;
  for (unsigned i = 0; i < trees_per_seed; ++i) {
    INFO("seed " << seed << ", tree " << i);
    const auto tip = rig.commit("work", trees.next());
    const auto moved = rig.restored();
    CHECK(moved.commit == tip);
    CHECK_FALSE(moved.left_dirty);
    CHECK(flaws_of(rig, tip) == "");
    run_git(rig.remote(), {"update-ref", "refs/heads/anew-" + std::to_string(i), tip});
    rig.restored("anew-" + std::to_string(i), "anew");
    CHECK(flaws_of(rig, tip, "anew-" + std::to_string(i), "anew") == "");
    fs::remove_all(rig.worktree("anew"));
    fs::remove_all(rig.registration("anew"));
  }
}
