#include "actors/rig.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <caf/typed_event_based_actor.hpp>

#include "fake_git.hpp"
#include "fake_town.hpp"
#include "fixture.hpp"
#include "health_recorder.hpp"
#include "messages/type_ids.hpp"
#include "specs.hpp"

using namespace townkeeper;
using namespace townkeeper::simulation;
using namespace std::chrono_literals;

namespace {

/// What one worktree actor was told by its rig.
struct told {
  std::vector<repository_ready> ready;
  std::vector<repository_failed> failed;
};

struct listener_state {
  static inline const char* name = "worktree_listener";
};

worktree_actor::behavior_type listener(worktree_actor::stateful_pointer<listener_state>, std::shared_ptr<told> log) {
  return {
      [](const restore_worktree&) {},
      [=](const repository_ready& r) { log->ready.push_back(r); },
      [=](const repository_failed& f) { log->failed.push_back(f); },
      [](const worktree_result&) {},
      [](const retire_worktree&) {},
      [](const removal_result&) {},
      [](const save_now&) {
        return save_answer{"", error{}};
      },
      [](const retry_due&) {},
  };
}

struct rig_simulation : virtual_town {
  std::shared_ptr<fake_git> git = std::make_shared<fake_git>();
  std::shared_ptr<fake_town> town_said = std::make_shared<fake_town>();
  std::shared_ptr<health_log> health = std::make_shared<health_log>();
  std::shared_ptr<told> a1_heard = std::make_shared<told>();
  rig_actor subject;

  explicit rig_simulation(std::optional<git::credentials> fallback = std::nullopt) {
    rig_config config;
    config.rig_id = "r";
    config.directory = "/w/rigs/r";
    config.fallback = std::move(fallback);
    config.executor = keep(spawn_fake_executor(system(), git));
    config.health = keep(spawn_health_recorder(system(), health));
    config.town = keep(spawn_fake_town(system(), town_said));
    config.seed = 7;
    subject = keep(system().spawn(rig, std::move(config)));
    attach("a1", a1_heard);
  }

  void attach(const std::string& agent_id, std::shared_ptr<told> log) {
    tell(subject, attach_worktree{agent_id, keep(system().spawn(listener, std::move(log)))});
  }
  void restore(town::rig_spec spec = rig_of("r", {agent_of("a1")})) { tell(subject, restore_rig{std::move(spec)}); }
  git_credentials_answer ask_credentials(bool refresh) {
    return ask<git_credentials_answer>(subject, git_credentials_query{"r", refresh}).get();
  }
  std::size_t attempts() const { return git->fetches.size(); }
  std::string login_of(std::size_t attempt) const {
    const auto& login = git->fetches.at(attempt).job.login;
    return login ? login->token.reveal() : "";
  }
};

git_credentials_answer token(const std::string& text, std::optional<std::int64_t> expires_in_ms = std::nullopt) {
  return {std::optional{git::credentials{"x-access-token", secret{text}}}, expires_in_ms};
}

auto fetch_fails_with(error_code code) {
  return [code](const git::repository_job&) { return failing<git::repository_restored>(code, "injected"); };
}

} // namespace

TEST_CASE("a rig fetches its branches and tells health and its worktrees that it is ready") {
  rig_simulation sim;
  auto spec = rig_of("r", {agent_of("a1"), agent_of("a2")});
  spec.agents[1].base_ref = "develop";
  sim.restore(spec);
  sim.advance(1s);
  REQUIRE(sim.attempts() == 1);
  const auto& job = sim.git->fetches[0].job;
  CHECK(job.url == spec.git_url);
  CHECK(job.default_branch == "main");
  CHECK(job.branches == std::vector<std::string>{"develop", "work/a1", "work/a2"});
  REQUIRE(sim.a1_heard->ready.size() == 1);
  CHECK(sim.a1_heard->ready[0].restored.tips.contains("work/a1"));
  CHECK(sim.a1_heard->ready[0].git_url == spec.git_url);
  REQUIRE(sim.health->rigs_settled.size() == 1);
  const auto& report = sim.health->rigs_settled[0].report;
  CHECK(report.outcome == town::rig_outcome::ready);
  CHECK(report.commit == fake_git::tip_of(spec.git_url, "main"));
  CHECK(report.fetched_bytes == 1000);
  CHECK(report.attempts == 1);
  CHECK(report.duration_ms == 10);
  CHECK(sim.health->phases_of_rig("r") ==
        std::vector{town::rig_phase::checking, town::rig_phase::fetching, town::rig_phase::ready});
}

TEST_CASE("a worktree that attaches late is told at once where the repository stands") {
  rig_simulation sim;
  auto late = std::make_shared<told>();
  SECTION("ready") {
    sim.restore();
    sim.advance(1s);
    sim.attach("a2", late);
    CHECK(late->ready.size() == 1);
    CHECK(late->failed.empty());
  }
  SECTION("failed") {
    sim.git->on_fetch = fetch_fails_with(error_code::not_found);
    sim.restore();
    sim.advance(1s);
    sim.attach("a2", late);
    CHECK(late->ready.empty());
    REQUIRE(late->failed.size() == 1);
    CHECK(late->failed[0].settled);
  }
  SECTION("being looked at again: what was known before says nothing about the remote now") {
    sim.restore();
    sim.advance(1s);
    sim.restore(rig_of("r", {agent_of("a1"), agent_of("a2")}));
    sim.attach("a2", late);
    CHECK(late->ready.empty());
    sim.advance(1s);
    CHECK(late->ready.size() == 1);
  }
}

TEST_CASE("a detached worktree hears no more of its rig") {
  rig_simulation sim;
  sim.tell(sim.subject, detach_worktree{"a1"});
  sim.restore();
  sim.advance(1s);
  CHECK(sim.a1_heard->ready.empty());
}

TEST_CASE("a transient failure has five attempts with backoff and full jitter, then the rig is settled as failed") {
  rig_simulation sim;
  sim.git->on_fetch = fetch_fails_with(error_code::unavailable);
  sim.restore();
  sim.advance_until([&] { return !sim.health->rigs_settled.empty(); }, 1min);
  REQUIRE(sim.attempts() == 5);
  for (std::size_t i = 1; i < 5; ++i) {
    const auto pause = sim.git->fetches[i].at - sim.git->fetches[i - 1].at - 10ms; // the attempt itself took 10 ms
    CAPTURE(i);
    CHECK(pause >= 1ms);
    CHECK(pause <= 250ms * (1 << (i - 1)));
  }
  REQUIRE(sim.health->rigs_settled.size() == 1);
  const auto& report = sim.health->rigs_settled[0].report;
  CHECK(report.outcome == town::rig_outcome::failed);
  CHECK(report.attempts == 5);
  REQUIRE(report.failure);
  CHECK(report.failure->code == error_code::unavailable);
  // Before it settled the worktrees were told that another attempt follows.
  REQUIRE(sim.a1_heard->failed.size() == 5);
  for (std::size_t i = 0; i < 5; ++i)
    CHECK(sim.a1_heard->failed[i].settled == (i == 4));
}

TEST_CASE("the pauses between attempts are jittered: another seed, other pauses") {
  std::vector<std::chrono::milliseconds> pauses;
  std::mt19937_64 random{3};
  for (std::uint32_t failures = 1; failures <= 40; ++failures) {
    const auto pause = full_jitter(250ms, 30s, failures, random);
    CHECK(pause >= 1ms);
    CHECK(pause <= std::min<std::chrono::milliseconds>(30s, 250ms * (1LL << std::min(failures - 1, 20U))));
    pauses.push_back(pause);
  }
  CHECK(*std::max_element(pauses.begin(), pauses.end()) > 15s);
  std::sort(pauses.begin(), pauses.end());
  CHECK(std::unique(pauses.begin(), pauses.end()) - pauses.begin() > 30);
}

TEST_CASE("a settled rig is tried again every minute, and heals late") {
  rig_simulation sim;
  sim.git->on_fetch = fetch_fails_with(error_code::unavailable);
  sim.restore();
  sim.advance_until([&] { return !sim.health->rigs_settled.empty(); }, 1min);
  const auto before = sim.attempts();
  sim.advance(3min);
  // One attempt of 10 ms and one minute, three times.
  CHECK(sim.attempts() >= before + 2);
  CHECK(sim.attempts() <= before + 3);
  CHECK(sim.health->outcome_of_rig("r") == town::rig_outcome::failed);
  CHECK(sim.a1_heard->ready.empty());
  sim.git->on_fetch = nullptr;
  sim.advance(61s);
  CHECK(sim.health->outcome_of_rig("r") == town::rig_outcome::ready);
  CHECK(sim.a1_heard->ready.size() == 1);
  const auto healed = sim.attempts();
  sim.advance(5min);
  CHECK(sim.attempts() == healed);
}

TEST_CASE("a permanent refusal settles at once") {
  const auto code = GENERATE(error_code::not_found, error_code::forbidden, error_code::unsupported,
                             error_code::invalid_argument, error_code::tls_failed, error_code::redirect_refused);
  rig_simulation sim;
  sim.git->on_fetch = fetch_fails_with(code);
  sim.restore();
  sim.advance(1s);
  CHECK(sim.attempts() == 1);
  REQUIRE(sim.health->rigs_settled.size() == 1);
  CHECK(sim.health->rigs_settled[0].report.failure->code == code);
}

TEST_CASE("a 401 refreshes the credentials once; refused again it settles at once") {
  rig_simulation sim;
  int asked = 0;
  sim.town_said->on_credentials = [&](const git_credentials_query& q) {
    ++asked;
    CHECK(q.refresh == (asked == 2));
    return std::optional{token("token-" + std::to_string(asked))};
  };
  SECTION("accepted") {
    sim.git->on_fetch = [&](const git::repository_job& job) {
      return job.login->token.reveal() == "token-2"
                 ? sim.git->fetched(job)
                 : failing<git::repository_restored>(error_code::unauthorized, "401");
    };
    sim.restore();
    sim.advance(1s);
    CHECK(sim.health->outcome_of_rig("r") == town::rig_outcome::ready);
    CHECK(sim.health->rigs_settled[0].report.attempts == 1); // the refreshed one belongs to the same attempt
  }
  SECTION("refused") {
    sim.git->on_fetch = fetch_fails_with(error_code::unauthorized);
    sim.restore();
    sim.advance(1s);
    REQUIRE(sim.health->rigs_settled.size() == 1);
    CHECK(sim.health->rigs_settled[0].report.failure->code == error_code::unauthorized);
  }
  CHECK(sim.attempts() == 2);
  CHECK(sim.login_of(0) == "token-1");
  CHECK(sim.login_of(1) == "token-2");
  CHECK(asked == 2);
}

TEST_CASE("a 401 whose refresh fails settles or is retried as the refresh's own failure says") {
  rig_simulation sim;
  sim.git->on_fetch = fetch_fails_with(error_code::unauthorized);
  sim.town_said->on_credentials = [&](const git_credentials_query& q) -> std::optional<git_credentials_answer> {
    if (!q.refresh) return token("stale");
    return git_credentials_answer{error{error_code::unavailable, "r", "the town says 500"}, std::nullopt};
  };
  sim.restore();
  sim.advance(1min);
  REQUIRE(sim.health->rigs_settled.size() == 1);
  CHECK(sim.health->rigs_settled[0].report.failure->message == "the town says 500");
  CHECK(sim.attempts() == 5);
}

TEST_CASE("credentials are cached until a minute before they expire") {
  rig_simulation sim;
  sim.git->on_fetch = fetch_fails_with(error_code::unavailable);
  const auto lifetime = GENERATE(std::optional<std::int64_t>{}, std::optional<std::int64_t>{61'000 + 600'000},
                                 std::optional<std::int64_t>{30'000});
  sim.town_said->on_credentials = [&](const git_credentials_query&) { return std::optional{token("t", lifetime)}; };
  sim.restore();
  sim.advance(30s);
  CHECK(sim.attempts() == 5);
  const bool usable = !lifetime || *lifetime > 60'000;
  CHECK(sim.town_said->credentials_queries.size() == (usable ? 1U : 5U));
}

TEST_CASE("the fallback token serves a rig whose token the town does not hold") {
  rig_simulation sim{git::credentials{"x-access-token", secret{"from-the-environment"}}};
  SECTION("the town holds none") {
    sim.restore();
    CHECK(sim.login_of(0) == "from-the-environment");
    CHECK(sim.ask_credentials(false).login.value()->token.reveal() == "from-the-environment");
  }
  SECTION("the town's own goes first") {
    sim.town_said->on_credentials = [](const git_credentials_query&) { return std::optional{token("the-town's")}; };
    sim.restore();
    CHECK(sim.login_of(0) == "the-town's");
    CHECK(sim.ask_credentials(false).login.value()->token.reveal() == "the-town's");
  }
  sim.advance(1s);
}

TEST_CASE("a town that never says the credentials costs an attempt, not the rig") {
  rig_simulation sim;
  sim.town_said->on_credentials = [](const git_credentials_query&) { return std::optional<git_credentials_answer>{}; };
  sim.restore();
  sim.advance(61s);
  CHECK(sim.attempts() == 0);
  REQUIRE_FALSE(sim.a1_heard->failed.empty());
  CHECK(sim.a1_heard->failed[0].reason.code == error_code::timed_out);
  sim.town_said->on_credentials = nullptr;
  sim.advance(2min);
  CHECK(sim.health->outcome_of_rig("r") == town::rig_outcome::ready);
}

TEST_CASE("an agent's question for credentials is answered from the cache, or asks the town when it must") {
  rig_simulation sim;
  int asked = 0;
  sim.town_said->on_credentials = [&](const git_credentials_query&) {
    return std::optional{token("token-" + std::to_string(++asked))};
  };
  sim.restore();
  sim.advance(1s);
  CHECK(sim.ask_credentials(false).login.value()->token.reveal() == "token-1");
  CHECK(asked == 1);
  CHECK(sim.ask_credentials(true).login.value()->token.reveal() == "token-2");
  CHECK(sim.ask_credentials(false).login.value()->token.reveal() == "token-2");
  CHECK(asked == 2);
  sim.town_said->on_credentials = [](const git_credentials_query&) {
    return std::optional{git_credentials_answer{error{error_code::not_found, "r", "rig is gone"}, std::nullopt}};
  };
  const auto refused = sim.ask_credentials(true);
  REQUIRE(refused.login.has_error());
  CHECK(refused.login.error().message == "rig is gone");
}

TEST_CASE("a minute without a byte settles, before the attempts are used up") {
  rig_simulation sim;
  const auto bytes = GENERATE(0, 1);
  sim.git->on_fetch = [&](const git::repository_job&) {
    auto plan = failing<git::repository_restored>(error_code::timed_out, "no byte for 15 s", 25s);
    plan.received_bytes = bytes;
    return plan;
  };
  sim.restore();
  sim.advance_until([&] { return !sim.health->rigs_settled.empty(); }, 10min);
  CHECK(sim.attempts() == (bytes == 0 ? 3U : 5U));
  CHECK(sim.health->rigs_settled.at(0).report.fetched_bytes == bytes * static_cast<std::int64_t>(sim.attempts()));
}

TEST_CASE("a spec that moves on during an attempt is fetched right after it") {
  rig_simulation sim;
  sim.restore();
  sim.restore(rig_of("r", {agent_of("a1"), agent_of("a2")}));
  CHECK(sim.attempts() == 1);
  sim.advance(1s);
  REQUIRE(sim.attempts() == 2);
  CHECK(sim.git->fetches[1].job.branches == std::vector<std::string>{"work/a1", "work/a2"});
  REQUIRE(sim.a1_heard->ready.size() == 2);
  CHECK_FALSE(sim.a1_heard->ready[0].asked_for.contains("work/a2"));
  CHECK(sim.a1_heard->ready[1].asked_for.contains("work/a2"));
}

TEST_CASE("a worktree that comes with a spec is not told of a fetch that began before it") {
  rig_simulation sim;
  auto late = std::make_shared<told>();
  const auto saved_by = [&](std::int64_t seq) {
    sim.git->on_fetch = [&sim, seq](const git::repository_job& job) {
      auto plan = sim.git->fetched(job);
      git::found_recovery found;
      found.point.seq = seq;
      plan.outcome->points.insert_or_assign("a2", found);
      return plan;
    };
  };
  saved_by(1);
  sim.restore(rig_of("r", {agent_of("a1"), agent_of("a2")}));
  // The older container saves once more, and ends: its agents' worktrees have waited for that.
  saved_by(2);
  sim.restore(rig_of("r", {agent_of("a1"), agent_of("a2")}));
  SECTION("it waits for the next") {
    sim.attach("a2", late);
    sim.advance(10ms);
    CHECK(sim.a1_heard->ready.size() == 1);
    CHECK(late->ready.empty());
  }
  SECTION("also where it comes when the first has ended") {
    sim.advance(10ms);
    CHECK(sim.a1_heard->ready.size() == 1);
    sim.attach("a2", late);
    CHECK(late->ready.empty());
  }
  sim.advance(1s);
  REQUIRE(sim.attempts() == 2);
  REQUIRE(late->ready.size() == 1);
  CHECK(late->ready[0].restored.points.at("a2")->point.seq == 2);
}

TEST_CASE("a spec that moves on during a failing attempt is not made to wait for the backoff") {
  rig_simulation sim;
  sim.git->on_fetch = fetch_fails_with(error_code::unavailable);
  sim.restore();
  sim.restore(rig_of("r", {agent_of("a1"), agent_of("a2")}));
  sim.advance(10ms);
  CHECK(sim.attempts() == 2);
}

TEST_CASE("a spec that moves on during the attempt that settles the rig is not made to wait a minute") {
  rig_simulation sim;
  sim.git->on_fetch = fetch_fails_with(error_code::not_found);
  sim.restore();
  sim.restore(rig_of("r", {agent_of("a1"), agent_of("a2")}));
  sim.git->on_fetch = nullptr;
  sim.advance(1s);
  CHECK(sim.attempts() == 2);
  CHECK(sim.health->outcome_of_rig("r") == town::rig_outcome::ready);
}

TEST_CASE("another remote cancels the fetch under way, and nothing the old remote came to counts") {
  rig_simulation sim;
  const bool was_cancelled = GENERATE(true, false);
  const auto old_outcome = GENERATE(0, 1, 2);
  auto moved = rig_of("r", {agent_of("a1")});
  moved.git_url = "https://elsewhere.example/r.git";
  // The town takes its time with the credentials of the new remote, so that the old fetch ends before the new one is
  // submitted.
  std::size_t asked = 0;
  sim.town_said->on_credentials = [&](const git_credentials_query&) -> std::optional<git_credentials_answer> {
    if (++asked == 1) return token("old");
    return std::nullopt;
  };
  sim.git->on_fetch = [&](const git::repository_job& job) {
    if (job.url == moved.git_url) return sim.git->fetched(job);
    if (old_outcome == 0) return sim.git->fetched(job);
    return failing<git::repository_restored>(old_outcome == 1 ? error_code::unauthorized : error_code::not_found,
                                             "old");
  };
  sim.restore();
  sim.restore(moved);
  CHECK(*sim.git->fetches[0].job.cancel);
  if (!was_cancelled) *sim.git->fetches[0].job.cancel = false; // it had ended by then
  sim.advance(1s);
  CHECK(sim.a1_heard->ready.empty());
  CHECK(sim.a1_heard->failed.empty());
  CHECK(sim.health->rigs_settled.empty());
  sim.town_said->on_credentials = nullptr;
  sim.advance(2min);
  REQUIRE(sim.a1_heard->ready.size() == 1);
  CHECK(sim.a1_heard->ready[0].restored.tips.at("main") == fake_git::tip_of(moved.git_url, "main"));
  REQUIRE_FALSE(sim.health->rigs_settled.empty());
  CHECK(sim.health->rigs_settled.back().report.outcome == town::rig_outcome::ready);
  for (const auto& settled : sim.health->rigs_settled)
    CHECK(settled.git_url == moved.git_url);
}

TEST_CASE("another remote starts with a full set of attempts, whatever the old one had come to") {
  rig_simulation sim;
  sim.git->on_fetch = fetch_fails_with(error_code::not_found);
  sim.restore();
  sim.advance(1s);
  REQUIRE(sim.health->rigs_settled.size() == 1);
  sim.git->on_fetch = fetch_fails_with(error_code::unavailable);
  auto moved = rig_of("r", {agent_of("a1")});
  moved.git_url = "https://elsewhere.example/r.git";
  sim.restore(moved);
  sim.advance_until([&] { return sim.health->rigs_settled.size() == 2; }, 30s);
  CHECK(sim.attempts() == 1 + 5);
}

TEST_CASE("worktrees that ask for another look cost one fetch together") {
  rig_simulation sim;
  SECTION("before it knows what is wanted: none") {
    sim.tell(sim.subject, look_again{"a1"});
    sim.advance(1s);
    CHECK(sim.attempts() == 0);
  }
  SECTION("ready") {
    sim.restore();
    sim.advance(1s);
    for (int i = 0; i < 5; ++i)
      sim.tell(sim.subject, look_again{"a1"});
    sim.advance(1s);
    CHECK(sim.attempts() == 2);
    CHECK(sim.a1_heard->ready.size() == 2);
  }
  SECTION("settled as failed: its own clock looks again") {
    sim.git->on_fetch = fetch_fails_with(error_code::not_found);
    sim.restore();
    sim.advance(1s);
    sim.tell(sim.subject, look_again{"a1"});
    sim.advance(1s);
    CHECK(sim.attempts() == 1);
    sim.advance(1min);
    CHECK(sim.attempts() == 2);
  }
}

TEST_CASE("a rig that was ready and cannot be looked at again is settled as failed, and heals") {
  rig_simulation sim;
  sim.restore();
  sim.advance(1s);
  sim.git->on_fetch = fetch_fails_with(error_code::unavailable);
  sim.tell(sim.subject, look_again{"a1"});
  sim.advance(30s);
  CHECK(sim.health->outcome_of_rig("r") == town::rig_outcome::failed);
  sim.git->on_fetch = nullptr;
  sim.advance(61s);
  CHECK(sim.health->outcome_of_rig("r") == town::rig_outcome::ready);
}

TEST_CASE("a rig actor that ends cancels its job") {
  rig_simulation sim;
  sim.git->on_fetch = [](const git::repository_job&) { return hanging<git::repository_restored>(); };
  sim.restore();
  CHECK_FALSE(*sim.git->fetches.at(0).job.cancel);
  sim.kill(sim.subject);
  sim.run();
  CHECK(*sim.git->fetches.at(0).job.cancel);
}
