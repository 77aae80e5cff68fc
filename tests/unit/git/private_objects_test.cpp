// The private object store: what a snapshot needs stays, what piled up goes.
#include <catch2/catch_test_macros.hpp>
#include <fcntl.h>
#include <sys/stat.h>

#include "git/include_patterns.hpp"
#include "git/private_objects.hpp"
#include "snapshot_rig.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
namespace fs = std::filesystem;

namespace {

std::size_t count_objects(const snapshot_rig& rig) {
  std::size_t count = 0;
  for (const auto& each : fs::recursive_directory_iterator(rig.private_objects()))
    count += each.path().filename().string().size() == 38 ? 1 : 0;
  return count;
}

/// Makes everything in the store an hour old.
void age(const snapshot_rig& rig) {
  for (const auto& each : fs::recursive_directory_iterator(rig.private_objects()))
    if (each.is_regular_file())
      fs::last_write_time(each.path(), fs::file_time_type::clock::now() - std::chrono::hours{1});
}

void pile_up(const snapshot_rig& rig, std::size_t objects) {
  auto store = git::private_store::open(rig.repository(), "a1");
  REQUIRE(store);
  for (std::size_t i = 0; i < objects; ++i)
    REQUIRE(store->put("piled up " + std::to_string(i), GIT_OBJECT_BLOB));
}

bool is_whole(const snapshot_rig& rig, const git::snapshot& s) {
  return rig.private_git({"fsck", "--connectivity-only", "--no-dangling", s.stash_commit, s.extras_tree}).empty();
}

} // namespace

TEST_CASE("little is left alone") {
  snapshot_rig rig;
  write(rig.worktree() / "a", "mine\n");
  rig.taken();
  const auto before = count_objects(rig);
  age(rig);
  REQUIRE(git::prune_private_objects(rig.repository(), "a1", {}));
  CHECK(count_objects(rig) == before);
}

TEST_CASE("of much that piled up, what is needed stays") {
  snapshot_rig rig;
  write(rig.worktree() / "a", "kept\n");
  write(rig.worktree() / "new", "kept too\n");
  const auto kept = rig.taken();
  write(rig.worktree() / "a", "the last\n");
  const auto last = rig.taken();
  pile_up(rig, 2100);
  SECTION("old objects go") {
    age(rig);
    REQUIRE(git::prune_private_objects(rig.repository(), "a1", {kept.stash_commit, kept.extras_tree}));
    CHECK(count_objects(rig) < 40);
  }
  SECTION("young ones may be of a point that is being pushed") {
    REQUIRE(git::prune_private_objects(rig.repository(), "a1", {kept.stash_commit, kept.extras_tree}));
    CHECK(count_objects(rig) > 2100);
  }
  CHECK(is_whole(rig, kept));
  CHECK(is_whole(rig, last));
  CHECK(rig.taken().stash_commit == last.stash_commit);
}

TEST_CASE("nothing is removed when what is needed cannot be told") {
  snapshot_rig rig;
  write(rig.worktree() / "a", "mine\n");
  const auto s = rig.taken();
  pile_up(rig, 2100);
  age(rig);
  const auto broken = rig.private_objects() / s.stash_commit.substr(0, 2) / s.stash_commit.substr(2);
  REQUIRE(::chmod(broken.c_str(), 0644) == 0);
  write(broken, "no object");
  const auto before = count_objects(rig);
  CHECK_FALSE(git::prune_private_objects(rig.repository(), "a1", {s.stash_commit}));
  CHECK(count_objects(rig) == before);
}

TEST_CASE("patterns of what to include match as gitignore's do") {
  using git::include_patterns;
  CHECK(include_patterns({"*.log"}).matches("deep/er/x.log", false));
  CHECK_FALSE(include_patterns({"/x.log"}).matches("deep/x.log", false));
  CHECK(include_patterns({"/x.log"}).matches("x.log", false));
  CHECK(include_patterns({"a/**/z"}).matches("a/z", false));
  CHECK(include_patterns({"a/**/z"}).matches("a/b/c/z", false));
  CHECK_FALSE(include_patterns({"a/*/z"}).matches("a/b/c/z", false));
  CHECK(include_patterns({"**/b/**/z"}).matches("a/b/b/c/z", false));
  CHECK(include_patterns({"**/b/c/**/y/z"}).matches("b/a/b/c/y/y/z", false));
  CHECK_FALSE(include_patterns({"**/b/c/**/y/z"}).matches("b/a/c/y/z", false));
  CHECK_FALSE(include_patterns({"a/**/b/**/c"}).matches("a/c/b", false));
  // Every way to share 400 directories out between twelve "**" would take for ever.
  std::string stars, deep;
  for (int i = 0; i < 12; ++i)
    stars += "**/a/";
  for (int i = 0; i < 400; ++i)
    deep += "a/";
  CHECK_FALSE(include_patterns({stars + "z"}).matches(deep + "y", false));
  CHECK(include_patterns({"out/"}).matches("x/out/file", false));
  CHECK_FALSE(include_patterns({"out/"}).matches("x/out", false));
  CHECK_FALSE(include_patterns({"*.log", "!keep.log"}).matches("keep.log", false));
  CHECK(include_patterns({"dist/*.map"}).may_match_below("dist"));
  CHECK_FALSE(include_patterns({"dist/*.map"}).may_match_below("node_modules"));
  CHECK_FALSE(include_patterns({".env"}).may_match_below("node_modules"));
  CHECK(include_patterns({"**/.env"}).may_match_below("node_modules"));
  CHECK(include_patterns({"node_modules"}).may_match_below("node_modules"));
}
