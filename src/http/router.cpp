#include "http/router.hpp"

#include <algorithm>
#include <optional>

namespace townkeeper::http {
namespace {

/// `/a//b` → {"a", "", "b"}; `/` → {""}.
std::vector<std::string_view> split(std::string_view path) {
  std::vector<std::string_view> out;
  if (path.empty() || path.front() != '/') return out;
  for (std::size_t begin = 1; begin <= path.size();) {
    const auto end = std::min(path.find('/', begin), path.size());
    out.push_back(path.substr(begin, end - begin));
    begin = end + 1;
  }
  return out;
}

bool is_parameter(std::string_view segment) {
  return segment.size() > 2 && segment.front() == '{' && segment.back() == '}';
}

using parameters = std::map<std::string, std::string, std::less<>>;

std::optional<parameters> match(const std::vector<std::string>& pattern, const std::vector<std::string_view>& path) {
  if (pattern.size() != path.size()) return std::nullopt;
  parameters found;
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (!is_parameter(pattern[i])) {
      if (pattern[i] != path[i]) return std::nullopt;
      continue;
    }
    auto value = percent_decode(path[i]);
    if (!value || value->empty()) return std::nullopt;
    found.emplace(pattern[i].substr(1, pattern[i].size() - 2), std::move(*value));
  }
  return found;
}

response with_allow(response r, const std::vector<std::string>& methods) {
  std::string list;
  for (const auto& each : methods)
    list += (list.empty() ? "" : ", ") + each;
  r.headers.set("Allow", std::move(list));
  return r;
}

response refused_token() {
  auto r =
      failure(401, "unauthorized", "this route needs Authorization: Bearer with the control token of this container");
  r.headers.set("WWW-Authenticate", "Bearer");
  return r;
}

} // namespace

bearer_check accepts(secret expected) {
  return
      [expected = std::move(expected)](std::string_view token) { return !expected.empty() && expected.equals(token); };
}

void router::add(std::string method, std::string_view pattern, handler h) {
  add(std::move(method), pattern, bearer_check{}, std::move(h));
}

void router::add(std::string method, std::string_view pattern, bearer_check check, handler h) {
  route r{std::move(method), {}, std::move(check), std::move(h)};
  for (const auto segment : split(pattern))
    r.segments.emplace_back(segment);
  routes_.push_back(std::move(r));
}

void router::operator()(request r, responder answer) const {
  const auto path = split(r.path);
  const std::string_view wanted = r.method == "HEAD" ? std::string_view("GET") : std::string_view(r.method);
  std::vector<std::string> allowed;
  for (const auto& each : routes_) {
    auto found = match(each.segments, path);
    if (!found) continue;
    if (each.method == wanted) {
      if (each.check && !each.check(r.bearer_token())) return answer(refused_token());
      r.params = std::move(*found);
      return each.handle(std::move(r), std::move(answer));
    }
    allowed.push_back(each.method);
    if (each.method == "GET") allowed.emplace_back("HEAD");
  }
  const bool asks_options = r.method == "OPTIONS";
  if (allowed.empty() && !(asks_options && r.path == "*"))
    return answer(failure(404, "not_found", "there is no such route here"));
  allowed.emplace_back("OPTIONS");
  if (asks_options) return answer(with_allow({.status = 204, .body = std::string(), .headers = {}}, allowed));
  answer(with_allow(failure(405, "method_not_allowed", "this route takes other methods: see Allow"), allowed));
}

} // namespace townkeeper::http
