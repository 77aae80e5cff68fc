#include "http/name_lookup.hpp"

#include <netdb.h>
#include <sys/socket.h>

#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <system_error>
#include <thread>

namespace townkeeper::http {
namespace {

std::atomic<int> lookups_under_way{0};

} // namespace

result<std::vector<numeric_address>> system_lookup(const std::string& host) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* first = nullptr;
  if (const int failed = ::getaddrinfo(host.c_str(), nullptr, &hints, &first); failed != 0)
    return error{error_code::unavailable, host,
                 fmt::format("the host name has no address: {}", ::gai_strerror(failed))};
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(first, &::freeaddrinfo);
  std::vector<numeric_address> out;
  for (const auto* each = first; each != nullptr; each = each->ai_next) {
    char text[NI_MAXHOST] = {};
    if (::getnameinfo(each->ai_addr, each->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST) != 0) continue;
    if (std::find(out.begin(), out.end(), text) == out.end()) out.emplace_back(text);
  }
  if (out.empty()) return error{error_code::unavailable, host, "the host name has no address"};
  return out;
}

void look_up(lookup_function look, std::string host,
             const std::function<void(result<std::vector<numeric_address>>)>& done) {
  if (lookups_under_way.fetch_add(1) >= max_lookups) {
    --lookups_under_way;
    return done(error{error_code::unavailable, host,
                      "too many name lookups hang; is the DNS server of this machine reachable?"});
  }
  try {
    std::thread([look = std::move(look), host = std::move(host), done] {
      auto found = look(host);
      --lookups_under_way;
      done(std::move(found));
    }).detach();
  } catch (const std::system_error& e) {
    --lookups_under_way;
    done(error{error_code::unavailable, host, fmt::format("no thread for the name lookup: {}", e.what())});
  }
}

} // namespace townkeeper::http
