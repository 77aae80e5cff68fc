#include <catch2/catch_test_macros.hpp>

#include <fstream>
#include <random>

#include "tests/support/remote.hpp"
#include "tests/support/temp_dir.hpp"

using namespace townkeeper::test;

namespace {

/// A clone with one commit that is not pushed.
struct clone_of {
  temp_dir dir{"clone"};
  explicit clone_of(const remote& server, const std::string& file = "new", std::size_t size = 1) {
    run_git(dir.path(), {"clone", "-q", server.url("api"), "."});
    std::string noise(size, 'x');
    std::mt19937 random{1}; // what compresses would take no room
    for (char& c : noise)
      c = static_cast<char>(random());
    std::ofstream{dir.path() / file} << noise;
    run_git(dir.path(), {"add", "-A"});
    run_git(dir.path(), {"commit", "-q", "-m", "more"});
  }
  command_outcome push() const { return try_git(dir.path(), {"push", "-q", "origin", "HEAD:refs/heads/main"}); }
};

} // namespace

TEST_CASE("a remote refuses pushes when it is read-only, by quota, by path, and by any hook; and takes them again") {
  remote server;
  server.make_repository("api");
  SECTION("read-only") {
    const clone_of work{server};
    server.set_read_only("api", true);
    CHECK(work.push().status != 0);
    CHECK(try_git(work.dir.path(), {"fetch", "-q"}).status == 0);
    server.set_read_only("api", false);
    CHECK(work.push().status == 0);
  }
  SECTION("quota") {
    const clone_of small{server}, large{server, "large", 400'000};
    server.set_quota("api", 100);
    const auto refused = large.push();
    CHECK(refused.status != 0);
    CHECK(refused.err.find("quota exceeded") != std::string::npos);
    CHECK(small.push().status == 0);
  }
  SECTION("path") {
    const clone_of secret{server, "secret.pem"}, fine{server, "public.txt"};
    server.refuse_paths("api", "\\.pem$");
    const auto refused = secret.push();
    CHECK(refused.status != 0);
    CHECK(refused.err.find("path refused") != std::string::npos);
    CHECK(fine.push().status == 0);
  }
  SECTION("any hook") {
    const clone_of work{server};
    server.put_hook("api", "update", "echo 'not today' >&2; exit 1\n");
    CHECK(work.push().err.find("not today") != std::string::npos);
    server.remove_hook("api", "update");
    CHECK(work.push().status == 0);
  }
}

TEST_CASE("a token that has expired is refused until there is another") {
  remote server;
  server.make_repository("api");
  server.demand_token("api", "x-access-token", "first-token");
  const auto ask_with = [&](const std::string& token) {
    auto url = server.url("api");
    url.insert(url.find("//") + 2, "x-access-token:" + token + "@");
    return try_git({}, {"ls-remote", url}).status;
  };
  CHECK(ask_with("first-token") == 0);
  server.expire_token("api");
  CHECK(ask_with("first-token") != 0);
  server.demand_token("api", "x-access-token", "second-token");
  CHECK(ask_with("second-token") == 0);
}
