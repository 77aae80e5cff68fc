#include <catch2/catch_test_macros.hpp>

#include "git/recovery_tools.hpp"
#include "tests/support/git_cli.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/core/result_printer.hpp"

using namespace townkeeper;
using namespace townkeeper::test;

namespace {

/// A remote with two points under refs of one agent, and an empty clone beside it.
struct clone_and_remote {
  temp_dir place{"deletion"};
  std::filesystem::path remote = place.path() / "remote.git";
  git::clone_location clone{place.path() / "clone", "origin"};
  std::string first = "refs/townkeeper/t1/a1/1", second = "refs/townkeeper/t1/a1/kept/1-4", commit, other;

  clone_and_remote() {
    run_git(place.path(), {"init", "-q", "--bare", remote.string()});
    commit = commit_into(remote, {"main", {{"f", "1"}}});
    other = commit_into(remote, {"main", {{"f", "2"}}});
    run_git(remote, {"update-ref", first, commit});
    run_git(remote, {"update-ref", second, commit});
    run_git(place.path(), {"clone", "-q", remote.string(), clone.directory.string()});
  }

  bool has(const std::string& ref) const { return !id_of(remote, ref).empty(); }
};

} // namespace

TEST_CASE("a ref of a point that still names its commit is deleted on the remote, and no other") {
  const clone_and_remote c;
  const auto gone = git::drop_refs(c.clone, {{c.first, c.commit}});
  REQUIRE(gone);
  CHECK(*gone == std::set<std::string>{c.first});
  CHECK_FALSE(c.has(c.first));
  CHECK(c.has(c.second));
  CHECK(c.has("refs/heads/main"));
}

TEST_CASE("a ref that moved on meanwhile stays, and does not hold up the others") {
  const clone_and_remote c;
  run_git(c.remote, {"update-ref", c.first, c.other});
  const auto gone = git::drop_refs(c.clone, {{c.first, c.commit}, {c.second, c.commit}});
  REQUIRE(gone);
  CHECK(*gone == std::set<std::string>{c.second});
  CHECK(id_of(c.remote, c.first) == c.other);
}

TEST_CASE("a ref that is gone already counts as gone") {
  const clone_and_remote c;
  run_git(c.remote, {"update-ref", "-d", c.first});
  const auto gone = git::drop_refs(c.clone, {{c.first, c.commit}});
  REQUIRE(gone);
  CHECK(*gone == std::set<std::string>{c.first});
}

TEST_CASE("many refs go, in pushes of bounded size") {
  const clone_and_remote c;
  std::map<std::string, std::string> refs;
  for (int i = 10; i < 260; ++i) {
    const auto ref = "refs/townkeeper/t1/a1/" + std::to_string(i);
    run_git(c.remote, {"update-ref", ref, c.commit});
    refs.emplace(ref, c.commit);
  }
  const auto gone = git::drop_refs(c.clone, refs);
  REQUIRE(gone);
  CHECK(gone->size() == refs.size());
  CHECK(c.has(c.first));
}

TEST_CASE("what is no point's ref is refused before anything is touched") {
  const clone_and_remote c;
  for (const auto* ref : {"refs/heads/main", "refs/townkeeper/*", "refs/townkeeper/a:refs/heads/main", "-f",
                          "refs/townkeeper/t1/a1/1 x", ""}) {
    CAPTURE(ref);
    const auto gone = git::drop_refs(c.clone, {{c.second, c.commit}, {ref, c.commit}});
    REQUIRE_FALSE(gone);
    CHECK(gone.error().code == error_code::invalid_argument);
  }
  CHECK(git::drop_refs(c.clone, {{c.first, "HEAD"}}).error().code == error_code::invalid_argument);
  CHECK(c.has(c.second));
  CHECK(c.has("refs/heads/main"));
}

TEST_CASE("a remote that cannot be reached is an error, with what git said") {
  const clone_and_remote c;
  std::filesystem::rename(c.remote, c.place.path() / "away");
  CHECK(git::drop_refs(c.clone, {{c.first, c.commit}}).error().code == error_code::unavailable);
}
