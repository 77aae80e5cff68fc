#include "cli/workspace.hpp"

#include <sys/stat.h>

#include <catch2/catch_test_macros.hpp>

#include <fstream>

#include "actors/agent_socket.hpp"
#include "http/listening_socket.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/core/result_printer.hpp"

using namespace townkeeper;
using namespace townkeeper::cli;

namespace {

mode_t mode_of(const std::filesystem::path& at) {
  struct stat found {};
  REQUIRE(::lstat(at.c_str(), &found) == 0);
  return found.st_mode & 07777U;
}

} // namespace

TEST_CASE("a workspace has one daemon at a time") {
  const test::temp_dir dir;
  const workspace_layout layout{dir.path()};
  {
    const auto first = owned_workspace::take(dir.path());
    REQUIRE(first);
    CHECK(mode_of(layout.own()) == 0700);
    REQUIRE(write_control_file(layout.control_file(), {4711, "http://127.0.0.1:1"}));
    const auto second = owned_workspace::take(dir.path());
    REQUIRE(second.has_error());
    CHECK(second.error().code == error_code::disk);
    CHECK(second.error().message.find("4711") != std::string::npos);
  }
  CHECK(owned_workspace::take(dir.path()).has_value());
}

TEST_CASE("a disk is warm when an earlier container left a rig on it") {
  const test::temp_dir dir;
  CHECK_FALSE(owned_workspace::take(dir.path()).value().warm());
  std::filesystem::create_directories(dir.path() / "rigs" / "r1");
  CHECK(owned_workspace::take(dir.path()).value().warm());
}

TEST_CASE("a link in the place of the daemon's own directory is not followed") {
  const test::temp_dir dir, elsewhere;
  std::filesystem::create_directory_symlink(elsewhere.path(), dir.path() / ".townkeeper");
  const auto taken = owned_workspace::take(dir.path());
  REQUIRE(taken.has_error());
  CHECK(taken.error().code == error_code::disk);
  CHECK(std::filesystem::is_empty(elsewhere.path()));
}

TEST_CASE("control.json is whole, private, and read back") {
  const test::temp_dir dir;
  const auto file = dir.path() / "control.json";
  CHECK(read_control_file(file).error().code == error_code::unavailable);
  REQUIRE(write_control_file(file, {1, "http://127.0.0.1:1"}));
  REQUIRE(write_control_file(file, {42, "http://[::1]:8080"}));
  CHECK(mode_of(file) == 0600);
  CHECK(std::distance(std::filesystem::directory_iterator(dir.path()), {}) == 1);
  const auto read = read_control_file(file);
  REQUIRE(read);
  CHECK(read->pid == 42);
  CHECK(read->url == "http://[::1]:8080");
  std::ofstream(file) << R"({"pid":"x"})";
  CHECK(read_control_file(file).error().code == error_code::unavailable);
}

TEST_CASE("the agents' commands are links that replace what an older daemon left") {
  const test::temp_dir dir;
  std::ofstream(dir.path() / "gt_prime") << "old";
  REQUIRE(link_commands(dir.path(), "/opt/townkeeper"));
  for (const auto* name : {"gt_checkpoint", "gt_prime", "gt_done", "gt_status", "townkeeper"})
    CHECK(std::filesystem::read_symlink(dir.path() / name) == "/opt/townkeeper");
}

TEST_CASE("sockets fit whatever the workspace and the agent are called") {
  const test::temp_dir dir;
  CHECK(make_socket_directory(dir.path()).value() == dir.path());
  const auto long_path = std::filesystem::path("/" + std::string(100, 'x'));
  const auto elsewhere = make_socket_directory(long_path).value();
  CHECK(elsewhere != long_path);
  CHECK(mode_of(elsewhere) == 0700);
  const std::string long_id(128, 'a');
  const auto path = agent_socket_path(elsewhere, long_id);
  CHECK(path.native().size() <= max_socket_path_bytes);
  const auto another = std::string(127, 'a').append("b");
  CHECK(path != agent_socket_path(elsewhere, another));
  CHECK(agent_socket_path(elsewhere, "a1") == elsewhere / "a1.sock");
  std::filesystem::remove(elsewhere);
}

TEST_CASE("wherever an agent's socket is said to fit, it can be made") {
  const test::temp_dir dir;
  for (auto directory = dir.path() / "x"; agent_socket_fits(directory); directory += "x") {
    std::filesystem::create_directory(directory);
    for (const std::size_t length : {1UL, 16UL, 17UL, 20UL, 24UL, 128UL}) {
      CAPTURE(directory, length);
      CHECK(http::listen_on_unix(agent_socket_path(directory, std::string(length, 'a'))));
    }
  }
}
