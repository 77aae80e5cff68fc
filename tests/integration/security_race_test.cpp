// Links that appear in the place of a directory between two steps of the daemon; it waits at a fault point meanwhile.
#include <catch2/generators/catch_generators.hpp>

#include "security_scenario.hpp"
#include "tests/support/secret_search.hpp"

using namespace townkeeper;
using namespace townkeeper::integration;
namespace fs = std::filesystem;

#ifdef TOWNKEEPER_FAULT_POINTS

namespace {

/// A container that waits at one step, so that a test can change the disk in the middle of its work.
class paused_town : public one_agent_town {
public:
  test::temp_dir outside{"outside"}, seen{"seen"};
  test::container box;

  explicit paused_town(const std::map<std::string, std::string>& files)
      : box{guarded(town, configuration({}, {}, {}, fast_saves))} {
    server.commit("api", {"main", files});
    box.options().environment["TOWNKEEPER_FAULT_LOG"] = log().string();
  }

  /// From the next start on: it waits once there.
  void pause_at(const std::string& point) {
    box.options().environment["TOWNKEEPER_FAULT_POINTS"] = point + "=delay:3000ms";
    fs::remove(log());
    point_ = point;
  }
  void go_on_without() { box.options().environment["TOWNKEEPER_FAULT_POINTS"].clear(); }
  bool wait_until_there() const {
    return test::wait_until(
        [&] { return ("\n" + test::bytes_of(log())).find("\n" + point_ + "\n") != std::string::npos; });
  }

private:
  fs::path log() const { return seen.path() / "passed"; }
  std::string point_;
};

void swap_for_link(const fs::path& directory, const fs::path& target) {
  fs::rename(directory, directory.string() + ".away");
  fs::create_directory_symlink(target, directory);
}

} // namespace

TEST_CASE("a directory that becomes a link to elsewhere in the middle of a snapshot: nothing of elsewhere is saved") {
  const std::vector<std::string> directories{"a", "m", "z"};
  paused_town here{{{"a/file", "1\n"}, {"m/file", "1\n"}, {"z/file", "1\n"}}};
  const std::string content = "content-of-outside-5c6d";
  write(here.outside.path() / "file", content + "\n");
  wake(here.box);
  sleep(here.box);
  // All are there when the next container takes its first snapshot; it stores one after the other, and waits at the
  // first.
  const auto worktree = here.box.worktree("api", "ada");
  for (const auto& name : directories)
    write(worktree / name / "file", "edited in " + name + "\n");
  here.pause_at("object-written");
  here.box.start();
  REQUIRE(here.wait_until_there());
  for (const auto& name : directories)
    swap_for_link(worktree / name, here.outside.path());
  INFO(here.box.log());
  const auto saved = ref_of("ada", 2) + ":untracked/z.away/file";
  REQUIRE(test::wait_until([&] {
    return test::try_git(here.server.repository_path("api"), {"cat-file", "-e", saved}).status == 0;
  }));
  sleep(here.box);
  test::secret_search words;
  words.add("what lies outside", content);
  std::size_t objects = 0;
  CHECK(words.in_objects(here.server.repository_path("api"), objects) == std::vector<std::string>{});
  CHECK(words.in_objects(here.box.workspace(), objects) == std::vector<std::string>{});
  CHECK(objects > 0);
  CHECK(test::bytes_of(here.outside.path() / "file") == content + "\n");
}

TEST_CASE(
    "a link to elsewhere in the place of a directory that is about to be restored: nothing is written through it") {
  paused_town here{{{"a/one", "1\n"}, {"z/two", "1\n"}}};
  here.pause_at("file-written");
  here.box.start();
  REQUIRE(here.wait_until_there());
  fs::path root;
  for (const auto& each : fs::recursive_directory_iterator{here.box.worktree("api", ".new")})
    if (each.path().filename() == "README") root = each.path().parent_path();
  REQUIRE_FALSE(root.empty());
  REQUIRE_FALSE(fs::exists(root / "z"));
  fs::create_directory_symlink(here.outside.path(), root / "z");
  INFO(here.box.log());
  REQUIRE(here.box.wait_for_phase("ready"));
  CHECK(fs::is_empty(here.outside.path()));
  check_restored(here.box.worktree("api", "ada"), "main", here.server.tip("api", "main"));
}

TEST_CASE("a directory that becomes a link to elsewhere while a warm worktree moves on: nothing is removed or written "
          "there") {
  paused_town here{{{"a/one", "1\n"}, {"m/n/gone", "1\n"}, {"m/o/gone", "1\n"}, {"z/two", "1\n"}}};
  wake(here.box);
  sleep(here.box);
  here.server.commit("api", {"main", {{"m/n/new", "2\n"}, {"z/two", "2\n"}}, {"m/n/gone", "m/o/gone"}});
  for (const auto* file : {"gone", "two", "n/gone", "o/gone"})
    write(here.outside.path() / file, "of somebody else\n");
  const auto* point = GENERATE("old-file-removed", "moved-file-placed");
  CAPTURE(point);
  here.pause_at(point);
  here.box.start();
  INFO(here.box.log());
  REQUIRE(here.wait_until_there());
  const auto worktree = here.box.worktree("api", "ada");
  swap_for_link(worktree / "m" / "n", here.outside.path() / "n");
  if (fs::exists(worktree / "m" / "o")) swap_for_link(worktree / "m" / "o", here.outside.path() / "o");
  swap_for_link(worktree / "z", here.outside.path());
  REQUIRE(wait_until_settled(here.box));
  for (const auto* file : {"gone", "two", "n/gone", "o/gone"})
    CHECK(test::bytes_of(here.outside.path() / file) == "of somebody else\n");
  CHECK_FALSE(fs::exists(here.outside.path() / "n" / "new"));
}

#endif
