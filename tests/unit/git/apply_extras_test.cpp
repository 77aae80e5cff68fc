// What a point must not be able to do, whoever made it.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "apply_rig.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
namespace fs = std::filesystem;

namespace {

/// The point again, with one more file in R's own tree.
void add_to_point(apply_rig& rig, const std::string& path, const std::string& content) {
  const auto git = [&](const std::vector<std::string>& arguments, const std::string& input = {}) {
    return run_git(rig.repository(), arguments, input);
  };
  auto id = git({"hash-object", "-w", "--stdin"}, content);
  std::string kind = "blob", mode = "100644", below = path;
  // From the innermost directory outwards; the outermost name must be new in R's tree.
  for (auto slash = below.rfind('/'); slash != std::string::npos; slash = below.rfind('/')) {
    id = raw_tree(rig.repository(), {{mode, below.substr(slash + 1), id}});
    below.resize(slash);
    kind = "tree";
    mode = "40000";
  }
  const auto& r = rig.point.point.commit;
  const auto tree = git({"mktree"}, git({"ls-tree", r}) + '\n' + (mode == "40000" ? "040000" : mode) + ' ' + kind +
                                        ' ' + id + '\t' + below + '\n');
  rig.point.point.commit =
      git({"commit-tree", tree, "-m", "R", "-p", git({"rev-parse", r + "^1"}), "-p", git({"rev-parse", r + "^2"})});
  git({"push", "-q", "origin", '+' + rig.point.point.commit + ':' + rig.point.point.ref});
}

} // namespace

TEST_CASE("files that belong to no operation do not come into the admin directory") {
  apply_rig rig({{"a", tree_path::file("a\n")}});
  rig.put("a", "changed\n");
  rig.save();
  const std::string name =
      GENERATE(as<std::string>{}, "HEAD", "gitdir", "commondir", "config.worktree", "hooks/pre-push", "index",
               "info/sparse-checkout", "refs/heads/x", "rebase-merge/../../config");
  CAPTURE(name);
  if (name == "HEAD") CHECK(status_of(rig.worktree()) == " M a");
  add_to_point(rig, "operation/" + name, "evil\n");
  rig.lose_disk();
  const auto done = rig.wake();
  CHECK(done.recovery == git::point_outcome::applied);
  CHECK(mentions(done.reported, "not written"));
  CHECK(status_of(rig.worktree()) == " M a");
  for (const auto& entry : fs::recursive_directory_iterator(rig.repository()))
    if (entry.is_regular_file() && entry.file_size() == 5) CHECK(read(entry.path()) != "evil\n");
}

TEST_CASE("a nested repository brings no .git to where it does not belong") {
  apply_rig rig({{"a", tree_path::file("a\n")}});
  rig.put("a", "changed\n");
  rig.save();
  const std::string name =
      GENERATE(as<std::string>{}, "dot-git/config", "../x/dot-git/config", "a/.git/config", "x/dot-git/.git/config");
  CAPTURE(name);
  add_to_point(rig, "nested/" + name, "evil\n");
  rig.lose_disk();
  const auto done = rig.wake();
  CHECK(mentions(done.reported, "not written"));
  CHECK(status_of(rig.worktree()) == " M a");
  for (const auto& entry : fs::recursive_directory_iterator(rig.rig() / "worktrees"))
    if (entry.is_regular_file() && entry.file_size() == 5) CHECK(read(entry.path()) != "evil\n");
}

TEST_CASE("what is no recovery point is not applied") {
  apply_rig rig({{"a", tree_path::file("a\n")}});
  rig.save();
  const auto tip = id_of(rig.repository(), "refs/heads/work");
  SECTION("an ordinary commit") {
    rig.point.point.commit = tip;
  }
  SECTION("a raw index that is none") {
    add_to_point(rig, "raw-index", "no index");
  }
  rig.lose_disk();
  const auto done = test::restore(rig.wake_job());
  REQUIRE_FALSE(done);
  CHECK(done.error().code == error_code::corrupt);
  CHECK_FALSE(fs::exists(rig.worktree()));
  CHECK_FALSE(fs::exists(rig.registration()));
}
