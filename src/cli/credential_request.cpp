#include "cli/credential_request.hpp"

#include "http/message.hpp"
#include "http/url.hpp"

namespace townkeeper::cli {
namespace {

/// `/team/repo.git/` and `team/repo.git` are one path.
std::string_view bare_path(std::string_view path) {
  while (path.starts_with('/'))
    path.remove_prefix(1);
  while (path.ends_with('/'))
    path.remove_suffix(1);
  return path;
}

} // namespace

credential_request read_credential_request(std::istream& in) {
  credential_request request;
  for (std::string line; std::getline(in, line) && !line.empty();) {
    const auto equals = line.find('=');
    if (equals == std::string::npos) continue;
    const auto key = line.substr(0, equals);
    if (key == "protocol") request.protocol = line.substr(equals + 1);
    if (key == "host") request.host = line.substr(equals + 1);
    if (key == "path") request.path = line.substr(equals + 1);
  }
  return request;
}

bool is_of_remote(const credential_request& request, std::string_view git_url) {
  const auto remote = http::parse_url(git_url);
  const auto asked = http::parse_url(request.protocol + "://" + request.host + "/");
  if (!remote || !asked || asked->target != "/") return false;
  if (asked->secure != remote->secure || asked->port != remote->port ||
      !http::equal_ignoring_case(asked->host, remote->host))
    return false;
  return request.path.empty() || bare_path(request.path) == bare_path(remote->target);
}

} // namespace townkeeper::cli
