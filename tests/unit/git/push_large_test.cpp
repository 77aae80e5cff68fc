// Large pushes: what is sent, and that the time it takes to make them ready does no harm.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <chrono>
#include <thread>

#include "git/fetch.hpp"
#include "git/private_objects.hpp"
#include "saved_rig.hpp"

using namespace townkeeper;
using namespace townkeeper::test;

namespace {

constexpr std::int64_t mebibyte = 1024 * 1024;

std::string configuration_of(const saved_rig& rig) {
  return run_git(rig.repository(), {"config", "--list", "--show-origin"});
}

/// Waits until the server has sent the last byte of every answer: git has ended, and the loop that saw it has turned.
void let_answers_end(const saved_rig& rig) {
  const auto children =
      "/proc/" + std::to_string(rig.server.pid()) + "/task/" + std::to_string(rig.server.pid()) + "/children";
  for (const auto until = std::chrono::steady_clock::now() + std::chrono::seconds{10}; !read(children).empty();) {
    REQUIRE(std::chrono::steady_clock::now() < until);
    std::this_thread::yield();
  }
  run_git(rig.repository(), {"-c", "http.sslVerify=false", "ls-remote", rig.server.url(rig.name)});
}

/// What a connection needs to know, from a push.
git::repository_job connection_for(const git::push_job& push) {
  git::repository_job job;
  job.rig_id = push.rig_id;
  job.url = push.url;
  job.limits = push.limits;
  job.ca_file = push.ca_file;
  return job;
}

} // namespace

TEST_CASE("files are not compared with each other: they are sent as they are, at once") {
  saved_rig rig;
  // Whatever an agent writes there about packs; the last one no number at all.
  if (GENERATE(false, true)) {
    rig.git({"config", "pack.deltaCacheSize", "1g"});
    rig.git({"config", "pack.deltaCacheLimit", "-1"});
    rig.git({"config", "pack.windowMemory", "much"});
  }
  const auto before = configuration_of(rig);
  auto bytes = noise(mebibyte);
  rig.put("one", bytes);
  bytes[0] ^= 1;
  rig.put("two", bytes);
  const auto pushed = git::push_points(rig.push_job());
  INFO((pushed ? std::string{} : to_string(pushed.error())));
  REQUIRE(pushed);
  const auto& answer = pushed->front();
  REQUIRE(answer.point);
  REQUIRE(*answer.point);
  CHECK(answer.sent_bytes > 2 * mebibyte); // one as the difference from the other would take a few bytes
  CHECK(rig.on_remote(rig.ref()) == (*answer.point)->commit);
  CHECK(is_sound(rig.served()));
  CHECK(configuration_of(rig) == before);
}

TEST_CASE("a connection that was closed while the pack was made ready is opened anew, once") {
  saved_rig rig;
  auto push = rig.push_job();
  const bool with_tls = GENERATE(false, true);
  CAPTURE(with_tls);
  if (with_tls) {
    rig.server.set_certificate(certificate::good);
    push.url = rig.server.url("app");
    push.ca_file = rig.server.ca_file();
  }
  const auto job = connection_for(push);
  auto repository = git::open_with_private_objects(rig.repository(), {"a1"});
  REQUIRE(repository);
  auto session = git::fetch_session::open_for_push(job, std::move(*repository));
  INFO((session ? std::string{} : to_string(session.error())));
  REQUIRE(session);
  const auto commit = push.items[0].taken.stash_commit;

  let_answers_end(rig);
  rig.server.stop();
  SECTION("and takes the push") {
    rig.server.start();
    const auto report = (*session)->upload({"+" + commit + ":" + rig.ref()});
    INFO((report ? std::string{} : to_string(report.error())));
    REQUIRE(report);
    CHECK(report->answers.at(rig.ref()).empty());
    CHECK(rig.on_remote(rig.ref()) == commit);
  }
  SECTION("and when nobody is there any more, that is what is said") {
    const auto report = (*session)->upload({"+" + commit + ":" + rig.ref()});
    REQUIRE_FALSE(report);
    CHECK(report.error().code == error_code::unavailable);
    CHECK(report.error().message.find("cannot connect") != std::string::npos);
  }
}
