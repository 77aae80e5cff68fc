// URLs of the town and of remotes: what is accepted names the host that a reader sees, and holds no login.

#include <string>

#include "git/jobs.hpp"
#include "git/url.hpp"
#include "http/url.hpp"
#include "tests/fuzz/property.hpp"

using namespace townkeeper;
using fuzz::require;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(fuzz::bytes_of(data, size));
  if (const auto url = http::parse_url(text)) {
    require(!url->host.empty() && url->port != 0, "a URL names a host");
    require(url->host.find_first_of("@/\\?# \r\n") == std::string::npos, "a host is one word");
    require(url->target.starts_with('/'), "a target is a path");
    const auto again = http::parse_url((url->secure ? "https://" : "http://") + url->authority() + url->target);
    require(again && again->host == url->host && again->port == url->port && again->target == url->target,
            "a URL put together is the same URL");
  }
  if (const auto remote = git::parse_url(text)) {
    require(remote->path.starts_with('/'), "a remote's path is absolute");
    require(remote->path.find("/../") == std::string::npos && !remote->path.ends_with("/.."), "a path goes nowhere up");
    require((remote->kind == git::remote_address::scheme::file) == remote->host.empty(), "a host, or a file");
    require(text.find("::") == std::string::npos || text.find("[") != std::string::npos ||
                text.find("://") < text.find("::") || text.front() == '/',
            "no transport of git's own (ext::) is taken");
    require(text.front() != '-', "a URL is no option");
  }
  return 0;
}
