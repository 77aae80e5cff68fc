#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "config/file.hpp"
#include "config/nearest.hpp"
#include "config/settings.hpp"
#include "core/fault_point.hpp"

namespace townkeeper::config {
namespace {

error refused(std::string object, std::string message) {
  return {error_code::invalid_config, std::move(object), redact(std::move(message))};
}

const setting* setting_of_flag(std::string_view flag) {
  const auto& all = settings();
  const auto found = std::find_if(all.begin(), all.end(), [&](const setting& s) { return s.flag == flag; });
  return found == all.end() ? nullptr : &*found;
}

/// Values are shown shortened, and a secret's never.
std::string shown(const setting& s, std::string_view text) {
  constexpr std::size_t longest = 80;
  if (s.is_secret) return "the value";
  return text.size() > longest ? fmt::format("\"{}…\"", text.substr(0, longest)) : fmt::format("\"{}\"", text);
}

result<void> apply(config& c, const setting& s, std::string_view text, const std::string& origin) {
  if (auto taken = s.set(c, text); !taken) {
    const auto why = taken.error().message.empty() ? std::string{} : ": " + taken.error().message;
    return refused(
        s.key, fmt::format("{} from {} is not accepted{}; accepted is {}", shown(s, text), origin, why, s.accepted));
  }
  c.origins[s.key] = origin;
  return {};
}

std::vector<std::string> all_variables() {
  std::vector<std::string> out{std::string(file_variable)};
#ifdef TOWNKEEPER_FAULT_POINTS
  out.insert(out.end(), {fault_points_variable, fault_log_variable});
#endif
  for (const auto& s : settings())
    out.push_back(s.variable);
  return out;
}

std::vector<std::string> all_flags() {
  std::vector<std::string> out{"--config"};
  for (const auto& s : settings())
    if (!s.flag.empty()) out.push_back(s.flag);
  return out;
}

/// A Kubernetes service called `townkeeper` puts TOWNKEEPER_PORT and the like into every container of its namespace.
bool looks_like_a_service_link(std::string_view variable) {
  return variable.starts_with("TOWNKEEPER_SERVICE_") || variable.starts_with("TOWNKEEPER_PORT");
}

result<void> refuse_unknown_variables(const sources& from) {
  const auto known = all_variables();
  for (const auto& [name, value] : from.environment) {
    if (!name.starts_with("TOWNKEEPER_") || std::find(known.begin(), known.end(), name) != known.end()) continue;
    const std::string remedy =
        looks_like_a_service_link(name)
            ? "; it looks like a Kubernetes service link: set enableServiceLinks: false, or rename the service"
            : did_you_mean(name, known);
    return refused(name,
                   fmt::format("no setting has this environment variable{}; `townkeeper config` lists all", remedy));
  }
  return {};
}

/// The variable that speaks for a setting: the first that is not empty.
const std::pair<const std::string, std::string>* variable_of(const setting& s, const sources& from) {
  const auto set = [&](const std::string& name) -> const std::pair<const std::string, std::string>* {
    const auto found = from.environment.find(name);
    return found == from.environment.end() || found->second.empty() ? nullptr : &*found;
  };
  if (const auto* own = set(s.variable)) return own;
  for (const auto& other : s.other_variables)
    if (const auto* found = set(other)) return found;
  return nullptr;
}

result<void> apply_file(config& c, const sources& from) {
  auto path = from.file;
  if (!path)
    if (const auto named = from.environment.find(file_variable);
        named != from.environment.end() && !named->second.empty())
      path = named->second;
  if (!path) return {};
  auto entries = read_file(*path);
  if (!entries) return entries.error();
  for (const auto& [s, text] : *entries)
    if (auto taken = apply(c, *s, text, "file " + path->string()); !taken) return taken;
  return {};
}

result<void> apply_environment(config& c, const sources& from) {
  for (const auto& s : settings())
    if (const auto* found = variable_of(s, from))
      if (auto taken = apply(c, s, found->second, "environment " + found->first); !taken) return taken;
  return {};
}

result<void> apply_flags(config& c, const sources& from) {
  for (const auto& [flag, value] : from.flags) {
    if (const auto* s = setting_of_flag(flag); s != nullptr && !flag.empty()) {
      if (auto taken = apply(c, *s, value, "flag " + flag); !taken) return taken;
      continue;
    }
    for (const auto& s : settings()) {
      auto as_flag = "--" + s.key;
      std::replace_if(
          as_flag.begin() + 2, as_flag.end(), [](char ch) { return ch == '.' || ch == '_'; }, '-');
      if (s.is_secret && as_flag == flag)
        return refused(flag,
                       fmt::format("a secret is never a flag (every process can read it); set {} or the file's {}",
                                   s.variable, s.key));
    }
    return refused(flag, fmt::format("no such flag{}", did_you_mean(flag, all_flags())));
  }
  return {};
}

/// What no single value can show.
result<void> check_together(const config& c) {
  const auto ordered = [](const char* first, auto least, const char* last, auto most) -> result<void> {
    if (least <= most) return {};
    return refused(first, fmt::format("is longer than {}; the pause can only grow", last));
  };
  if (auto ok = ordered("town.retry_first", c.town.retry_first, "town.retry_max", c.town.retry_max); !ok) return ok;
  if (auto ok = ordered("restore.backoff_first", c.restore.backoff_first, "restore.backoff_max", c.restore.backoff_max);
      !ok)
    return ok;
  if (auto ok = ordered("protect.backoff_first", c.protect.backoff_first, "protect.backoff_max", c.protect.backoff_max);
      !ok)
    return ok;
  if (auto ok = ordered("supervision.backoff_first", c.supervision.backoff_first, "supervision.backoff_max",
                        c.supervision.backoff_max);
      !ok)
    return ok;
  if (c.protect.quiet > c.protect.latest)
    return refused("protect.quiet", "is longer than protect.latest: a push would never be wanted for quiet");
  if (c.protect.file_limit_bytes > c.protect.point_limit_bytes)
    return refused("protect.file_limit", "is greater than protect.point_limit: such a file would never be saved");
  return {};
}

result<void> check_readable(const char* key, const std::filesystem::path& file) {
  if (file.empty() || ::access(file.c_str(), R_OK) == 0) return {};
  return refused(key, fmt::format("{} cannot be read: {}", file.string(), std::strerror(errno)));
}

} // namespace

result<config> load(const sources& from) {
  config c;
  if (auto ok = refuse_unknown_variables(from); !ok) return ok.error();
  if (auto ok = apply_file(c, from); !ok) return ok.error();
  if (auto ok = apply_environment(c, from); !ok) return ok.error();
  if (auto ok = apply_flags(c, from); !ok) return ok.error();
  if (auto ok = check_together(c); !ok) return ok.error();

  const auto token = c.origins.find("git.token");
  if (token != c.origins.end() && token->second == "environment GITLAB_TOKEN" && !c.origins.contains("git.username")) {
    c.git.username = "oauth2"; // what GitLab wants beside a personal, group or project token
    c.origins["git.username"] = token->second;
  }
  return c;
}

result<void> check_runnable(const config& c) {
  if (c.town.api_url.empty())
    return refused("town.api_url",
                   "is not set; set GASTOWN_API_URL, or town.api_url in the file, to the URL of the town's API");
  if (c.town.id.empty())
    return refused("town.id",
                   "is not set; set GASTOWN_TOWN_ID, or town.id in the file, to the id of this container's town");
  if (auto ok = check_readable("town.ca_file", c.town.ca_file); !ok) return ok;
  return check_readable("git.ca_file", c.git.ca_file);
}

} // namespace townkeeper::config
