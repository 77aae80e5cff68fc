#include "git/url.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "git/jobs.hpp"
#include "tests/unit/core/result_printer.hpp"

using namespace townkeeper;
using namespace townkeeper::git;
using Catch::Matchers::ContainsSubstring;

namespace {

bool refuses_address(const char* literal) {
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  if (inet_pton(AF_INET, literal, &v4.sin_addr) == 1) return is_refused_address(reinterpret_cast<const sockaddr&>(v4));
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  REQUIRE(inet_pton(AF_INET6, literal, &v6.sin6_addr) == 1);
  return is_refused_address(reinterpret_cast<const sockaddr&>(v6));
}

remote_address address_of(const std::string& url) {
  auto parsed = parse_url(url);
  REQUIRE(parsed);
  return *parsed;
}

} // namespace

TEST_CASE("a git URL is https, or http to loopback") {
  const std::string url = GENERATE("https://git.example.invalid/team/app.git", "https://git.example.invalid:8443/a",
                                   "HTTPS://Git.Example.invalid/a", "https://[2001:db8::1]/a.git",
                                   "http://127.0.0.1:8080/a.git", "http://127.9.9.9/a", "http://localhost/a",
                                   "http://LOCALHOST/a", "http://[::1]:80/a", "https://host/name-with.dots_and~tilde");
  INFO(url);
  CHECK(check_url(url, {}));
}

TEST_CASE("a hostile or unusable git URL is refused") {
  const std::string url = GENERATE(
      // other transports, and what a command line would take for an option or a command
      "", "ext::sh -c touch% /tmp/x", "ext::sh", "fd::17", "ssh://host/a", "git@host:a.git", "git://host/a",
      "ftp://host/a", "--upload-pack=touch", "-https://host/a", "https:/host/a", "https:host/a", "//host/a", "host/a",
      // files, where the policy does not allow them
      "file:///srv/a.git", "/srv/a.git", "file://host/a", "file:a", "../a",
      // who is asked, and as whom
      "https://user@host/a", "https://user:password@host/a", "https://:token@host/a", "https://host", "https://host/",
      "https:///a", "https://-host/a", "https://.host/a", "https://ho..st/a", "https://ho%73t/a", "https://[::1/a",
      "https://[not-an-address]/a", "https://host:/a", "https://host:0/a", "https://host:65536/a", "https://host:8x/a",
      "https://host:-1/a", "https://h\xC3\xB6st/a",
      // what stands in the path
      "https://host/../a", "https://host/a/../b", "https://host/a/..", "https://host/a b", "https://host/a\nb",
      "https://host/a\r\nHost: other", "https://host/a\tb", "https://host/a\x7f", "https://host\\@other/a",
      "https://host/a?x=1", "https://host/a#x",
      // plain http to the world
      "http://git.example.invalid/a", "http://10.0.0.1/a", "http://localhost.example.invalid/a",
      "http://127.0.0.1.example.invalid/a");
  INFO(url);
  const auto outcome = check_url(url, {});
  REQUIRE_FALSE(outcome);
  CHECK(outcome.error().code == error_code::invalid_argument);
  CHECK_THAT(outcome.error().message, ContainsSubstring("not a usable git URL"));
}

TEST_CASE("an address where cloud metadata lives is refused in any spelling") {
  const std::string host = GENERATE("169.254.169.254", "169.254.0.1", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376",
                                    "169.16689662", "[fe80::1]", "[::ffff:169.254.169.254]", "[::169.254.169.254]",
                                    "0.0.0.0", "0", "[::]", "224.0.0.1", "255.255.255.255", "[ff02::1]");
  const std::string scheme = GENERATE("http", "https");
  INFO(scheme << "://" << host);
  CHECK_FALSE(check_url(scheme + "://" + host + "/a.git", {.allow_file = false, .allow_http_hosts = {host}}));
}

TEST_CASE("NUL and over-long URLs are refused") {
  CHECK_FALSE(check_url(std::string{"https://host/a\0b", 16}, {}));
  CHECK(check_url("https://host/" + std::string(2000, 'a'), {}));
  CHECK_FALSE(check_url("https://host/" + std::string(2048, 'a'), {}));
}

TEST_CASE("plain http is for loopback and for the hosts the configuration names") {
  const url_policy policy{.allow_file = false, .allow_http_hosts = {"Git.internal"}};
  CHECK(check_url("http://git.INTERNAL:3000/a", policy));
  CHECK_FALSE(check_url("http://other.internal/a", policy));
  CHECK_FALSE(check_url("http://git.internal.example.invalid/a", policy));
}

TEST_CASE("files are for those who are allowed them") {
  const url_policy policy{.allow_file = true, .allow_http_hosts = {}};
  CHECK(check_url("file:///srv/a.git", policy));
  CHECK(check_url("/srv/a.git", policy));
  CHECK_FALSE(check_url("file://host/srv/a.git", policy));
  CHECK_FALSE(check_url("/srv/../a.git", policy));
  CHECK_FALSE(check_url("srv/a.git", policy));
}

TEST_CASE("a refusal shows neither a password nor a control character") {
  const auto outcome = check_url("https://user:hunter22@host/\x1b[2J", {});
  REQUIRE_FALSE(outcome);
  const auto text = to_string(outcome.error());
  CHECK(text.find("hunter22") == std::string::npos);
  CHECK(text.find('\x1b') == std::string::npos);
}

TEST_CASE("a URL is taken apart") {
  const auto plain = address_of("https://Git.Example.invalid/Team/App.git");
  CHECK(plain.kind == remote_address::scheme::https);
  CHECK(plain.host == "git.example.invalid");
  CHECK(plain.port == 443);
  CHECK(plain.path == "/Team/App.git");
  const auto with_port = address_of("http://[::1]:8080/a");
  CHECK(with_port.kind == remote_address::scheme::http);
  CHECK(with_port.host == "::1");
  CHECK(with_port.port == 8080);
  CHECK(address_of("http://127.0.0.1/a").port == 80);
  CHECK(address_of("file:///srv/a.git").path == "/srv/a.git");
}

TEST_CASE("whatever a name resolves to, link-local and unspecified addresses are not connected to") {
  for (const char* literal : {"169.254.169.254", "0.0.0.0", "224.0.0.1", "255.255.255.255", "fe80::1", "::", "ff02::1",
                              "::ffff:169.254.169.254"}) {
    INFO(literal);
    CHECK(refuses_address(literal));
  }
  for (const char* literal :
       {"127.0.0.1", "10.0.0.1", "192.0.2.1", "::1", "2001:db8::1", "::ffff:10.0.0.1", "fd00::1"}) {
    INFO(literal);
    CHECK_FALSE(refuses_address(literal));
  }
}

TEST_CASE("credentials go out over https, or to loopback") {
  CHECK(may_carry_credentials(address_of("https://git.example.invalid/a")));
  CHECK(may_carry_credentials(address_of("http://127.0.0.1:3000/a")));
  CHECK(may_carry_credentials(address_of("http://localhost/a")));
  CHECK_FALSE(may_carry_credentials(address_of("http://git.internal/a")));
  CHECK_FALSE(may_carry_credentials(address_of("http://10.0.0.1/a")));
}
