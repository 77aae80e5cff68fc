#include "actors/restore_note.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

using namespace townkeeper;
using Catch::Matchers::ContainsSubstring;
using git::point_outcome;

namespace {

town::recovery_point point_of(std::int64_t epoch, const std::string& ref) {
  town::recovery_point p;
  p.epoch = epoch;
  p.seq = 7;
  p.ref = ref;
  p.commit = std::string(40, 'd');
  p.branch = "gt/a1";
  p.saved_at = "2026-11-24T12:00:00Z";
  p.files = {1, 2, 3, 0};
  return p;
}

struct told {
  town::agent_spec agent;
  git::worktree_restored restored;
  std::optional<git::found_recovery> point = git::found_recovery{point_of(3, "refs/townkeeper/t1/a1/3"), {}};

  explicit told(point_outcome outcome) {
    agent.agent_id = "a1";
    agent.branch = restored.branch = "gt/a1";
    restored.commit = std::string(40, 'c');
    restored.recovery = outcome;
  }
  std::string note() const { return restore_note(agent, restored, point); }
};

} // namespace

TEST_CASE("the note says at which commit the worktree is, and which point it is of") {
  const auto outcome =
      GENERATE(point_outcome::applied, point_outcome::held, point_outcome::kept, point_outcome::unpublished);
  const auto note = told(outcome).note();
  CHECK_THAT(note, ContainsSubstring("gt/a1") && ContainsSubstring("cccccccccccc"));
  CHECK_THAT(note, ContainsSubstring("refs/townkeeper/t1/a1/3") && ContainsSubstring("dddddddddddd") &&
                       ContainsSubstring("2026-11-24T12:00:00Z"));
  CHECK(note.find('\n') == std::string::npos);
}

TEST_CASE("each outcome of a point says what became of the work") {
  CHECK_THAT(told(point_outcome::applied).note(),
             ContainsSubstring("exactly as it was") && ContainsSubstring("1 staged, 2 modified and 3 untracked"));
  auto clean = told(point_outcome::applied);
  clean.point->point.clean = true;
  CHECK_THAT(clean.note(), ContainsSubstring("nothing uncommitted") && !ContainsSubstring("untracked"));
  CHECK_THAT(told(point_outcome::held).note(), ContainsSubstring("holds all that was in your"));
  CHECK_THAT(told(point_outcome::unpublished).note(),
             ContainsSubstring("gone from the remote") && ContainsSubstring("exactly as it was"));
  auto warm = told(point_outcome::disk_newer);
  CHECK_THAT(warm.note(), ContainsSubstring("still on the disk") && ContainsSubstring("left as it was"));
}

TEST_CASE("work that was not mixed into a branch that moved is named with the way to it") {
  const auto note = told(point_outcome::kept).note();
  CHECK_THAT(note, ContainsSubstring("was not mixed into it"));
  CHECK_THAT(note, ContainsSubstring("git fetch origin refs/townkeeper/t1/a1/3"));
  CHECK_THAT(note, ContainsSubstring("FETCH_HEAD^1 -- <path>") && ContainsSubstring("FETCH_HEAD^1^3"));
}

TEST_CASE("without a point the note says that unsaved work is not here") {
  auto t = told(point_outcome::none);
  t.point.reset();
  CHECK_THAT(t.note(), ContainsSubstring("clean status") && ContainsSubstring("neither pushed nor saved are not here"));
  t.restored.left_dirty = true;
  CHECK_THAT(t.note(), ContainsSubstring("left exactly as it was"));
}

TEST_CASE("a detached and an unborn HEAD are called what they are") {
  auto t = told(point_outcome::applied);
  t.restored.branch.clear();
  CHECK_THAT(t.note(), ContainsSubstring("with a detached HEAD at commit cccccccccccc"));
  t.restored.branch = "gt/a1";
  t.restored.commit.clear();
  CHECK_THAT(t.note(), ContainsSubstring("on branch gt/a1, which has no commit yet"));
}

TEST_CASE("what was left out is named with its reason, a few of many, on one line") {
  auto t = told(point_outcome::applied);
  for (int i = 0; i < 7; ++i)
    t.point->left_out.push_back({"big\n" + std::to_string(i), "larger than 95 MiB"});
  const auto note = t.note();
  CHECK_THAT(note, ContainsSubstring("Not saved, and not here: big?0 (larger than 95 MiB), big?1"));
  CHECK_THAT(note, ContainsSubstring("and 2 more"));
  CHECK_THAT(note, !ContainsSubstring("big?5"));
  CHECK(note.find('\n') == std::string::npos);
}

TEST_CASE("kept points are listed, whatever became of the newest") {
  auto t = told(GENERATE(point_outcome::none, point_outcome::applied, point_outcome::held));
  t.agent.kept = {point_of(1, "refs/townkeeper/t1/a1/kept/1-4")};
  CHECK_THAT(t.note(), ContainsSubstring("refs/townkeeper/t1/a1/kept/1-4"));
}

TEST_CASE("an agent whose point cannot be read is told so, and an operator how to accept the loss") {
  town::agent_spec agent;
  agent.agent_id = "a1";
  agent.branch = "gt/a1";
  agent.recovery = point_of(3, "refs/townkeeper/t1/a1/3");
  const auto note = failure_note(agent, {error_code::recovery_point_missing, "a1", "the ref is gone"});
  CHECK_THAT(note, ContainsSubstring("refs/townkeeper/t1/a1/3") && ContainsSubstring("the ref is gone"));
  CHECK_THAT(note, ContainsSubstring("Nothing older was put in its place"));
  CHECK_THAT(note, ContainsSubstring("townkeeper recovery drop --agent a1 --rig RIG --recovery"));
}
