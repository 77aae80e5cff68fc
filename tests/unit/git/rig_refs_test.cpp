// Local branches, tags and the stash list of a rig: back once, when the repository is new.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "core/fault_point.hpp"
#include "saved_rig.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
using Catch::Matchers::ContainsSubstring;
namespace fs = std::filesystem;

namespace {

/// Branches of the rig, tags and stash entries with their messages.
std::string picture_of(const fs::path& repository) {
  std::string out;
  for (const auto& [name, id] : refs_of(repository))
    if ((name.starts_with("refs/heads/") && !name.starts_with("refs/heads/gt/")) || name.starts_with("refs/tags/"))
      out += name + " " + id + "\n";
  if (id_of(repository, "refs/stash").empty()) return out;
  return out + run_git(repository, {"reflog", "--format=%gd %H %gs", "refs/stash"});
}

git::repository_restored woken(const git::repository_job& job) {
  auto done = restore(job);
  INFO((done ? std::string{} : to_string(done.error())));
  REQUIRE(done);
  for (const auto& line : done->healed)
    UNSCOPED_INFO(line);
  return *done;
}

} // namespace

TEST_CASE("branches, tags and stash entries of the rig come back with a new repository, once") {
  saved_rig rig;
  rig.git({"branch", "at-remote"});
  rig.git({"checkout", "-q", "--detach"});
  rig.put("a.txt", "an experiment\n");
  rig.git({"commit", "-q", "-a", "-m", "experiment"});
  rig.git({"branch", "deep/experiment"});
  rig.git({"tag", "light"});
  rig.put("a.txt", "tagged\n");
  rig.git({"commit", "-q", "-a", "-m", "tagged"});
  rig.git({"tag", "-a", "-m", "annotated", "v1"});
  rig.git({"tag", "-a", "-m", "a tag of a tag", "v1-again", "v1"});
  rig.git({"tag", "of-a-file", "HEAD:b.txt"});
  rig.git({"checkout", "-q", "gt/a1"});
  rig.put("a.txt", "first\n");
  rig.git({"stash", "push", "-q", "-m", "the first"});
  rig.put("a.txt", "second\n");
  rig.put("untracked", "also\n");
  rig.git({"stash", "push", "-q", "-u"});
  const auto before = picture_of(rig.repository());
  const auto point = rig.save();
  rig.lose_disk();

  const auto done = woken(rig.wake_job({{"a1", point}}));
  CHECK(picture_of(rig.repository()) == before);
  CHECK(done.rig_refs_set >= 8);
  CHECK(is_sound(rig.repository()));
  run_git(rig.repository(), {"gc", "--quiet", "--prune=now"});
  CHECK(is_sound(rig.repository()));

  // What an agent does to them afterwards stays.
  run_git(rig.repository(), {"branch", "-D", "deep/experiment"});
  CHECK(woken(rig.wake_job({{"a1", point}})).rig_refs_set == 0);
  CHECK(id_of(rig.repository(), "refs/heads/deep/experiment").empty());
}

TEST_CASE("the rig's refs are those of its greatest point, whoever took it") {
  saved_rig rig({"a1", "a2"});
  rig.git({"branch", "early"});
  rig.put("a.txt", "x\n", "a2");
  rig.put("a.txt", "x\n", "a1");
  const auto first = rig.save("a2");
  rig.git({"branch", "-D", "early"});
  rig.git({"branch", "late"});
  const auto second = rig.save("a1");
  rig.lose_disk();
  woken(rig.wake_job({{"a1", second}, {"a2", first}}));
  CHECK(id_of(rig.repository(), "refs/heads/early").empty());
  CHECK_FALSE(id_of(rig.repository(), "refs/heads/late").empty());
}

TEST_CASE("a branch and a tag that the remote has are fetched for it, though no agent asked for them") {
  saved_rig rig;
  const auto release = rig.server.commit("app", {.branch = "release", .files = {{"r", "r\n"}}, .start = "main"});
  run_git(rig.served(), {"tag", "-a", "-m", "a release", "r1", release});
  rig.git({"fetch", "-q", "origin", "release", "--tags"});
  rig.git({"branch", "--no-track", "release", release});
  rig.put("a.txt", "changed\n");
  const auto before = picture_of(rig.repository());
  const auto point = rig.save();
  rig.lose_disk();
  woken(rig.wake_job({{"a1", point}}));
  CHECK(picture_of(rig.repository()) == before);
  CHECK(is_sound(rig.repository()));
}

TEST_CASE("a ref whose name is in the way, or whose object is nowhere, is passed over with a word") {
  saved_rig rig;
  rig.server.commit("app", {.branch = "gone", .files = {{"g", "g\n"}}, .start = "main"});
  rig.git({"fetch", "-q", "origin", "gone:gone"});
  rig.git({"branch", "taken"});
  rig.put("a.txt", "changed\n");
  const auto point = rig.save();
  rig.server.delete_branch("app", "gone");
  rig.lose_disk();
  auto job = rig.wake_job({{"a1", point}});
  job.agent_branches.insert("taken/by-an-agent");
  const auto done = woken(job);
  REQUIRE(done.healed.size() == 2);
  CHECK_THAT(done.healed[0], ContainsSubstring("refs/heads/gone"));
  CHECK_THAT(done.healed[1], ContainsSubstring("refs/heads/taken"));
  CHECK(id_of(rig.repository(), "refs/heads/taken").empty());
  CHECK(done.points.at("a1"));
}

#ifdef TOWNKEEPER_FAULT_POINTS
TEST_CASE("a disk that is full while the rig's refs are set fails the restore; the next one sets what is missing") {
  saved_rig rig;
  rig.git({"tag", "light"});
  rig.put("a.txt", "stashed\n");
  rig.git({"stash", "push", "-q"});
  rig.put("a.txt", "changed\n");
  const auto before = picture_of(rig.repository());
  const auto point = rig.save();
  rig.lose_disk();
  for (const auto* step : {"rig-ref-set", "stash-set", "stash-log-written"}) {
    CAPTURE(step);
    REQUIRE(arm_fault_points(std::string(step) + "=error:ENOSPC", ""));
    const auto done = restore(rig.wake_job({{"a1", point}}));
    CHECK(arm_fault_points("", ""));
    REQUIRE_FALSE(done);
    CHECK(done.error().code == error_code::disk);
  }
  woken(rig.wake_job({{"a1", point}}));
  CHECK(picture_of(rig.repository()) == before);
}
#endif
