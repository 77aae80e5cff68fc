// https with a private authority: the right chain and name, or nothing.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "core/secret.hpp"
#include "rig_disk.hpp"
#include "tests/support/fault_proxy.hpp"
#include "tests/support/remote.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("a remote whose certificate verifies is restored, with its token") {
  remote server{{.tls = certificate::good}};
  const auto tip = server.make_repository("app");
  server.demand_token("app", "x-access-token", "gts_0123456789abcdef");
  const rig_disk disk;
  auto job = disk.job(server.url("app"));
  job.ca_file = server.ca_file();
  job.login = git::credentials{"x-access-token", secret{"gts_0123456789abcdef"}};
  const auto done = restore(job);
  REQUIRE(done);
  CHECK(done->tips.at("main") == tip);
  CHECK(is_sound(disk.repository()));
}

TEST_CASE("a certificate that does not verify is refused, and no request is sent") {
  remote server;
  server.make_repository("app");
  const rig_disk disk;
  std::string says;
  auto ca_file = server.ca_file();
  SECTION("of an unknown authority") {
    server.set_certificate(certificate::unknown_ca);
    says = "unable to get local issuer certificate";
  }
  SECTION("for another host") {
    server.set_certificate(certificate::wrong_host);
    says = "mismatch";
  }
  SECTION("of an authority the system does not know, where no CA file is configured") {
    server.set_certificate(certificate::good);
    ca_file.clear();
    says = "issuer certificate";
  }
  auto job = disk.job(server.url("app"));
  job.ca_file = ca_file;
  job.login = git::credentials{"x-access-token", secret{"gts_0123456789abcdef"}};
  const auto refused = restore(job);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == error_code::tls_failed);
  CHECK(refused.error().object == "r1");
  CHECK_THAT(refused.error().message, ContainsSubstring("127.0.0.1"));
  CHECK_THAT(refused.error().message, ContainsSubstring(says));
  CHECK_THAT(refused.error().message, ContainsSubstring("CA file"));
  CHECK(server.requests().empty());
}

TEST_CASE("a CA file that is missing or holds no certificate is named") {
  remote server{{.tls = certificate::good}};
  server.make_repository("app");
  const rig_disk disk;
  auto job = disk.job(server.url("app"));
  job.ca_file = disk.workspace() / "ca.pem";
  SECTION("missing") {}
  SECTION("no certificate in it") {
    write(job.ca_file, "not a certificate\n");
  }
  const auto refused = restore(job);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == error_code::tls_failed);
  CHECK_THAT(refused.error().message, ContainsSubstring(job.ca_file));
}

TEST_CASE("a server that does not speak TLS at an https URL is a TLS failure") {
  remote server;
  server.make_repository("app");
  const rig_disk disk;
  auto url = server.url("app");
  const auto refused = restore(disk.job(url.replace(0, 4, "https")));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == error_code::tls_failed);
}

TEST_CASE("a TLS connection that is cut in mid-pack is an error that may pass") {
  remote server{{.tls = certificate::good}};
  server.make_repository("app");
  server.commit("app", {.branch = "main", .files = {{"big", noise(100'000)}}});
  fault_proxy proxy{server.port()};
  const rig_disk disk;
  auto job = disk.job(proxy.url("app", "https"));
  job.ca_file = server.ca_file();
  proxy.set({fault::kind::cut, 60'000});
  const auto refused = restore(job);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == error_code::unavailable);
  proxy.set({fault::kind::pass});
  CHECK(restore(job));
}

TEST_CASE("a byte flipped under TLS ends the connection") {
  remote server{{.tls = certificate::good}};
  server.make_repository("app");
  server.commit("app", {.branch = "main", .files = {{"big", noise(100'000)}}});
  fault_proxy proxy{server.port()};
  const rig_disk disk;
  auto job = disk.job(proxy.url("app", "https"));
  job.ca_file = server.ca_file();
  proxy.set({fault::kind::flip, 60'000});
  const auto refused = restore(job);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == error_code::tls_failed);
}
