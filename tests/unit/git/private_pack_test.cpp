// Many small objects are one pack in the private store: written by a snapshot, read from, and pruned.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <sys/resource.h>

#include <csignal>
#include <set>

#include "core/fault_point.hpp"
#include "git/object_id.hpp"
#include "git/private_pack.hpp"
#include "git/snapshot_memory.hpp"
#include "snapshot_rig.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
namespace fs = std::filesystem;

namespace {

/// Of which pruning looks closer at a store.
constexpr int many = 2100;

/// Files in the store's `pack` of which the names end so.
std::size_t packed(const snapshot_rig& rig, const std::string& ending) {
  std::size_t count = 0;
  for (const auto& each : fs::directory_iterator(rig.private_objects() / "pack"))
    count += each.path().native().ends_with(ending) ? 1 : 0;
  return count;
}

std::size_t packs(const snapshot_rig& rig) {
  const auto count = packed(rig, ".idx");
  CHECK(packed(rig, ".pack") == count);
  CHECK(packed(rig, "") == 2 * count); // nothing else lies there
  return count;
}

std::size_t loose(const snapshot_rig& rig) {
  std::size_t count = 0;
  for (const auto& each : fs::recursive_directory_iterator(rig.private_objects()))
    count += each.path().filename().native().size() == 38 ? 1 : 0;
  return count;
}

void age(const fs::path& path) {
  fs::last_write_time(path, fs::file_time_type::clock::now() - std::chrono::hours{2});
}

void age_all(const snapshot_rig& rig) {
  for (const auto& each : fs::recursive_directory_iterator(rig.private_objects()))
    if (each.is_regular_file()) age(each.path());
}

/// The agent throws its commits away, and git the objects.
void lose_commits(const snapshot_rig& rig) {
  rig.agent_git({"reset", "-q", "--hard", "origin/work"});
  rig.agent_git({"reflog", "expire", "--expire=now", "--all"});
  rig.agent_git({"gc", "-q", "--prune=now"});
}

struct packed_object {
  std::string bytes;
  git_object_t type = GIT_OBJECT_BLOB;
};

git_oid id_of(const packed_object& object) {
  git_oid id{};
  REQUIRE(git_odb_hash(&id, object.bytes.data(), object.bytes.size(), object.type) == 0);
  return id;
}

/// A pack of many small files, which nothing needs, and of `others`.
void pile_up(const snapshot_rig& rig, const std::string& name, std::vector<packed_object> others = {}) {
  for (int i = 0; i < many; ++i)
    others.push_back({name + std::to_string(i)});
  auto pack = git::pack_file::begin(rig.private_objects());
  REQUIRE(pack);
  for (const auto& each : others)
    REQUIRE(pack->add(id_of(each), each.bytes, each.type));
  REQUIRE(pack->publish());
}

bool is_in_store(const snapshot_rig& rig, const git_oid& id) {
  auto store = git::private_store::open(rig.repository(), "a1");
  REQUIRE(store);
  return store->contains(id);
}

void check_whole(const snapshot_rig& rig, const git::snapshot& s) {
  run_git(rig.pushed(s), {"fsck", "--full", "--strict", "--no-dangling"});
}

/// While it lives no file gets larger than this.
class limited_files {
public:
  explicit limited_files(rlim_t bytes) {
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &before_) == 0);
    const rlimit now{bytes, before_.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &now) == 0);
  }
  limited_files(const limited_files&) = delete;
  ~limited_files() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

private:
  rlimit before_{};
  void (*handler_)(int) = std::signal(SIGXFSZ, SIG_IGN);
};

} // namespace

TEST_CASE("many commits that were never pushed are copied as one pack, and outlive the agent's git gc") {
  snapshot_rig rig;
  rig.commit_unpushed(40);
  const auto head = rig.agent_git({"rev-parse", "HEAD"});
  const auto s = rig.taken();
  CHECK(packs(rig) == 1);
  CHECK(loose(rig) < 20);
  lose_commits(rig);
  REQUIRE(rig.try_agent_git({"cat-file", "-e", head}).status != 0);
  check_whole(rig, s);
}

TEST_CASE("a pack holds each of git's kinds of objects, of every size up to the limit") {
  snapshot_rig rig;
  rig.taken();
  auto store = git::private_store::open(rig.repository(), "a1");
  REQUIRE(store);
  std::vector<packed_object> objects;
  for (const std::size_t size : {0UL, 1UL, 15UL, 16UL, 17UL, 2047UL, 2048UL, 65535UL, 300000UL})
    objects.push_back({std::string(size, 'x')});
  objects.push_back({"", GIT_OBJECT_TREE});
  const std::string who = "A <a@example.invalid> 0 +0000";
  objects.push_back(
      {"tree " + git::to_hex(id_of(objects.back())) + "\nauthor " + who + "\ncommitter " + who + "\n\nx\n",
       GIT_OBJECT_COMMIT});
  objects.push_back({"object " + git::to_hex(id_of(objects.back())) + "\ntype commit\ntag t\ntagger " + who + "\n\nx\n",
                     GIT_OBJECT_TAG});
  pile_up(rig, "beside ", objects);
  auto reopened = git::private_store::open(rig.repository(), "a1");
  REQUIRE(reopened);
  for (const auto& each : objects) {
    const auto read = reopened->read(id_of(each));
    REQUIRE(read);
    CHECK(git_odb_object_type(read->get()) == each.type);
    CHECK(git_odb_object_size(read->get()) == each.bytes.size());
  }
  for (const auto& each : fs::directory_iterator(rig.private_objects() / "pack"))
    if (each.path().extension() == ".idx") CHECK(rig.try_agent_git({"verify-pack", each.path()}).status == 0);
}

TEST_CASE("few objects that are copied stay files of their own, and so does a large one among many") {
  snapshot_rig rig;
  SECTION("few") {
    rig.commit_unpushed(20);
    const auto s = rig.taken();
    CHECK(packs(rig) == 0);
    CHECK(loose(rig) >= 60);
    lose_commits(rig);
    check_whole(rig, s);
  }
  SECTION("large") {
    const std::string content(git::private_pack::small_bytes, 'x');
    write(rig.worktree() / "a", content);
    rig.agent_git({"commit", "-q", "-a", "-m", "large"});
    rig.commit_unpushed(40);
    const auto s = rig.taken();
    CHECK(packs(rig) == 1);
    const auto hex = git::to_hex(id_of({content}));
    CHECK(fs::exists(rig.private_objects() / hex.substr(0, 2) / hex.substr(2)));
    lose_commits(rig);
    check_whole(rig, s);
  }
}

TEST_CASE("what is packed is not copied again, also by a process that remembers nothing") {
  snapshot_rig rig;
  rig.commit_unpushed(40);
  rig.taken();
  const auto before = loose(rig);
  git::snapshot_memory::of(rig.repository(), "a1")->closure = {};
  git::snapshot_memory::of(rig.repository(), "a1")->last.reset();
  write(rig.worktree() / "b", "a change\n");
  const auto s = rig.taken();
  CHECK(packs(rig) == 1);
  CHECK(loose(rig) < before + 10);
  lose_commits(rig);
  check_whole(rig, s);
}

TEST_CASE("a pack that vanished is made again") {
  snapshot_rig rig;
  rig.commit_unpushed(40);
  rig.taken();
  for (const auto& each : fs::directory_iterator(rig.private_objects() / "pack"))
    fs::remove(each.path());
  write(rig.worktree() / "b", "a change\n");
  const auto s = rig.taken();
  CHECK(packs(rig) == 1);
  lose_commits(rig);
  check_whole(rig, s);
}

TEST_CASE("a pack that cannot be written fails the snapshot and leaves nothing; the next one completes it") {
  snapshot_rig rig;
  rig.commit_unpushed(40);
  {
    const limited_files full{4096};
    const auto failed = git::take_snapshot(rig.snapshot_job());
    REQUIRE_FALSE(failed);
    CHECK(failed.error().code == error_code::disk);
  }
  CHECK(packs(rig) == 0);
  const auto s = rig.taken();
  CHECK(packs(rig) == 1);
  lose_commits(rig);
  check_whole(rig, s);
}

#ifdef TOWNKEEPER_FAULT_POINTS
TEST_CASE("a pack that cannot be put in place fails the snapshot and leaves nothing; the next one completes it") {
  snapshot_rig rig;
  rig.commit_unpushed(40);
  REQUIRE(arm_fault_points("private-pack-written=error:ENOSPC", ""));
  const auto failed = git::take_snapshot(rig.snapshot_job());
  CHECK(arm_fault_points("", ""));
  REQUIRE_FALSE(failed);
  CHECK(failed.error().code == error_code::disk);
  CHECK(packs(rig) == 0);
  const auto s = rig.taken();
  CHECK(packs(rig) == 1);
  lose_commits(rig);
  check_whole(rig, s);
}
#endif

TEST_CASE("of packs, what is needed stays whole, what is young stays, and the others go") {
  snapshot_rig rig;
  rig.commit_unpushed(40);
  const auto s = rig.taken();
  pile_up(rig, "piled up ");
  REQUIRE(packs(rig) == 2);
  SECTION("old") {
    age_all(rig);
    REQUIRE(git::prune_private_objects(rig.repository(), "a1", {}));
    CHECK(packs(rig) == 1);
    CHECK_FALSE(is_in_store(rig, id_of({"piled up 0"})));
  }
  SECTION("young") {
    REQUIRE(git::prune_private_objects(rig.repository(), "a1", {}));
    CHECK(packs(rig) == 2);
    CHECK(is_in_store(rig, id_of({"piled up 0"})));
  }
  lose_commits(rig);
  check_whole(rig, s);
}

TEST_CASE("a pack that cannot be read goes, and is not in the way of the others") {
  snapshot_rig rig;
  rig.commit_unpushed(40);
  const auto s = rig.taken();
  pile_up(rig, "young ");
  std::set<fs::path> stay;
  for (const auto& each : fs::directory_iterator(rig.private_objects() / "pack"))
    stay.insert(each.path());
  pile_up(rig, "piled up ");
  const auto suffix = GENERATE(".idx", ".pack");
  const bool is_empty = GENERATE(true, false);
  CAPTURE(suffix, is_empty);
  for (const auto& each : fs::directory_iterator(rig.private_objects() / "pack"))
    if (!stay.contains(each.path()) && each.path().extension() == suffix)
      fs::resize_file(each.path(), is_empty ? 0 : fs::file_size(each.path()) / 2);
  REQUIRE(git::prune_private_objects(rig.repository(), "a1", {}));
  CHECK(packs(rig) == 2);
  lose_commits(rig);
  check_whole(rig, s);
}

TEST_CASE("a pack that stays for one of its objects keeps what the others reach") {
  snapshot_rig rig;
  rig.taken();
  auto store = git::private_store::open(rig.repository(), "a1");
  REQUIRE(store);
  const auto leaf = store->put("reached by what nobody needs\n", GIT_OBJECT_BLOB);
  REQUIRE(leaf);
  const auto lone = store->put("reached by nothing\n", GIT_OBJECT_BLOB);
  REQUIRE(lone);
  packed_object tree{std::string{"100644 leaf\0", 12}, GIT_OBJECT_TREE};
  tree.bytes.append(reinterpret_cast<const char*>(leaf->id), sizeof leaf->id);
  const packed_object root{"needed\n"};
  pile_up(rig, "beside ", {tree, root});
  age_all(rig);
  REQUIRE(git::prune_private_objects(rig.repository(), "a1", {git::to_hex(id_of(root))}));
  CHECK(packs(rig) == 1);
  CHECK(is_in_store(rig, *leaf));
  CHECK_FALSE(is_in_store(rig, *lone));
}

TEST_CASE("what a crash left of a pack goes after an hour, in a small store too") {
  snapshot_rig rig;
  rig.commit_unpushed(40);
  rig.taken();
  const auto directory = rig.private_objects() / "pack";
  const auto without_index = "pack-" + std::string(40, 'a') + ".pack";
  for (const std::string name : {"tmp_pack_old", "tmp_idx_old", "tmp_pack_young", without_index.c_str()}) {
    write(directory / name, "PACK");
    if (!name.ends_with("young")) age(directory / name);
  }
  REQUIRE(git::prune_private_objects(rig.repository(), "a1", {}));
  CHECK(packed(rig, "_old") == 0);
  CHECK(packed(rig, "_young") == 1);
  CHECK_FALSE(fs::exists(directory / without_index));
  CHECK(packed(rig, ".pack") == 1);
}

TEST_CASE("what was left is looked at again when the store has doubled, or after ten minutes") {
  snapshot_rig rig;
  rig.taken();
  pile_up(rig, "first ");
  REQUIRE(git::prune_private_objects(rig.repository(), "a1", {}));
  age_all(rig);
  REQUIRE(git::prune_private_objects(rig.repository(), "a1", {}));
  REQUIRE(packs(rig) == 1); // nothing came since
  SECTION("doubled") {
    pile_up(rig, "second ");
    age_all(rig);
    REQUIRE(git::prune_private_objects(rig.repository(), "a1", {}));
    CHECK(packs(rig) == 2); // and a few loose objects that were there before: not yet
    pile_up(rig, "third ");
    age_all(rig);
    REQUIRE(git::prune_private_objects(rig.repository(), "a1", {}));
  }
  SECTION("after ten minutes") {
    git::snapshot_memory::of(rig.repository(), "a1")->looked->at -= std::chrono::minutes{10};
    REQUIRE(git::prune_private_objects(rig.repository(), "a1", {}));
  }
  CHECK(packs(rig) == 0);
}
