#include "http/io_thread.hpp"

#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

using namespace townkeeper::http;

TEST_CASE("functions run on one thread, in the order they were posted") {
  std::vector<int> order;
  std::vector<std::thread::id> on;
  io_thread io;
  for (int i = 0; i < 3; ++i) // kept until the thread starts
    CHECK(io.post([&, i] { order.push_back(i); }));
  io.start();
  for (int i = 3; i < 100; ++i)
    CHECK(io.post([&, i] {
      order.push_back(i);
      on.push_back(std::this_thread::get_id());
    }));
  io.stop();
  REQUIRE(order.size() == 100);
  CHECK(std::is_sorted(order.begin(), order.end()));
  CHECK(std::all_of(on.begin(), on.end(), [&](auto id) { return id == on.front(); }));
  CHECK(on.front() != std::this_thread::get_id());
}

TEST_CASE("after a stop nothing is taken any more") {
  io_thread io;
  io.start();
  io.stop();
  io.stop();
  bool ran = false;
  CHECK_FALSE(io.post([&] { ran = true; }));
  CHECK_FALSE(ran);
}

TEST_CASE("what is posted to a thread that never started runs when it is stopped") {
  bool ran = false;
  io_thread io;
  io.post([&] { ran = true; });
  io.stop();
  CHECK(ran);
}

TEST_CASE("what throws in the last moment keeps nobody else from running") {
  bool ran = false;
  io_thread io;
  io.post([] { throw std::runtime_error("a bug"); });
  io.post([&] { ran = true; });
  io.stop();
  CHECK(ran);
}

TEST_CASE("run_and_wait waits, and runs at once where the loop does not") {
  io_thread io;
  std::thread::id on;
  const auto note = [&] { on = std::this_thread::get_id(); };
  io.run_and_wait(note);
  CHECK(on == std::this_thread::get_id());
  io.start();
  io.run_and_wait(note);
  CHECK(on != std::this_thread::get_id());
  bool nested = false;
  io.run_and_wait([&] { io.run_and_wait([&] { nested = true; }); });
  CHECK(nested);
  io.stop();
  io.run_and_wait(note);
  CHECK(on == std::this_thread::get_id());
}

TEST_CASE("a function that throws takes the loop down for nobody else") {
  io_thread io;
  io.start();
  io.post([] { throw std::runtime_error("a bug"); });
  bool ran = false;
  io.run_and_wait([&] { ran = true; });
  CHECK(ran);
}

TEST_CASE("a stop runs what is posted while the loop is busy") {
  std::atomic<int> ran{0};
  io_thread io;
  io.start();
  io.post([&] {
    for (int i = 0; i < 10; ++i)
      io.post([&] { ++ran; });
  });
  while (ran < 1)
    std::this_thread::yield();
  io.stop();
  CHECK(ran == 10);
}
