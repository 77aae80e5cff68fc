#include "cli/credential_request.hpp"

#include <catch2/catch_test_macros.hpp>

#include <sstream>

using namespace townkeeper::cli;

TEST_CASE("git's question is read up to the empty line") {
  std::istringstream in("protocol=https\nhost=git.example:8443\npath=team/repo.git\nwwwauth[]=Basic\n\nhost=other\n");
  const auto asked = read_credential_request(in);
  CHECK(asked.protocol == "https");
  CHECK(asked.host == "git.example:8443");
  CHECK(asked.path == "team/repo.git");
}

TEST_CASE("a login is told for its own remote alone") {
  const auto url = "https://git.example/team/repo.git";
  CHECK(is_of_remote({"https", "git.example", ""}, url));
  CHECK(is_of_remote({"https", "GIT.example:443", "team/repo.git"}, url));
  CHECK_FALSE(is_of_remote({"http", "git.example", ""}, url));
  CHECK_FALSE(is_of_remote({"http", "git.example:443", ""}, url));
  CHECK_FALSE(is_of_remote({"https", "git.example:8443", ""}, url));
  CHECK_FALSE(is_of_remote({"https", "evil.example", ""}, url));
  CHECK_FALSE(is_of_remote({"https", "git.example.evil", ""}, url));
  CHECK_FALSE(is_of_remote({"https", "git.example", "team/other.git"}, url));
}

TEST_CASE("a question that is none gets no login") {
  const auto url = "https://git.example/team/repo.git";
  CHECK_FALSE(is_of_remote({"", "", ""}, url));
  CHECK_FALSE(is_of_remote({"https", "git.example/x", ""}, url));
  CHECK_FALSE(is_of_remote({"https", "user@git.example", ""}, url));
  CHECK_FALSE(is_of_remote({"https", "git.example", ""}, "/srv/repo.git"));
  CHECK_FALSE(is_of_remote({"https", "git.example", ""}, ""));
}
