#include <catch2/catch_test_macros.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "watched_rig.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
namespace fs = std::filesystem;

namespace {

void append(const fs::path& path) {
  std::ofstream(path, std::ios::app) << "more\n";
}

} // namespace

TEST_CASE("every kind of change of a file is seen", "[watch]") {
  watched_rig rig;
  event_log log;
  const auto handle = rig.watch(log);
  const auto root = rig.worktree();
  CHECK(rig.told(log, [&] { append(root / "README"); }));
  CHECK(rig.told(log, [&] { append(root / "src/deep/er/b.txt"); }));
  CHECK(rig.told(log, [&] { fs::permissions(root / "README", fs::perms::owner_all); }));
  CHECK(rig.told(log, [&] { fs::create_symlink("nowhere", root / "link"); }));
  CHECK(rig.told(log, [&] { fs::create_directory_symlink(rig.scratch(), root / "out"); }));
  CHECK(rig.told(log, [&] { fs::rename(root / "src/a.txt", root / "src/c.txt"); }));
  CHECK(rig.told(log, [&] { fs::remove(root / "src/c.txt"); }));
  CHECK(rig.told(log, [&] { write_file(root / "Cargo.lock", "a lock that is none\n"); }));
  CHECK(rig.told(log, [&] { write_file(root / "\xff\xfe \n\x01", "bytes\n"); }));
  CHECK(rig.told(log, [&] { fs::create_directory(root / "\xc3\x28"); }));
  CHECK(rig.told(log, [&] { append(root / "\xc3\x28/file"); }));
  SECTION("a symbolic link is not followed") {
    CHECK(!rig.told(log, [&] { write_file(rig.scratch() / "file", "elsewhere\n"); }));
  }
  SECTION("a file that is written without being closed") {
    std::ofstream open(root / "README", std::ios::app);
    CHECK(rig.told(log, [&] { open << "more\n" << std::flush; }));
  }
}

TEST_CASE("a file in a directory that was just made is never missed", "[watch]") {
  watched_rig rig;
  event_log log;
  const auto handle = rig.watch(log);
  for (int i = 0; i < 100; ++i) {
    const auto directory = rig.worktree() / "new" / std::to_string(i) / "a/b/c";
    fs::create_directories(directory);
    const auto written_at = event_log::clock::now();
    write_file(directory / "file", "x\n");
    rig.flush();
    REQUIRE(log.last_at() >= written_at);
    REQUIRE(rig.told(log, [&] { append(directory / "file"); }));
  }
}

TEST_CASE("a tree that is copied in is seen to its last file, and watched", "[watch]") {
  watched_rig rig;
  event_log log;
  for (int i = 0; i < 40; ++i)
    for (const auto* each : {"a", "b/c", "b/d/e"})
      write_file(rig.scratch() / "from" / std::to_string(i) / each / "file", "x\n");
  const auto handle = rig.watch(log);
  fs::copy(rig.scratch() / "from", rig.worktree() / "copied", fs::copy_options::recursive);
  const auto copied_at = event_log::clock::now();
  append(rig.worktree() / "copied/39/b/d/e/file");
  REQUIRE(log.wait_until([&](const auto&) { return rig.hub().statistics().watches >= 40 * 6; }));
  rig.flush();
  CHECK(log.last_at() >= copied_at);
  for (int i = 0; i < 40; ++i)
    CHECK(rig.told(log, [&] { append(rig.worktree() / "copied" / std::to_string(i) / "b/d/e/file"); }));

  fs::rename(rig.scratch() / "from", rig.worktree() / "moved in");
  CHECK(log.wait_until([&](const auto&) { return rig.hub().statistics().watches >= 2 * 40 * 6; }));
  CHECK(rig.told(log, [&] { append(rig.worktree() / "moved in/0/b/c/file"); }));
}

TEST_CASE("directories are followed as they are renamed and removed", "[watch]") {
  watched_rig rig;
  event_log log;
  const auto handle = rig.watch(log);
  const auto root = rig.worktree();
  rig.flush();
  const auto watches = rig.hub().statistics().watches;
  CHECK(rig.told(log, [&] { fs::rename(root / "src", root / "source"); }));
  CHECK(rig.told(log, [&] { append(root / "source/deep/er/b.txt"); }));
  // Another takes its name at once.
  CHECK(rig.told(log, [&] {
    fs::rename(root / "source/deep", root / "deep");
    fs::create_directories(root / "source/deep/er");
  }));
  CHECK(rig.told(log, [&] { append(root / "source/deep/er/other"); }));
  CHECK(rig.told(log, [&] { append(root / "deep/er/b.txt"); }));
  CHECK(rig.told(log, [&] { fs::rename(root / "deep", rig.scratch() / "deep"); }));
  CHECK(!rig.told(log, [&] { append(rig.scratch() / "deep/er/b.txt"); }));
  CHECK(rig.told(log, [&] { fs::remove_all(root / "source/deep"); }));
  CHECK(rig.told(log, [&] {
    fs::create_directories(root / "source/deep/er");
    fs::rename(root / "source", root / "src");
  }));
  CHECK(rig.told(log, [&] { append(root / "src/deep/er/other"); }));
  CHECK(rig.hub().statistics().watches == watches);
}

TEST_CASE("what is ignored is asked again when the rules change", "[watch]") {
  watched_rig rig;
  event_log log;
  rig.write("build/kept/file", "x\n");
  rig.write("logs/deep/er/file", "x\n");
  const auto handle = rig.watch(log);
  rig.flush();
  const auto before = rig.hub().statistics().watches;
  const auto reaches = [&](std::size_t count) {
    return log.wait_until([&](const auto&) { return rig.hub().statistics().watches == count; });
  };
  CHECK(!rig.told(log, [&] { append(rig.worktree() / "build/kept/file"); }));

  SECTION("a .gitignore that changes") {
    CHECK(rig.told(log, [&] { rig.write(".gitignore", "/logs/\n"); }));
    REQUIRE(reaches(before + 2 - 3));
    CHECK(rig.told(log, [&] { append(rig.worktree() / "build/kept/file"); }));
    CHECK(!rig.told(log, [&] { append(rig.worktree() / "logs/deep/er/file"); }));
    SECTION("and goes") {
      CHECK(rig.told(log, [&] { fs::remove(rig.worktree() / ".gitignore"); }));
      REQUIRE(reaches(before + 2));
      CHECK(rig.told(log, [&] { append(rig.worktree() / "logs/deep/er/file"); }));
    }
  }
  SECTION("a .gitignore below, which is renamed into its place") {
    rig.write("logs/rules", "deep/\n");
    CHECK(rig.told(log, [&] { fs::rename(rig.worktree() / "logs/rules", rig.worktree() / "logs/.gitignore"); }));
    REQUIRE(reaches(before - 2));
    CHECK(!rig.told(log, [&] { append(rig.worktree() / "logs/deep/er/file"); }));
  }
  SECTION("the repository's info/exclude") {
    CHECK(rig.told(log, [&] { write_file(rig.repository() / "info/exclude", "/logs/\n"); }));
    REQUIRE(reaches(before - 3));
    CHECK(!rig.told(log, [&] { append(rig.worktree() / "logs/deep/er/file"); }));
  }
  SECTION("an ignored file that is added by force") {
    CHECK(rig.told(log, [&] { rig.git({"add", "-f", "build/kept/file"}); }));
    REQUIRE(reaches(before + 2));
    CHECK(rig.told(log, [&] { append(rig.worktree() / "build/kept/file"); }));
  }
  SECTION("a directory that comes ignored, with its own rules") {
    write_file(rig.scratch() / "come/.gitignore", "out/\n");
    write_file(rig.scratch() / "come/out/file", "x\n");
    CHECK(rig.told(log, [&] { fs::rename(rig.scratch() / "come", rig.worktree() / "come"); }));
    CHECK(!rig.told(log, [&] { append(rig.worktree() / "come/out/file"); }));
    CHECK(rig.told(log, [&] { append(rig.worktree() / "come/file"); }));
  }
}

TEST_CASE("a worktree that is removed is told as lost", "[watch]") {
  watched_rig rig;
  rig.add_worktree("a2");
  event_log log, other;
  auto handle = rig.watch(log);
  const auto second = rig.watch(other, "a2");
  run_git(rig.repository(), {"worktree", "remove", "--force", rig.worktree().string()});
  REQUIRE(log.wait_until([](const auto& events) {
    return std::any_of(events.begin(), events.end(), [](const auto& each) { return each.lost.has_value(); });
  }));
  CHECK(log.since(0).lost->code == error_code::not_found);
  CHECK(!other.since(0).lost);
  CHECK(rig.told(other, [&] { rig.write("README", "edited\n", "a2"); }));

  // Made again, it is watched again.
  run_git(rig.repository(), {"worktree", "add", "-q", rig.worktree().string(), "agent/a1"});
  event_log again;
  SECTION("while the old watch is still held") {}
  SECTION("after it") {
    handle.reset();
  }
  const auto third = rig.watch(again);
  CHECK(!again.since(0).lost);
  CHECK(rig.told(again, [&] { append(rig.worktree() / "src/deep/er/b.txt"); }));
  CHECK(rig.told(again, [&] { rig.git({"add", "-A"}); }));
}

TEST_CASE("a directory that cannot be read is passed by until it can", "[watch]") {
  if (::geteuid() == 0) SKIP("root reads everything");
  watched_rig rig;
  event_log log;
  rig.write("closed/deep/file", "x\n");
  fs::permissions(rig.worktree() / "closed", fs::perms::none);
  const auto handle = rig.watch(log);
  CHECK(!log.since(0).lost);
  CHECK(rig.told(log, [&] { append(rig.worktree() / "README"); }));
  CHECK(rig.hub().statistics().unreadable == 1);
  CHECK(rig.told(log, [&] { fs::permissions(rig.worktree() / "closed", fs::perms::owner_all); }));
  CHECK(rig.told(log, [&] { append(rig.worktree() / "closed/deep/file"); }));
}
