#include "actors/saver.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>

#include "protection_fixture.hpp"

/// What a saver makes of a remote that refuses, or does not answer.
using namespace townkeeper;
using namespace townkeeper::simulation;
using namespace std::chrono_literals;

namespace {

using pushes = std::vector<git::pushed_point>;

/// The remote takes everything but what holds the point of `agent`: that it never answers, and the transfer's limits
/// end it.
git_plan<pushes> hangs_on(protection_simulation& sim, const std::string& agent, const git::push_job& job) {
  if (std::none_of(job.items.begin(), job.items.end(), [&](const auto& i) { return i.taken.agent_id == agent; }))
    return sim.git->pushed(job);
  git_plan<pushes> plan{refused_all(job, error_code::timed_out, git::refusal::no_answer)};
  plan.after = 15s;
  return plan;
}

/// Nine minutes ago a1's untracked files were refused, and the rest was saved.
struct refused_untracked : protection_simulation {
  bool refuses = true;

  refused_untracked() {
    settle({"a1"});
    git->on_push = [this](const git::push_job& job) -> git_plan<pushes> {
      if (refuses && job.items[0].taken.files.untracked > 0)
        return {refused_all(job, error_code::forbidden, git::refusal::content)};
      return git->pushed(job);
    };
    edit("a1", "one");
    advance(9min);
    REQUIRE(saved("a1") == "one without its untracked files");
    REQUIRE(git->pushes.size() == 2);
  }
};

} // namespace

TEST_CASE("content that the remote refuses is saved without the untracked files") {
  protection_simulation sim;
  sim.settle({"a1"});
  const bool always = GENERATE(false, true);
  sim.git->on_push = [&](const git::push_job& job) -> git_plan<pushes> {
    if (always || job.items[0].taken.files.untracked > 0)
      return {refused_all(job, error_code::too_large, git::refusal::content)};
    return sim.git->pushed(job);
  };
  sim.edit("a1", "one");
  sim.advance(5s);
  REQUIRE(sim.git->pushes.size() >= 2);
  CHECK(sim.git->snapshots[1].job.without_untracked);
  if (always) {
    CHECK(sim.unsaved_age("a1") == 5s);
    CHECK(sim.last_word("a1").failure->code == error_code::too_large);
    return;
  }
  CHECK(sim.saved("a1") == "one without its untracked files");
  CHECK_FALSE(sim.unsaved_age("a1"));
  CHECK(sim.last_word("a1").failure->message.find("saved without untracked") == 0);
  // The same moment is not tried again.
  sim.edit("a1", "one");
  sim.advance(20s);
  CHECK(sim.git->pushes.size() == 2);
}

TEST_CASE("untracked files that the remote refused are sent again after a while, and whenever all is asked for") {
  refused_untracked sim;
  sim.refuses = false;
  SECTION("after a while") {
    sim.advance(2min);
  }
  SECTION("a drain") {
    const auto answer = sim.save_now_of("a1");
    sim.advance(1s);
    CHECK(answer->point.value()->commit.starts_with("one@"));
  }
  CHECK(sim.saved("a1") == "one");
  CHECK_FALSE(sim.unsaved_age("a1"));
  CHECK_FALSE(sim.last_word("a1").failure);
  const auto enough = sim.git->pushes.size();
  sim.advance(30min);
  CHECK(sim.git->pushes.size() == enough);
}

TEST_CASE(
    "untracked files that the remote goes on refusing are sent every ten minutes, and what was saved stays saved") {
  refused_untracked sim;
  SECTION("left alone") {
    sim.advance(30min);
    CHECK(sim.git->pushes.size() == 2 + 3);
    CHECK_FALSE(sim.unsaved_age("a1"));
    CHECK(sim.last_word("a1").failure);
  }
  SECTION("a drain") {
    const auto answer = sim.save_now_of("a1");
    sim.advance(1s);
    CHECK(answer->point.value()->commit.starts_with("one without"));
    CHECK(sim.git->pushes.size() == 3);
  }
  CHECK(sim.saved("a1") == "one without its untracked files");
}

TEST_CASE("untracked files that the remote refused are not sent again once a change was saved whole") {
  refused_untracked sim;
  sim.refuses = false;
  sim.edit("a1", "two");
  sim.advance(20min);
  CHECK(sim.saved("a1") == "two");
  CHECK(sim.git->pushes.size() == 3);
}

TEST_CASE("a push that the remote does not answer in time is repeated one agent at a time") {
  protection_simulation sim{eight};
  sim.settle(eight);
  bool hangs = true;
  sim.git->on_push = [&](const git::push_job& job) { return hangs ? hangs_on(sim, "a3", job) : sim.git->pushed(job); };
  const auto edit_all = [&](const std::string& what) {
    for (const auto& a : eight)
      sim.edit(a, what + " of " + a);
  };
  const auto all_but_one_have = [&](const std::string& what) {
    for (const auto& a : eight) {
      CAPTURE(a);
      CHECK((sim.saved(a) == what + " of " + a) == (a != "a3"));
    }
  };
  edit_all("one");
  sim.advance(2s + 15s + 1s);
  all_but_one_have("one");
  // From then on the one it hangs on goes alone, and nobody waits for it.
  for (int i = 0; i < 5; ++i) {
    edit_all(std::to_string(i));
    const auto begun = sim.git->pushes.size();
    sim.advance(14s);
    all_but_one_have(std::to_string(i));
    for (auto p = begun; p < sim.git->pushes.size(); ++p)
      if (const auto agents = sim.agents_of_push(p); agents.size() > 1)
        CHECK(std::find(agents.begin(), agents.end(), "a3") == agents.end());
  }
  CHECK(sim.last_word("a3").failure->code == error_code::timed_out);
  CHECK(sim.unsaved_age("a3") == 18s + 5 * 14s);
  hangs = false;
  sim.advance(90s);
  CHECK(sim.saved("a3") == "4 of a3");
  edit_all("together");
  sim.advance(12s);
  CHECK(sim.agents_of_push(sim.git->pushes.size() - 1).size() == 8);
  for (const auto& a : eight)
    CHECK(sim.saved(a) == "together of " + a);
}

TEST_CASE("a push that shows signs of life and never ends is broken up, and holds nobody up for longer") {
  protection_simulation sim{eight};
  sim.settle(eight);
  sim.git->on_push = [&](const git::push_job& job) {
    return std::any_of(job.items.begin(), job.items.end(), [](const auto& i) { return i.taken.agent_id == "a3"; })
               ? hanging<pushes>()
               : sim.git->pushed(job);
  };
  for (const auto& a : eight)
    sim.edit(a, "of " + a);
  sim.advance(2s + 30s + 1s);
  for (const auto& a : eight)
    CHECK(sim.saved(a) == (a == "a3" ? "" : "of " + a));
  CHECK(*sim.git->pushes[0].job.cancel);
  for (const auto& a : eight)
    sim.edit(a, "more of " + a);
  sim.advance(12s);
  for (const auto& a : eight)
    CHECK(sim.saved(a) == (a == "a3" ? "" : "more of " + a));
  // One that is alone is given all the time it needs.
  CHECK_FALSE(*sim.git->pushes[3].job.cancel);
}

TEST_CASE("a drain whose first push the remote does not answer saves all the others with its second") {
  protection_simulation sim{eight};
  sim.settle(eight);
  sim.git->on_push = [&](const git::push_job& job) { return hangs_on(sim, "a3", job); };
  std::map<std::string, pending<save_answer>> first, second;
  for (const auto& a : eight) {
    sim.edit(a, "of " + a);
    first[a] = sim.save_now_of(a);
  }
  sim.advance(10s);
  for (const auto& a : eight) {
    CHECK(first.at(a)->point.error().code == error_code::timed_out);
    second[a] = sim.save_now_of(a);
  }
  sim.advance(3s);
  for (const auto& a : eight)
    CHECK(second.at(a).has_come() == (a != "a3"));
  sim.advance(7s);
  CHECK(second.at("a3")->point.error().code == error_code::timed_out);
  for (const auto& a : eight)
    if (a != "a3") CHECK(second.at(a)->point.value());
}

TEST_CASE("a remote that answers nobody is asked by few at once") {
  protection_simulation sim{eight};
  sim.settle(eight);
  sim.git->on_push = [&](const git::push_job& job) -> git_plan<pushes> {
    git_plan<pushes> plan{refused_all(job, error_code::timed_out, git::refusal::no_answer)};
    plan.after = 15s;
    return plan;
  };
  for (const auto& a : eight)
    sim.edit(a, "of " + a);
  sim.advance(5min);
  for (const auto& p : sim.git->pushes) {
    const auto beside = std::count_if(sim.git->pushes.begin(), sim.git->pushes.end(),
                                      [&](const auto& other) { return other.at <= p.at && p.at - other.at < 15s; });
    CHECK(beside <= 5); // four, and one that begins anew
  }
  for (const auto& a : eight)
    CHECK(sim.unsaved_age(a) == 5min);
  sim.git->on_push = nullptr;
  sim.advance(90s);
  for (const auto& a : eight)
    CHECK(sim.saved(a) == "of " + a);
}

TEST_CASE("a refusal of one agent's point is nobody else's") {
  protection_simulation sim{{"a1", "a2"}};
  sim.settle({"a1", "a2"});
  sim.git->on_push = [&](const git::push_job& job) {
    auto plan = sim.git->pushed(job);
    for (auto& p : *plan.outcome) {
      if (p.agent_id != "a2") continue;
      p.point = error{error_code::forbidden, "a2", "pre-receive hook declined"};
      p.refused = git::refusal::other;
    }
    return plan;
  };
  sim.edit("a1", "one");
  sim.edit("a2", "two");
  sim.advance(5s);
  CHECK_FALSE(sim.unsaved_age("a1"));
  CHECK(sim.unsaved_age("a2") == 5s);
  CHECK(sim.last_word("a2").failure->message == "pre-receive hook declined");
}
