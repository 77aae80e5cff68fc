#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <future>
#include <thread>

#include "watched_rig.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

void append(const fs::path& path) {
  std::ofstream(path, std::ios::app) << "more\n";
}

std::size_t times_lost(const std::vector<watch::watch_event>& events) {
  return static_cast<std::size_t>(
      std::count_if(events.begin(), events.end(), [](const auto& each) { return each.lost.has_value(); }));
}

} // namespace

TEST_CASE("events of one worktree keep their distance", "[watch]") {
  constexpr auto interval = 50ms;
  watched_rig rig({interval});
  event_log log;
  const auto handle = rig.watch(log);
  std::atomic<bool> enough = false;
  std::thread writer([&] {
    while (!enough)
      append(rig.worktree() / "README");
  });
  CHECK(log.wait_for_count(6));
  enough = true;
  writer.join();
  const auto times = log.times();
  for (std::size_t i = 1; i < times.size(); ++i)
    CHECK(times[i] - times[i - 1] >= interval - 5ms);
}

TEST_CASE("changes are told however much time passes while the thread makes ready to wait", "[watch]") {
  // A clock that goes on by so much at each look: a thread that loses its processor between two of them.
  std::atomic<std::chrono::steady_clock::duration> step = 0ns;
  auto at = std::chrono::steady_clock::now();
  watched_rig rig({.interval = 0ms, .now = [&] { return at += step.load(); }});
  event_log log;
  const auto handle = rig.watch(log);
  for (auto each = 250us; each <= 6ms; each += 250us) {
    CAPTURE(each.count());
    step = each;
    for (int i = 0; i < 2; ++i) {
      const auto before = log.count();
      append(rig.worktree() / "README");
      REQUIRE(log.wait_for_count(before + 1));
    }
  }
}

TEST_CASE("the last of a burst is told, and then nothing", "[watch]") {
  watched_rig rig({20ms});
  event_log log;
  const auto handle = rig.watch(log);
  for (int i = 0; i < 100; ++i)
    append(rig.worktree() / "README");
  const auto written_at = event_log::clock::now();
  append(rig.worktree() / "README");
  // Two more intervals' worth of events of another worktree, and none of this one.
  rig.add_worktree("a2");
  event_log other;
  const auto second = rig.watch(other, "a2");
  for (std::size_t i = 0; i < 4; ++i) {
    const auto before = other.count();
    rig.write("README", std::to_string(i), "a2");
    REQUIRE(other.wait_for_count(before + 1));
  }
  CHECK(log.last_at() >= written_at);
  const auto settled = log.count();
  for (std::size_t i = 0; i < 4; ++i) {
    const auto before = other.count();
    rig.write("README", std::to_string(i), "a2");
    REQUIRE(other.wait_for_count(before + 1));
  }
  CHECK(log.count() == settled);
}

TEST_CASE("a kernel without room for watches is told once, and nothing breaks", "[watch]") {
  watched_rig rig({.interval = 0ms, .max_watches = 16});
  for (int i = 0; i < 30; ++i)
    rig.write("many/" + std::to_string(i) + "/file", "x\n");
  event_log log;
  auto handle = rig.hub().watch(rig.request(), log.callback());
  REQUIRE(handle.has_value());
  REQUIRE(log.wait_until([](const auto& events) { return times_lost(events) > 0 && times_lost(events) < 9; }));
  CHECK(log.since(0).started);
  CHECK(log.since(0).lost->code == error_code::unavailable);
  CHECK(log.since(0).lost->message.find("max_user_watches") != std::string::npos);
  // What more there is to look at makes it no worse, and is not told again.
  for (int i = 0; i < 30; ++i)
    rig.write("more/" + std::to_string(i) + "/file", "x\n");
  rig.write(".gitignore", "nothing\n");
  rig.git({"add", "-A"});
  event_log second;
  auto again = rig.hub().watch(rig.request(), second.callback());
  REQUIRE(again.has_value());
  REQUIRE(second.wait_until([](const auto& events) { return times_lost(events) == 1; }));
  CHECK(rig.hub().statistics().watches <= 16);
  CHECK(log.wait_until([](const auto& events) { return times_lost(events) == 1; }));
}

TEST_CASE("a path that is not there is lost; one that cannot be one is refused", "[watch]") {
  watched_rig rig;
  event_log log;
  auto request = rig.request();
  request.worktree = rig.worktree("nobody");
  auto handle = rig.hub().watch(request, log.callback());
  REQUIRE(handle.has_value());
  REQUIRE(log.wait_for_count(1));
  CHECK(log.since(0).lost);
  request.worktree = "relative";
  CHECK(rig.hub().watch(request, log.callback()).error().code == error_code::invalid_argument);
  request = rig.request();
  request.agent_id.clear();
  CHECK(rig.hub().watch(request, log.callback()).error().code == error_code::invalid_argument);
}

TEST_CASE("when the kernel's queue overflows, a change is told and everything is looked at again", "[watch]") {
  std::size_t queued = 0;
  std::ifstream("/proc/sys/fs/inotify/max_queued_events") >> queued;
  if (queued == 0 || queued > 100'000) SKIP("the kernel queues " << queued << " events");
  watched_rig rig;
  event_log log;
  std::promise<void> entered, release;
  std::atomic<bool> holds = false;
  const auto handle = rig.hub().watch(rig.request(), [&, tell = log.callback()](const watch::watch_event& event) {
    if (holds.exchange(false)) {
      entered.set_value();
      release.get_future().wait();
    }
    tell(event);
  });
  REQUIRE(handle.has_value());
  REQUIRE(log.wait_for_count(1));
  rig.flush();
  holds = true;
  append(rig.worktree() / "README");
  entered.get_future().wait();
  // No event of the last directory finds room.
  for (std::size_t i = 0; i <= queued; ++i)
    append(rig.worktree() / (i % 2 == 0 ? "README" : "src/a.txt"));
  rig.write("unseen/deep/file", "x\n");
  const auto before = log.count();
  const auto watches = rig.hub().statistics().watches;
  release.set_value();
  REQUIRE(log.wait_until([&](const auto&) { return rig.hub().statistics().watches == watches + 2; }));
  CHECK(rig.hub().statistics().overflows >= 1);
  CHECK(log.wait_until([&](const auto& events) { return events.size() > before && events.back().refs; }));
  CHECK(rig.told(log, [&] { append(rig.worktree() / "unseen/deep/file"); }));
  CHECK(rig.told(log, [&] { rig.git({"add", "-A"}); }));
}

TEST_CASE("no callback runs when the handle has gone, whatever happens", "[watch]") {
  watched_rig rig;
  std::atomic<bool> enough = false;
  std::vector<std::thread> writers;
  for (int t = 0; t < 4; ++t)
    writers.emplace_back([&, t] {
      for (int i = 0; !enough; ++i) {
        const auto directory = rig.worktree() / std::to_string(t);
        write_file(directory / "a/b" / std::to_string(i % 7), "x\n");
        if (i % 5 == 0) fs::remove_all(directory);
      }
    });
  std::vector<std::thread> watchers;
  std::atomic<int> late = 0, heard = 0;
  for (int t = 0; t < 3; ++t)
    watchers.emplace_back([&] {
      for (int i = 0; i < 60; ++i) {
        auto gone = std::make_shared<std::atomic<bool>>(false);
        std::promise<void> first;
        std::atomic<bool> told = false;
        auto handle = rig.hub().watch(rig.request(), [&, gone](const watch::watch_event&) {
          if (*gone) ++late;
          ++heard;
          if (!told.exchange(true)) first.set_value();
        });
        if (i % 3 != 0) first.get_future().wait();
        handle->reset();
        *gone = true;
      }
    });
  for (auto& each : watchers)
    each.join();
  enough = true;
  for (auto& each : writers)
    each.join();
  CHECK(late == 0);
  CHECK(heard >= 120);
  rig.flush();
  rig.flush();
  CHECK(rig.hub().statistics().watches <= 8); // of the sentinel alone
}

TEST_CASE("a hub ends while events fly, and a handle may outlive it", "[watch]") {
  for (int i = 0; i < 6; ++i) {
    watched_rig rig;
    event_log log;
    std::atomic<bool> enough = false;
    auto handle = rig.watch(log);
    std::thread writer([&] {
      while (!enough)
        append(rig.worktree() / "README");
    });
    CHECK(log.wait_for_count(3));
    rig.end_hub();
    const auto after = log.count();
    append(rig.worktree() / "README");
    CHECK(log.count() == after);
    handle.reset();
    enough = true;
    writer.join();
  }
}

TEST_CASE("a callback may let go of its own handle", "[watch]") {
  watched_rig rig;
  std::promise<void> done;
  watch::watch_handle handle;
  std::atomic<bool> mine = false;
  std::atomic<int> calls = 0;
  auto made = rig.hub().watch(rig.request(), [&](const watch::watch_event&) {
    if (!mine) return;
    ++calls;
    handle.reset();
    if (calls == 1) done.set_value();
  });
  handle = std::move(*made);
  rig.flush();
  mine = true;
  append(rig.worktree() / "README");
  done.get_future().wait();
  append(rig.worktree() / "README");
  rig.flush();
  CHECK(calls == 1);
}
