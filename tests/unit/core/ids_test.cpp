#include "core/ids.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <string>

using namespace townkeeper;

TEST_CASE("an id of letters, digits, dots, dashes and underscores is valid") {
  const auto id = GENERATE(as<std::string>{}, "a", "7", "rig-1", "Agent_2.b", "a.lock.b", "x.y.z", "lock");
  CAPTURE(id);
  CHECK(is_valid_id(id));
}

TEST_CASE("an id that could leave its directory or break a ref name is refused") {
  const auto id = GENERATE(as<std::string>{}, "", ".", "..", "../x", "a/b", "/etc", "-rf", "_a", ".git", "a..b", "a.",
                           "a.lock", "a b", "a\nb", "a:b", "a~1", "a\\b", "ä", "a*", "a@{1}");
  CAPTURE(id);
  CHECK_FALSE(is_valid_id(id));
}

TEST_CASE("an id may hold no NUL byte") {
  CHECK_FALSE(is_valid_id(std::string("a\0b", 3)));
  CHECK_FALSE(is_valid_id(std::string("a\0", 2)));
}

TEST_CASE("an id is at most 128 bytes long") {
  CHECK(is_valid_id(std::string(128, 'a')));
  CHECK_FALSE(is_valid_id(std::string(129, 'a')));
}

TEST_CASE("a branch name that git takes is valid") {
  const auto branch = GENERATE(as<std::string>{}, "main", "gt/polecat/a1", "a__b", "a/b", "v1.0", "grün/ünï", "a@b",
                               "@a", "feature/x.y", "a-lock/b", "{a}", "a/-b", "HEAD2", "x/HEAD");
  CAPTURE(branch);
  CHECK(is_valid_branch(branch));
}

TEST_CASE("a branch name that git refuses, or that a command would take for an option, is refused") {
  const auto branch = GENERATE(as<std::string>{}, "", "-x", "--upload-pack=x", "/a", "a/", "a//b", "a.", ".a", "a/.b",
                               "a..b", "a.lock", "a.lock/b", "a/b.lock", "a b", "a~", "a^", "a:b", "a?", "a*", "a[",
                               "a\\b", "a@{b", "@", "HEAD", "a\tb", "a\nb",
                               "a\x7f"
                               "b");
  CAPTURE(branch);
  CHECK_FALSE(is_valid_branch(branch));
}

TEST_CASE("a branch name may hold no NUL byte") {
  CHECK_FALSE(is_valid_branch(std::string("a\0b", 3)));
}

TEST_CASE("a branch name of 200 characters is valid") {
  CHECK(is_valid_branch(std::string(200, 'b')));
}

TEST_CASE("random_hex gives two digits for each byte, and others each time") {
  const auto first = random_hex(16);
  CHECK(first.size() == 32);
  CHECK(first.find_first_not_of("0123456789abcdef") == std::string::npos);
  CHECK(first != random_hex(16));
  CHECK(random_hex(0).empty());
}
