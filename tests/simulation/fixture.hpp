#pragma once

#include <caf/actor_addr.hpp>
#include <caf/actor_cast.hpp>
#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/scheduler/test_coordinator.hpp>
#include <caf/scoped_actor.hpp>
#include <caf/sec.hpp>
#include <caf/send.hpp>

#include <catch2/catch_test_macros.hpp>

#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

/// Actors in one thread, on a clock that stands still unless a test moves it.
namespace townkeeper::simulation {

/// The answer to a question that was asked on the virtual clock.
template <class Answer>
class pending {
public:
  bool has_come() const { return state_->answer.has_value(); }
  bool has_failed() const { return !state_->failure.empty(); }
  /// Throws when there is none.
  const Answer& get() const {
    if (!has_come()) throw std::logic_error(has_failed() ? state_->failure : "no answer has come");
    return *state_->answer;
  }
  const Answer* operator->() const { return &get(); }

private:
  friend class virtual_town;
  struct state {
    std::optional<Answer> answer;
    std::string failure;
  };
  std::shared_ptr<state> state_ = std::make_shared<state>();
};

/// An actor system whose scheduler runs only inside `run` and `advance`. Derive a fixture from it, or hold one. When it
/// dies every actor must have ended: those handed to `keep` are ended by it, any other that lives fails the test.
///
/// Detached actors would run on real threads: put a scheduled fake behind their typed handle instead.
class virtual_town {
public:
  using duration = caf::timespan;
  using time_point = caf::actor_clock::time_point;

  virtual_town() = default;
  virtual_town(const virtual_town&) = delete;
  virtual_town& operator=(const virtual_town&) = delete;
  ~virtual_town() { end(); }

  caf::actor_system& system() { return system_; }
  /// Sends on the test's behalf.
  caf::scoped_actor& self() { return *probe_; }
  caf::scheduler::test_coordinator& scheduler() { return scheduler_; }
  time_point now() { return scheduler_.clock().now(); }

  /// Delivers every message that is under way, and what follows from it, without moving the clock. Returns how many
  /// actors ran. An endless exchange of messages at one instant is a bug: it fails the test.
  std::size_t run() {
    std::size_t ran = 0;
    for (; scheduler_.has_job(); ++ran) {
      if (ran == most_steps_at_once) FAIL("the actors exchange messages without end at one instant");
      if (order_) {
        auto& jobs = scheduler_.jobs;
        std::swap(jobs.front(), jobs[(*order_)() % jobs.size()]);
      }
      scheduler_.run_once();
    }
    return ran;
  }

  /// From now on any of the actors that have a message may be the next to run, as `seed` decides. Without this they run
  /// in the order in which their messages came.
  void run_in_random_order(std::uint64_t seed) { order_.emplace(seed); }

  /// Moves the clock from timer to timer until `d` has passed; at each instant everything is delivered.
  void advance(duration d) {
    const auto end_at = now() + d;
    run();
    while (const auto due = next_timer()) {
      if (*due > end_at) break;
      move_to(*due);
    }
    move_to(end_at);
  }

  /// The same until `done()`, checked at each instant; false when `limit` passed before.
  bool advance_until(const std::function<bool()>& done, duration limit) {
    const auto end_at = now() + limit;
    run();
    while (!done()) {
      const auto due = next_timer();
      if (!due || *due > end_at) {
        move_to(end_at);
        return done();
      }
      move_to(*due);
    }
    return true;
  }

  /// Sends a question and runs what can run at this instant; the answer may come later.
  template <class Answer, class Handle, class Question>
  pending<Answer> ask(const Handle& to, Question question) {
    pending<Answer> answer;
    keep(
        system_.spawn([this, to, question = std::move(question), state = answer.state_](caf::event_based_actor* asker) {
          asker->request(to, caf::infinite, question)
              .then([state](Answer& a) { state->answer = std::move(a); },
                    [this, state](const caf::error& e) { state->failure = system_.render(e); });
        }));
    run();
    return answer;
  }

  /// Sends a message and runs what can run at this instant.
  template <class Handle, class Message>
  void tell(const Handle& to, Message message) {
    caf::anon_send(to, std::move(message));
    run();
  }

  /// Holds this actor, and ends it together with the fixture: for those that rearm their own timers, and those nobody
  /// else holds.
  template <class Handle>
  Handle keep(Handle handle) {
    kept_.push_back(caf::actor_cast<caf::actor>(handle));
    return handle;
  }

  /// Ends an actor now, as a fault would: no handler of its own runs.
  template <class Handle>
  void kill(const Handle& handle, caf::error reason = caf::make_error(caf::sec::runtime_error, "injected fault")) {
    if (const auto to = caf::actor_cast<caf::actor>(handle))
      caf::anon_send(to, caf::exit_msg{to.address(), std::move(reason)});
  }

  template <class Handle>
  bool is_alive(const Handle& handle) {
    const auto strong = caf::actor_cast<caf::strong_actor_ptr>(handle);
    return strong && !static_cast<caf::monitorable_actor*>(caf::actor_cast<caf::abstract_actor*>(strong))
                          ->getf(caf::abstract_actor::is_cleaned_up_flag);
  }

private:
  static constexpr std::size_t most_steps_at_once = 1'000'000;

  struct testing_config : caf::actor_system_config {
    testing_config() { set("scheduler.policy", caf::atom("testing")); }
  };

  std::optional<time_point> next_timer() {
    const auto& timers = scheduler_.clock().schedule();
    if (timers.empty()) return std::nullopt;
    return timers.begin()->first;
  }

  void move_to(time_point at) {
    if (at > now()) {
      scheduler_.advance_time(at - now());
    } else {
      scheduler_.advance_time(duration{0}); // a timer that is due already
    }
    run();
  }

  void end() {
    for (const auto& actor : kept_)
      kill(actor, caf::exit_reason::kill);
    kept_.clear();
    probe_.reset();
    scheduler_.run(most_steps_at_once);
    const auto leaked = system_.registry().running();
    if (leaked > 0) {
      // Without this the system would wait for them for ever.
      system_.await_actors_before_shutdown(false);
      scheduler_.clock().cancel_all();
    }
    if (std::uncaught_exceptions() == 0) CHECK(leaked == 0);
  }

  testing_config config_;
  caf::actor_system system_{config_};
  caf::scheduler::test_coordinator& scheduler_ = dynamic_cast<caf::scheduler::test_coordinator&>(system_.scheduler());
  std::optional<caf::scoped_actor> probe_{std::in_place, system_};
  std::vector<caf::actor> kept_;
  std::optional<std::mt19937_64> order_;
};

} // namespace townkeeper::simulation
