#include <catch2/catch_test_macros.hpp>

#include "suite/bodies.hpp"
#include "suite/dispatch.hpp"

using namespace townkeeper::contract;
using townkeeper::test::control_stub;

namespace {

answer boot(const session& town, const std::string& url) {
  return town.without_epoch("POST", "/container-boot", boot_body("i1", url));
}

} // namespace

TEST_CASE("a controlUrl may name the hosts of the list, whatever the port, case and path") {
  session town{shared_town()};
  for (const auto* url : {"http://127.0.0.1", "http://127.0.0.1:1", "http://127.0.0.1:65535/", "http://localhost:8080",
                          "https://localhost/", "HTTP://LocalHost:8080", "http://127.0.0.1:8080/base/"}) {
    CAPTURE(url);
    CHECK(boot(town, url).verdict() == ok);
  }
}

TEST_CASE("another spelling of an allowed address is that address") {
  session town{shared_town()};
  for (const auto* url : {"http://2130706433:8080/", "http://0x7f000001/", "http://0177.0.0.1/", "http://127.1/"}) {
    CAPTURE(url);
    CHECK(boot(town, url).verdict() == ok);
  }
}

TEST_CASE("a controlUrl to any other host is refused at boot, however it is dressed up") {
  session town{shared_town()};
  for (const auto* url : {"http://192.0.2.1:8080",
                          "http://town.example",
                          "http://127.0.0.1.evil.example",
                          "http://localhost.evil.example",
                          "http://evil.example/127.0.0.1",
                          "http://localhost.",
                          "http://evil.localhost",
                          "http://xlocalhost",
                          "http://127.0.0.2",
                          "http://0/",
                          "http://0.0.0.0:8080",
                          "http://3221225985/",
                          "http://0xC0000201/",
                          "http://192.0.513/",
                          "http://127.0.0.1@evil.example",
                          "http://127.0.0.1:80@evil.example",
                          "http://user@127.0.0.1",
                          "http://user:pw@127.0.0.1",
                          "http://@127.0.0.1",
                          "http://evil.example#@127.0.0.1",
                          "http://evil.example?@127.0.0.1",
                          "http://evil.example\\@127.0.0.1",
                          "http://127.0.0.1\\@evil.example",
                          "http://[::1]:8080",
                          "http://[::ffff:127.0.0.1]/",
                          "http://[fe80::1]/",
                          "http://169.254.169.254/",
                          "http://2852039166/",
                          "http:127.0.0.1",
                          "http:/127.0.0.1",
                          "http:///127.0.0.1",
                          "//127.0.0.1",
                          "127.0.0.1:8080",
                          "localhost",
                          "ftp://127.0.0.1",
                          "file:///etc/passwd",
                          "ws://127.0.0.1",
                          "javascript:alert(1)",
                          "http://127.0.0.1/?x=1",
                          "http://127.0.0.1/#x",
                          "http://127.0.0.1:8080 ",
                          " http://127.0.0.1",
                          "http://127.0.0.1\t.evil.example",
                          "http://127.0.0.1\n",
                          "http://127.0.0.1:99999",
                          "http://",
                          "",
                          "http://xn--/",
                          "http://\xE2\x93\x94vil.example",
                          "http://127.0.0.1%2eevil.example",
                          "http://%65vil.example"}) {
    CAPTURE(url);
    // Through json_string and not boot_body's shortcut, where an empty URL means none.
    const auto given =
        town.without_epoch("POST", "/container-boot", with(boot_body("i1"), "/controlUrl", json_string(url)));
    CHECK(given.verdict() == invalid_body);
    CHECK(given.paths() == words("controlUrl"));
  }
  CHECK(town.desired_state()["epoch"] == 0);
}

TEST_CASE("CONTROL_URL_ALLOW replaces the list") {
  const townkeeper::test::town host{{.environment = {{"CONTROL_URL_ALLOW", " Container.Internal , 10.0.0.7,[::1]"}}}};
  session town{host};
  CHECK(boot(town, "http://container.internal:8080").verdict() == ok);
  CHECK(boot(town, "http://10.0.0.7").verdict() == ok);
  CHECK(boot(town, "http://167772167/").verdict() == ok);
  CHECK(boot(town, "http://[::1]:8080/").verdict() == ok);
  CHECK(boot(town, "http://127.0.0.1:8080").verdict() == invalid_body);
  CHECK(boot(town, "http://container.internal.evil.example").verdict() == invalid_body);
}

TEST_CASE("an empty list allows nobody, and a link-local address is never allowed") {
  const townkeeper::test::town nobody{{.environment = {{"CONTROL_URL_ALLOW", ""}}}};
  CHECK(boot(session{nobody}, "http://127.0.0.1:8080").verdict() == invalid_body);
  const townkeeper::test::town metadata{{.environment = {{"CONTROL_URL_ALLOW", "169.254.169.254"}}}};
  CHECK(boot(session{metadata}, "http://169.254.169.254/").verdict() == invalid_body);
}

TEST_CASE("an address that was allowed at boot is not called once the list has become shorter") {
  townkeeper::test::town host{{.time_scale = retry_scale}};
  control_stub container;
  auto town = town_of(host, {"a1"});
  town.boot("i1", container.url());
  host.kill();
  host.set_environment("CONTROL_URL_ALLOW", "localhost");
  host.start();
  town.ready("ready", {report("a1", "restored")});
  REQUIRE(eventually([&] { return town.dispatches().size() >= 2; }));
  CHECK(container.requests().empty());
  CHECK(town.dispatches()[0]["status"] == 0);
  CHECK(town.dispatches()[0]["error"].string().find("CONTROL_URL_ALLOW") != std::string::npos);
  CHECK(town.agent_state("a1")["attempts"] == 0);
}
