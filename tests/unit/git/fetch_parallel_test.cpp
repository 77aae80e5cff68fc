// Rigs side by side: each for itself.
#include <future>

#include <catch2/catch_test_macros.hpp>

#include "rig_disk.hpp"
#include "tests/support/fault_proxy.hpp"
#include "tests/support/remote.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
using namespace std::chrono_literals;

TEST_CASE("eight rigs are fetched at once, and bad remotes among them are each their own rig's error") {
  remote server;
  fault_proxy hanging{server.port()}, cutting{server.port()};
  hanging.set({fault::kind::hang});
  cutting.set({fault::kind::cut, 20'000});
  const rig_disk disk;
  constexpr int count = 8, hangs = 2, is_absent = 4, is_cut = 6;
  std::vector<git::repository_job> jobs;
  for (int i = 0; i < count; ++i) {
    const std::string name = "app" + std::to_string(i);
    server.make_repository(name);
    server.commit(name,
                  {.branch = "gt/x", .files = {{"big", noise(40'000, static_cast<unsigned>(i))}}, .start = "main"});
    auto job = disk.job(i == hangs       ? hanging.url(name)
                        : i == is_absent ? server.url("nobody")
                        : i == is_cut    ? cutting.url(name)
                                         : server.url(name),
                        {"gt/x"});
    job.rig_id = "r" + std::to_string(i);
    job.directory = disk.rig(job.rig_id);
    job.limits.stall = i == hangs ? 400ms : 20s;
    jobs.push_back(std::move(job));
  }
  std::vector<std::future<result<git::repository_restored>>> attempts;
  attempts.reserve(jobs.size());
  for (const auto& job : jobs)
    attempts.push_back(std::async(std::launch::async, [&job] { return restore(job); }));
  for (int i = 0; i < count; ++i) {
    const auto done = attempts[static_cast<std::size_t>(i)].get();
    INFO("rig " << i);
    if (i == hangs || i == is_absent || i == is_cut) {
      REQUIRE_FALSE(done);
      CHECK(done.error().object == "r" + std::to_string(i));
      CHECK(done.error().code == (i == hangs       ? error_code::timed_out
                                  : i == is_absent ? error_code::not_found
                                                   : error_code::unavailable));
      continue;
    }
    REQUIRE(done);
    CHECK(done->tips.at("gt/x") == server.tip("app" + std::to_string(i), "gt/x"));
    CHECK(is_sound(done->repository));
  }
}
