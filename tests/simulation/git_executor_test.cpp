#include "actors/git_executor.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <caf/typed_event_based_actor.hpp>

#include <algorithm>
#include <future>

#include "fixture.hpp"
#include "messages/type_ids.hpp"

using namespace townkeeper;
using namespace townkeeper::simulation;
using namespace std::chrono_literals;

namespace {

/// A job that a worker has taken and not yet ended.
struct held_job {
  std::uint64_t id = 0;
  std::string key; ///< "fetch r", "restore r/a", "snapshot r/a", "push r 1" (the asker's round), …
  git::cancel_flag cancel;
  git_worker_actor worker;
  job_finished end;
};

struct workers_log {
  std::vector<held_job> running;
  std::vector<std::string> begun; ///< keys, in order
  std::size_t spawned = 0, ended = 0;
};

struct worker_state {
  static inline const char* name = "fake_worker";
};

git_worker_actor::behavior_type worker(git_worker_actor::stateful_pointer<worker_state> self,
                                       std::shared_ptr<workers_log> log) {
  self->attach_functor([log] { ++log->ended; });
  const auto hold = [=](std::uint64_t id, std::string key, const git::cancel_flag& cancel, auto outcome) {
    log->begun.push_back(key);
    log->running.push_back({id, std::move(key), cancel, git_worker_actor{self}, {id, std::move(outcome)}});
  };
  return {
      [=](std::uint64_t id, const repository_request& r) {
        hold(id, "fetch " + r.job.rig_id, r.job.cancel, repository_result{r.job.rig_id, git::repository_restored{}, 0});
      },
      [=](std::uint64_t id, const worktree_request& r) {
        const auto key = r.rig_id + "/" + r.job.agent_id;
        if (r.remove) {
          hold(id, "remove " + key, r.job.cancel, removal_result{r.job.agent_id, git::worktree_removal{true, ""}});
        } else {
          hold(id, "restore " + key, r.job.cancel, worktree_result{r.job.agent_id, git::worktree_restored{}});
        }
      },
      [=](std::uint64_t id, const snapshot_request& r) {
        hold(id, "snapshot " + r.rig_id + "/" + r.job.agent_id, r.job.cancel,
             snapshot_result{r.job.agent_id, r.round, git::snapshot{}, 5ms});
      },
      [=](std::uint64_t id, const push_request& r) {
        hold(id, "push " + r.job.rig_id + " " + std::to_string(r.round), r.job.cancel,
             push_result{r.job.rig_id, r.round, std::vector<git::pushed_point>{}, 5ms});
      },
      [=](std::uint64_t id, const delete_request& r) {
        hold(id, "delete " + r.job.rig_id, r.job.cancel, delete_result{r.job.rig_id, std::set<std::string>{}});
      },
      [=](std::uint64_t id, const prune_request& r) {
        hold(id, "prune " + r.rig_id + "/" + r.agent_id, nullptr, prune_result{r.agent_id, result<void>{}});
      },
  };
}

struct results {
  std::vector<std::pair<std::string, std::optional<error>>> all; ///< what it is of, and how it failed
  std::optional<error_code> code_of(std::size_t i) const {
    return all.at(i).second ? std::optional{all.at(i).second->code} : std::nullopt;
  }
};

template <class Outcome>
std::optional<error> failure_of(const Outcome& outcome) {
  return outcome ? std::nullopt : std::optional{outcome.error()};
}

struct asker_state {
  static inline const char* name = "asker";
};

rig_actor::behavior_type rig_asker(rig_actor::stateful_pointer<asker_state>, std::shared_ptr<results> log) {
  return {
      [](const restore_rig&) {},
      [](const attach_worktree&) {},
      [](const detach_worktree&) {},
      [](const look_again&) {},
      [](const forget_point&) {},
      [=](const repository_result& r) { log->all.emplace_back("fetch " + r.rig_id, failure_of(r.outcome)); },
      [](const git_credentials_query&) {
        return git_credentials_answer{error{}, std::nullopt};
      },
      [](const retry_due&) {},
  };
}

worktree_actor::behavior_type worktree_asker(worktree_actor::stateful_pointer<asker_state>,
                                             std::shared_ptr<results> log) {
  return {
      [](const restore_worktree&) {},
      [](const repository_ready&) {},
      [](const repository_failed&) {},
      [=](const worktree_result& r) { log->all.emplace_back("restore " + r.agent_id, failure_of(r.outcome)); },
      [](const retire_worktree&) {},
      [=](const removal_result& r) { log->all.emplace_back("remove " + r.agent_id, failure_of(r.outcome)); },
      [](const save_now&) {
        return save_answer{"", error{}};
      },
      [](const retry_due&) {},
  };
}

saver_actor::behavior_type saver_asker(saver_actor::stateful_pointer<asker_state>, std::shared_ptr<results> log) {
  return {
      [](const protect_rig&) {},
      [](const save_wanted&) {},
      [](const keep_disk&) { return keep_disk_answer{error{}}; },
      [](const delete_refs&) {},
      [=](const snapshot_result& r) {
        log->all.emplace_back("snapshot " + r.agent_id + " " + std::to_string(r.round), failure_of(r.outcome));
      },
      [=](const push_result& r) {
        log->all.emplace_back("push " + r.rig_id + " " + std::to_string(r.round), failure_of(r.outcome));
      },
      [=](const delete_result& r) { log->all.emplace_back("delete " + r.rig_id, failure_of(r.outcome)); },
      [](const save_due&) {},
  };
}

struct executor_simulation : virtual_town {
  std::shared_ptr<workers_log> workers = std::make_shared<workers_log>();
  std::shared_ptr<results> heard = std::make_shared<results>();
  rig_actor rigs = keep(system().spawn(rig_asker, heard));
  worktree_actor worktrees = keep(system().spawn(worktree_asker, heard));
  saver_actor savers = keep(system().spawn(saver_asker, heard));
  git_executor_actor subject;

  explicit executor_simulation(git_executor_config config = {}) {
    if (!config.at_rest) config.at_rest = [](git_executor_actor::pointer) {};
    config.spawn_worker = [log = workers](git_executor_actor::pointer self) {
      ++log->spawned;
      return self->spawn<caf::linked>(worker, log);
    };
    subject = keep(system().spawn(git_executor, std::move(config)));
  }
  ~executor_simulation() { workers->running.clear(); }

  git::cancel_flag fetch(const std::string& rig_id) {
    repository_request request;
    request.job.rig_id = rig_id;
    request.job.cancel = std::make_shared<std::atomic<bool>>(false);
    request.asker = rigs;
    const auto flag = request.job.cancel;
    tell(subject, std::move(request));
    return flag;
  }
  git::cancel_flag restore(const std::string& rig_id, const std::string& agent_id, bool remove = false) {
    worktree_request request;
    request.rig_id = rig_id;
    request.job.rig_id = rig_id;
    request.job.agent_id = agent_id;
    request.job.cancel = std::make_shared<std::atomic<bool>>(false);
    request.remove = remove;
    request.asker = worktrees;
    const auto flag = request.job.cancel;
    tell(subject, std::move(request));
    return flag;
  }
  git::cancel_flag snapshot(const std::string& rig_id, const std::string& agent_id, std::uint64_t round = 1) {
    snapshot_request request{rig_id, {}, round, savers};
    request.job.agent_id = agent_id;
    request.job.cancel = std::make_shared<std::atomic<bool>>(false);
    const auto flag = request.job.cancel;
    tell(subject, std::move(request));
    return flag;
  }
  git::cancel_flag push(const std::string& rig_id, std::uint64_t round) {
    push_request request{{}, round, savers};
    request.job.rig_id = rig_id;
    request.job.cancel = std::make_shared<std::atomic<bool>>(false);
    const auto flag = request.job.cancel;
    tell(subject, std::move(request));
    return flag;
  }
  void delete_refs_of(const std::string& rig_id) {
    delete_request request{{}, savers};
    request.job.rig_id = rig_id;
    request.job.cancel = std::make_shared<std::atomic<bool>>(false);
    tell(subject, std::move(request));
  }
  void prune(const std::string& rig_id, const std::string& agent_id) {
    tell(subject, prune_request{rig_id, agent_id, "/repo.git", {}});
  }
  /// The worker's word that this job ended.
  void end(const std::string& key) {
    auto& running = workers->running;
    const auto it = std::find_if(running.begin(), running.end(), [&](const auto& j) { return j.key == key; });
    REQUIRE(it != running.end());
    auto job = std::move(*it);
    running.erase(it);
    tell(subject, std::move(job.end));
  }
  bool runs(const std::string& key) const {
    return std::any_of(workers->running.begin(), workers->running.end(), [&](const auto& j) { return j.key == key; });
  }
};

} // namespace

TEST_CASE("a job's result goes to its asker, and its worker takes the next one") {
  executor_simulation sim;
  sim.fetch("r");
  CHECK(sim.heard->all.empty());
  sim.end("fetch r");
  REQUIRE(sim.heard->all.size() == 1);
  CHECK(sim.heard->all[0].first == "fetch r");
  CHECK_FALSE(sim.heard->code_of(0));
  sim.restore("r", "a");
  sim.end("restore r/a");
  sim.restore("r", "a", true);
  sim.end("remove r/a");
  CHECK(sim.heard->all[2].first == "remove a");
  CHECK(sim.workers->spawned == 2); // one of each lane
}

TEST_CASE("one job runs per repository or worktree; a newer one cancels the older and waits for its end") {
  executor_simulation sim;
  const auto older = sim.fetch("r");
  const auto newer = sim.fetch("r");
  CHECK(*older);
  CHECK_FALSE(*newer);
  CHECK(sim.workers->begun.size() == 1);
  sim.end("fetch r");
  CHECK(sim.heard->all.size() == 1);
  CHECK(sim.workers->begun.size() == 2);
  sim.end("fetch r");
  CHECK(sim.heard->all.size() == 2);
}

TEST_CASE("a job that waits is refused when a newer one takes its place, saying so") {
  executor_simulation sim;
  sim.restore("r", "a");
  sim.restore("r", "a");
  sim.restore("r", "a", true);
  REQUIRE(sim.heard->all.size() == 1);
  CHECK(sim.heard->all[0].first == "restore a");
  CHECK(sim.heard->code_of(0) == error_code::cancelled);
  CHECK(sim.heard->all[0].second->message == "a newer job took its place");
  sim.end("restore r/a");
  CHECK(sim.runs("remove r/a"));
  sim.end("remove r/a");
  CHECK(sim.heard->all.size() == 3);
}

TEST_CASE("agents of one name in two rigs do not get in each other's way") {
  executor_simulation sim;
  const auto first = sim.restore("r1", "a");
  sim.restore("r2", "a");
  CHECK_FALSE(*first);
  CHECK(sim.workers->running.size() == 2);
}

TEST_CASE("a lane never has more workers than it may, and the lanes do not take each other's") {
  git_executor_config config;
  config.network_workers = 3;
  config.disk_workers = 2;
  executor_simulation sim{config};
  for (int i = 0; i < 10; ++i) {
    sim.fetch("r" + std::to_string(i));
    sim.restore("r" + std::to_string(i), "a");
  }
  CHECK(sim.workers->running.size() == 5);
  std::size_t most = 0;
  while (!sim.workers->running.empty()) {
    most = std::max(most, sim.workers->running.size());
    const auto key = sim.workers->running.front().key;
    sim.end(key);
  }
  CHECK(most == 5);
  CHECK(sim.workers->spawned == 5);
  CHECK(sim.heard->all.size() == 20);
}

TEST_CASE("of the workers of a burst a few stay, the others end") {
  git_executor_config config;
  config.push_workers = 8;
  config.spare_workers = 3;
  executor_simulation sim{config};
  const auto burst = [&] {
    for (std::uint64_t i = 0; i < 8; ++i)
      sim.push("r" + std::to_string(i), 1);
    REQUIRE(sim.workers->running.size() == 8);
    while (!sim.workers->running.empty()) {
      const auto key = sim.workers->running.front().key;
      sim.end(key);
    }
  };
  burst();
  CHECK(sim.workers->spawned == 8);
  CHECK(sim.workers->ended == 5);
  burst(); // the lane has as many places as before
  CHECK(sim.workers->spawned == 13);
  CHECK(sim.workers->ended == 10);
}

TEST_CASE("when no job has run for a moment, memory is given back, once") {
  int given = 0;
  git_executor_config config;
  config.at_rest = [&](git_executor_actor::pointer) { ++given; };
  executor_simulation sim{config};
  sim.fetch("r");
  sim.advance(2 * config.lull);
  CHECK(given == 0); // it runs
  sim.end("fetch r");
  sim.advance(config.lull / 2);
  sim.fetch("s");
  sim.end("fetch s");
  sim.advance(config.lull / 2);
  CHECK(given == 0); // a moment after the first, half of one after the second
  sim.advance(config.lull / 2);
  CHECK(given == 1);
  sim.advance(10 * config.lull);
  CHECK(given == 1);
}

TEST_CASE("memory is given back also when the last job to end was one that had been given up") {
  int given = 0;
  git_executor_config config;
  config.at_rest = [&](git_executor_actor::pointer) { ++given; };
  executor_simulation sim{config};
  sim.fetch("hangs");
  sim.advance(config.network_deadline);
  sim.end("fetch hangs");
  CHECK(given == 0);
  sim.advance(config.lull);
  CHECK(given == 1);
}

TEST_CASE("rigs take turns: one with many worktrees delays nobody else's") {
  git_executor_config config;
  config.disk_workers = 1;
  executor_simulation sim{config};
  for (int i = 0; i < 50; ++i)
    sim.restore("big", "a" + std::to_string(i));
  sim.restore("small1", "b");
  sim.restore("small2", "c");
  for (int i = 0; i < 6; ++i)
    sim.end(sim.workers->begun.back());
  CHECK(sim.workers->begun == std::vector<std::string>{"restore big/a0", "restore big/a1", "restore big/a2",
                                                       "restore big/a3", "restore small1/b", "restore small2/c",
                                                       "restore big/a4"});
}

TEST_CASE("a hanging remote occupies one thread and nobody's turn") {
  git_executor_config config;
  config.network_workers = 2;
  executor_simulation sim{config};
  sim.fetch("hangs");
  for (int i = 0; i < 20; ++i)
    sim.fetch("r" + std::to_string(i));
  for (int i = 0; i < 20; ++i) {
    const auto it = std::find_if(sim.workers->running.begin(), sim.workers->running.end(),
                                 [](const auto& j) { return j.key != "fetch hangs"; });
    REQUIRE(it != sim.workers->running.end());
    const auto key = it->key; // `end` changes the list
    sim.end(key);
  }
  CHECK(sim.heard->all.size() == 20);
}

TEST_CASE("a worker past its job's deadline is given up: its asker hears so, another takes its place") {
  git_executor_config config;
  config.network_workers = 1;
  executor_simulation sim{config};
  const auto flag = sim.fetch("hangs");
  sim.fetch("r");
  sim.advance(config.network_deadline - 1ms);
  CHECK(sim.heard->all.empty());
  CHECK_FALSE(*flag);
  sim.advance(1ms);
  REQUIRE(sim.heard->all.size() == 1);
  CHECK(sim.heard->all[0].first == "fetch hangs");
  CHECK(sim.heard->code_of(0) == error_code::timed_out);
  CHECK(sim.heard->all[0].second->message == "the job did not end by its deadline");
  CHECK(*flag);
  CHECK(sim.runs("fetch r"));
  // Two threads on one repository would be one too many.
  sim.fetch("hangs");
  REQUIRE(sim.heard->all.size() == 2);
  CHECK(sim.heard->code_of(1) == error_code::timed_out);
  CHECK(sim.heard->all[1].second->message == "an earlier job of it still hangs in a thread that was given up");
  sim.end("fetch r");
  sim.end("fetch hangs"); // late, and nobody asks any more
  CHECK(sim.heard->all.size() == 3);
  sim.fetch("hangs");
  CHECK(sim.runs("fetch hangs"));
  sim.end("fetch hangs");
  CHECK_FALSE(sim.heard->code_of(3));
}

TEST_CASE("a job that waits for one that is given up is refused with it: it would wait for ever") {
  executor_simulation sim;
  sim.restore("r", "a");
  sim.restore("r", "a");
  sim.advance(git_executor_config{}.disk_deadline);
  REQUIRE(sim.heard->all.size() == 2);
  CHECK(sim.heard->code_of(0) == error_code::timed_out);
  CHECK(sim.heard->code_of(1) == error_code::timed_out);
  sim.end("restore r/a");
  sim.restore("r", "a");
  CHECK(sim.runs("restore r/a"));
}

TEST_CASE("a job that ends before its deadline is not given up by its old timer") {
  executor_simulation sim;
  sim.fetch("r");
  sim.end("fetch r");
  sim.advance(git_executor_config{}.network_deadline - 1s);
  const auto flag = sim.fetch("r");
  sim.advance(10s);
  CHECK_FALSE(*flag);
  CHECK(sim.heard->all.size() == 1);
}

TEST_CASE("at most so many given-up threads are replaced; when one comes back the next is") {
  git_executor_config config;
  config.network_workers = 2;
  config.max_given_up = 3;
  executor_simulation sim{config};
  for (int i = 0; i < 6; ++i)
    sim.fetch("hangs" + std::to_string(i));
  sim.advance(10 * config.network_deadline);
  // Two at the beginning, three in place of given-up ones; then nobody is left to take the sixth.
  CHECK(sim.workers->spawned == 5);
  CHECK(sim.workers->running.size() == 5);
  CHECK(sim.heard->all.size() == 5);
  sim.fetch("r");
  CHECK_FALSE(sim.runs("fetch r"));
  sim.end("fetch hangs0");
  CHECK(sim.workers->spawned == 6);
  CHECK(sim.runs("fetch hangs5"));
  // The others come back one by one: everything that waits is done, and the lane has its two workers again.
  for (int i = 1; i <= 5; ++i)
    sim.end("fetch hangs" + std::to_string(i));
  CHECK(sim.runs("fetch r"));
  sim.end("fetch r");
  for (int i = 0; i < 4; ++i)
    sim.fetch("s" + std::to_string(i));
  CHECK(sim.workers->running.size() == 2);
}

TEST_CASE("a thread that was given up and not replaced works on when it comes back") {
  git_executor_config config;
  config.network_workers = 1;
  config.max_given_up = 0;
  executor_simulation sim{config};
  sim.fetch("hangs");
  sim.fetch("r");
  sim.advance(config.network_deadline);
  CHECK_FALSE(sim.runs("fetch r"));
  sim.end("fetch hangs");
  CHECK(sim.runs("fetch r"));
  CHECK(sim.workers->spawned == 1);
}

TEST_CASE("a second snapshot of an agent waits for the first, which is not cancelled by it") {
  executor_simulation sim;
  const auto first = sim.snapshot("r", "a", 1);
  sim.snapshot("r", "a", 2);
  sim.snapshot("r", "b", 3);
  CHECK_FALSE(*first);
  CHECK(sim.workers->begun == std::vector<std::string>{"snapshot r/a", "snapshot r/b"});
  sim.end("snapshot r/a");
  CHECK(sim.heard->all.size() == 1);
  CHECK(sim.heard->all[0].first == "snapshot a 1");
  CHECK_FALSE(sim.heard->code_of(0));
  sim.end("snapshot r/a");
  CHECK(sim.heard->all[1].first == "snapshot a 2");
}

TEST_CASE("an agent's store is not tidied beside a snapshot of it, in either order") {
  executor_simulation sim;
  sim.snapshot("r", "a");
  sim.prune("r", "a");
  sim.snapshot("r", "a", 2);
  CHECK_FALSE(sim.runs("prune r/a"));
  sim.end("snapshot r/a");
  CHECK(sim.runs("prune r/a"));
  CHECK_FALSE(sim.runs("snapshot r/a"));
  sim.end("prune r/a");
  CHECK(sim.runs("snapshot r/a"));
  CHECK(sim.heard->all.size() == 1); // nobody hears of the tidying
}

TEST_CASE("a push that hangs holds up no other of its rig, and no fetch, worktree or snapshot") {
  git_executor_config config;
  config.network_workers = config.disk_workers = config.snapshot_workers = 1;
  executor_simulation sim{config};
  const auto hanging = sim.push("r", 1);
  sim.push("r", 2);
  sim.delete_refs_of("r");
  sim.fetch("r");
  sim.restore("r", "a");
  sim.snapshot("r", "a");
  for (const auto* key : {"push r 1", "push r 2", "delete r", "fetch r", "restore r/a", "snapshot r/a"})
    CHECK(sim.runs(key));
  CHECK_FALSE(*hanging);
  sim.end("push r 2");
  sim.end("delete r");
  CHECK(sim.heard->all[0].first == "push r 2");
  CHECK(sim.heard->all[1].first == "delete r");
  sim.advance(config.push_deadline);
  CHECK(*hanging);
  const auto late =
      std::find_if(sim.heard->all.begin(), sim.heard->all.end(), [](const auto& r) { return r.first == "push r 1"; });
  REQUIRE(late != sim.heard->all.end());
  CHECK(late->second->code == error_code::timed_out);
}

TEST_CASE("a snapshot that hangs is given up after its own deadline, and its place is taken") {
  git_executor_config config;
  config.snapshot_workers = 1;
  executor_simulation sim{config};
  const auto flag = sim.snapshot("r", "hangs");
  sim.snapshot("r", "a");
  sim.advance(120s - 1ms);
  CHECK_FALSE(sim.runs("snapshot r/a"));
  sim.advance(1ms);
  CHECK(*flag);
  CHECK(sim.heard->code_of(0) == error_code::timed_out);
  CHECK(sim.runs("snapshot r/a"));
  sim.snapshot("r", "hangs", 2);
  CHECK(sim.heard->code_of(1) == error_code::timed_out);
  sim.prune("r", "hangs"); // refused as well, and nobody to tell
  CHECK_FALSE(sim.runs("prune r/hangs"));
}

TEST_CASE("a word of a job that nobody knows is ignored") {
  executor_simulation sim;
  sim.tell(sim.subject, job_finished{99, repository_result{"r", git::repository_restored{}, 0}});
  sim.tell(sim.subject, job_overdue{99});
  CHECK(sim.heard->all.empty());
}

TEST_CASE("a worker that dies takes the executor with it, and with it the daemon") {
  executor_simulation sim;
  sim.fetch("r");
  sim.kill(sim.workers->running.at(0).worker);
  sim.run();
  CHECK_FALSE(sim.is_alive(sim.subject));
}

TEST_CASE("on real threads a job runs, is answered, and the threads end with the executor") {
  caf::actor_system_config config;
  caf::actor_system system{config};
  const auto answered = std::make_shared<std::promise<result<git::repository_restored>>>();
  auto answer = answered->get_future();
  const auto asker = system.spawn([answered](rig_actor::pointer) -> rig_actor::behavior_type {
    return {
        [](const restore_rig&) {},
        [](const attach_worktree&) {},
        [](const detach_worktree&) {},
        [](const look_again&) {},
        [](const forget_point&) {},
        [=](const repository_result& r) { answered->set_value(r.outcome); },
        [](const git_credentials_query&) {
          return git_credentials_answer{error{}, std::nullopt};
        },
        [](const retry_due&) {},
    };
  });
  const auto executor = system.spawn(git_executor, git_executor_config{});
  repository_request request;
  request.job.rig_id = "r";
  request.job.url = "ext::sh -c whatever"; // refused before a file or a socket is touched
  request.job.default_branch = "main";
  request.job.cancel = std::make_shared<std::atomic<bool>>(false);
  request.asker = asker;
  caf::anon_send(executor, std::move(request));
  REQUIRE(answer.wait_for(30s) == std::future_status::ready);
  const auto outcome = answer.get();
  REQUIRE(outcome.has_error());
  CHECK(outcome.error().code == error_code::invalid_argument);
  caf::anon_send_exit(executor, caf::exit_reason::user_shutdown);
  // ~actor_system waits for both and for the worker's thread.
}
