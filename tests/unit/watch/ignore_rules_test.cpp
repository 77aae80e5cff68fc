#include <catch2/catch_test_macros.hpp>

#include "watched_rig.hpp"

using namespace townkeeper;
using namespace townkeeper::test;

TEST_CASE("a directory is ignored where git says so and nothing in it is tracked", "[watch][ignore]") {
  watched_rig rig;
  rig.write(".gitignore", "/build/\n*.o\ntarget\n!keep/target\n/only-files-*\n/a[b]c/\n");
  for (const auto* each : {"build/file", "src/build/file", "target/x", "deep/target/x", "keep/target/x", "half/x.o",
                           "nested/.git/config", "abc/x", "other/x", "src/target/\xff/x", "tracked/target/x"})
    rig.write(each, "x\n");
  rig.git({"add", "-f", "tracked/target/x"});
  git::ignore_rules rules(rig.worktree(), {});
  for (const auto* each : {"build", "src", "src/build", "target", "deep", "deep/target", "keep", "keep/target", "half",
                           "abc", "other", "src/target", "no/such"}) {
    INFO(each);
    const bool ignored =
        try_git(rig.worktree(), {"check-ignore", "-q", "--no-index", std::string(each) + "/"}).status == 0;
    CHECK(rules.is_ignored(each) == ignored);
  }
  CHECK(!rules.is_ignored("tracked/target"));
  CHECK(!rules.is_ignored("nested/.git"));
  CHECK(!rules.is_ignored("nested/.git/objects"));

  SECTION("asked afresh after a reload") {
    rig.write(".gitignore", "other/\n");
    rig.git({"add", "-f", "other/x", "target/x"});
    rules.reload();
    CHECK(!rules.is_ignored("build"));
    CHECK(!rules.is_ignored("other"));
    rig.git({"rm", "-q", "--cached", "other/x"});
    rules.reload();
    CHECK(rules.is_ignored("other"));
  }
}

TEST_CASE("what is included is not ignored, nor what leads to it", "[watch][ignore]") {
  watched_rig rig;
  rig.request();
  rig.write(".gitignore", "/build/\n/target/\n");
  rig.write("build/logs/deep/file", "x\n");
  git::ignore_rules rules(rig.worktree(), {"/build/logs/*.txt", "!/target/x"});
  CHECK(!rules.is_ignored("build"));
  CHECK(!rules.is_ignored("build/logs"));
  CHECK(rules.is_ignored("build/other"));
  CHECK(rules.is_ignored("target"));
  git::ignore_rules anywhere(rig.worktree(), {".env"});
  CHECK(!anywhere.is_ignored("target"));
  git::ignore_rules below(rig.worktree(), {"build/**/keep"});
  CHECK(!below.is_ignored("build/a/b"));
  CHECK(below.is_ignored("target"));
}

TEST_CASE("where the rules cannot be read nothing is ignored", "[watch][ignore]") {
  watched_rig rig;
  rig.request();
  git::ignore_rules rules(rig.scratch() / "nothing", {});
  CHECK(!rules.is_ignored("build"));
}
