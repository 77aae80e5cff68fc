#include "http/responder.hpp"

#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <thread>
#include <vector>

using namespace townkeeper::http;

TEST_CASE("the first answer counts, further ones are ignored") {
  std::vector<int> got;
  const responder answer_it([&](const response& r) { got.push_back(r.status); });
  const auto copy = answer_it;
  answer_it(ok("1", 201));
  copy(ok("1", 202));
  answer_it(ok("1", 203));
  CHECK(got == std::vector<int>{201});
}

TEST_CASE("a request whose last responder is dropped is answered 500") {
  std::vector<int> got;
  {
    const responder answer_it([&](const response& r) { got.push_back(r.status); });
    { const auto copy = answer_it; }
    CHECK(got.empty());
  }
  CHECK(got == std::vector<int>{500});
}

TEST_CASE("an answered request is not answered again when its responder goes") {
  int calls = 0;
  {
    responder([&](const response&) { ++calls; })(ok("1"));
  }
  CHECK(calls == 1);
}

TEST_CASE("of answers from many threads at once exactly one counts") {
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> calls{0};
    {
      const responder answer_it([&](const response&) { ++calls; });
      std::vector<std::thread> threads;
      for (int t = 0; t < 4; ++t)
        threads.emplace_back([answer_it] { answer_it(ok("1")); });
      for (auto& thread : threads)
        thread.join();
    }
    REQUIRE(calls == 1);
  }
}
