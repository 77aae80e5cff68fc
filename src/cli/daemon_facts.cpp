#include "cli/daemon_facts.hpp"

namespace townkeeper::cli {
namespace {

std::string bracketed(const std::string& host) {
  return host.find(':') == std::string::npos ? host : "[" + host + "]";
}

} // namespace

std::string listen_text(const config::listen_address& listen) {
  return bracketed(listen.host) + ":" + std::to_string(listen.port);
}

std::string local_url(const config::listen_address& listen, std::uint16_t bound_port) {
  const auto host = listen.host == "0.0.0.0" ? "127.0.0.1" : listen.host == "::" ? "::1" : listen.host;
  return "http://" + bracketed(host) + ":" + std::to_string(bound_port);
}

std::string control_url(const config::config& settings, std::uint16_t bound_port) {
  return settings.control.url.empty() ? local_url(settings.listen, bound_port) : settings.control.url;
}

} // namespace townkeeper::cli
