#include "config/settings.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "config/agent_command.hpp"
#include "config/value_text.hpp"
#include "core/ids.hpp"

namespace townkeeper::config {
namespace {

using std::chrono::milliseconds;
using namespace std::chrono_literals;

/// The member a setting lives in: `T& (config&)`, so that reading and writing need one function.
template <class T>
using member = T& (*)(config&);

template <class T>
const T& read(member<T> where, const config& c) {
  return where(const_cast<config&>(c)); // the function only names a member; nothing is written
}

result<void> refused(std::string why = {}) {
  return error{error_code::invalid_config, {}, std::move(why)};
}

std::string upper_with_underscores(std::string_view key) {
  std::string out = "TOWNKEEPER_";
  for (const char c : key)
    out += c == '.' ? '_' : (c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c);
  return out;
}

std::string flag_of(std::string_view key) {
  std::string out = "--";
  for (const char c : key)
    out += c == '.' || c == '_' ? '-' : c;
  return out;
}

setting named(std::string key, std::string accepted, std::string meaning) {
  setting s;
  s.variable = upper_with_underscores(key);
  s.flag = flag_of(key);
  s.key = std::move(key);
  s.accepted = std::move(accepted);
  s.meaning = std::move(meaning);
  s.schema = R"({"type":"string"})";
  return s;
}

setting duration(std::string key, member<milliseconds> where, milliseconds least, milliseconds most,
                 std::string meaning) {
  auto s = named(
      std::move(key),
      fmt::format("a duration from {} to {} (digits and ms, s, m or h)", show_duration(least), show_duration(most)),
      std::move(meaning));
  s.schema = R"({"type":"string","pattern":"^(0|[0-9]+(ms|s|m|h))$"})";
  s.set = [=](config& c, std::string_view text) -> result<void> {
    const auto value = parse_duration(text);
    if (!value || *value < least || *value > most) return refused();
    where(c) = *value;
    return {};
  };
  s.show = [=](const config& c) { return show_duration(read(where, c)); };
  return s;
}

setting size(std::string key, member<std::uint64_t> where, std::uint64_t least, std::uint64_t most,
             std::string meaning) {
  auto s = named(std::move(key),
                 fmt::format("bytes from {} to {} (digits, or with KiB, MiB, GiB)", show_size(least), show_size(most)),
                 std::move(meaning));
  s.schema = fmt::format(
      R"({{"type":["string","integer"],"pattern":"^[0-9]+(KiB|MiB|GiB)?$","minimum":{},"maximum":{}}})", least, most);
  s.set = [=](config& c, std::string_view text) -> result<void> {
    const auto value = parse_size(text);
    if (!value || *value < least || *value > most) return refused();
    where(c) = *value;
    return {};
  };
  s.show = [=](const config& c) { return show_size(read(where, c)); };
  return s;
}

setting count(std::string key, member<std::uint32_t> where, std::uint32_t least, std::uint32_t most,
              std::string meaning) {
  auto s = named(std::move(key), fmt::format("an integer from {} to {}", least, most), std::move(meaning));
  s.shape = value_shape::count;
  s.schema = fmt::format(R"({{"type":"integer","minimum":{},"maximum":{}}})", least, most);
  s.set = [=](config& c, std::string_view text) -> result<void> {
    const auto value = parse_count(text);
    if (!value || *value < least || *value > most) return refused();
    where(c) = static_cast<std::uint32_t>(*value);
    return {};
  };
  s.show = [=](const config& c) { return fmt::to_string(read(where, c)); };
  return s;
}

setting boolean(std::string key, member<bool> where, std::string meaning) {
  auto s = named(std::move(key), "true or false", std::move(meaning));
  s.shape = value_shape::boolean;
  s.schema = R"({"type":"boolean"})";
  s.set = [=](config& c, std::string_view text) -> result<void> {
    const auto value = parse_boolean(text);
    if (!value) return refused();
    where(c) = *value;
    return {};
  };
  s.show = [=](const config& c) { return read(where, c) ? "true" : "false"; };
  return s;
}

/// One of the words of an enum that counts from 0.
template <class Enum, std::size_t N>
setting choice(std::string key, member<Enum> where, const std::array<std::string_view, N>& words, std::string meaning) {
  auto s = named(std::move(key), fmt::format("one of {}", fmt::join(words, ", ")), std::move(meaning));
  s.schema = fmt::format(R"({{"enum":["{}"]}})", fmt::join(words, R"(",")"));
  s.set = [=](config& c, std::string_view text) -> result<void> {
    const auto found = std::find(words.begin(), words.end(), text);
    if (found == words.end()) return refused();
    where(c) = static_cast<Enum>(found - words.begin());
    return {};
  };
  s.show = [=](const config& c) { return std::string(words[static_cast<std::size_t>(read(where, c))]); };
  return s;
}

setting path(std::string key, member<std::filesystem::path> where, std::string accepted, std::string meaning) {
  auto s = named(std::move(key), std::move(accepted), std::move(meaning));
  s.set = [=](config& c, std::string_view text) -> result<void> {
    if (text.empty() || text.find('\0') != std::string_view::npos) return refused();
    std::error_code failure;
    const auto absolute = std::filesystem::absolute(std::filesystem::path(text), failure);
    if (failure) return refused("the working directory cannot be read: " + failure.message());
    where(c) = absolute.lexically_normal();
    return {};
  };
  s.show = [=](const config& c) { return read(where, c).string(); };
  return s;
}

/// A string that `acceptable` takes.
setting text(std::string key, member<std::string> where, bool (*acceptable)(std::string_view), std::string accepted,
             std::string meaning) {
  auto s = named(std::move(key), std::move(accepted), std::move(meaning));
  s.set = [=](config& c, std::string_view value) -> result<void> {
    if (!acceptable(value)) return refused();
    where(c) = value;
    return {};
  };
  s.show = [=](const config& c) { return read(where, c); };
  return s;
}

bool is_visible_ascii(std::string_view value) {
  return std::all_of(value.begin(), value.end(), [](char c) { return c > ' ' && c <= '~'; });
}

setting hidden(std::string key, member<secret> where, std::size_t least_length, std::string meaning) {
  auto s = named(std::move(key),
                 fmt::format("{} or more visible ASCII characters without spaces or line breaks", least_length),
                 std::move(meaning));
  s.flag.clear();
  s.is_secret = true;
  s.set = [=](config& c, std::string_view value) -> result<void> {
    if (value.size() < least_length || !is_visible_ascii(value)) return refused();
    where(c) = secret(std::string(value));
    return {};
  };
  s.show = [=](const config& c) { return read(where, c).empty() ? "" : "***"; };
  return s;
}

using words = std::vector<std::string>;

setting list(std::string key, member<words> where, bool commas, result<void> (*check)(const words&),
             std::string accepted, std::string meaning) {
  auto s = named(std::move(key), std::move(accepted), std::move(meaning));
  s.shape = value_shape::list;
  s.schema = R"({"type":"array","items":{"type":"string"}})";
  s.set = [=](config& c, std::string_view value) -> result<void> {
    auto items = parse_list(value, commas);
    if (!items) return refused();
    if (auto checked = check(*items); !checked) return checked;
    where(c) = std::move(*items);
    return {};
  };
  s.show = [=](const config& c) { return show_list(read(where, c)); };
  return s;
}

/// A base URL: scheme, host, perhaps port and path; no userinfo (it would be a secret in a place that is shown), query
/// or fragment.
bool is_base_url(std::string_view url) {
  constexpr std::size_t longest = 2048;
  const auto scheme = url.starts_with("https://") ? 8U : url.starts_with("http://") ? 7U : 0U;
  if (scheme == 0 || url.size() > longest || !is_visible_ascii(url)) return false;
  const auto host = url.substr(scheme, url.find('/', scheme) - scheme);
  return !host.empty() && host.front() != ':' && host.front() != '-' &&
         url.find_first_of("@?#\\\"<>", scheme) == std::string_view::npos;
}

bool is_username(std::string_view name) {
  return !name.empty() && is_visible_ascii(name) && name.find(':') == std::string_view::npos;
}

bool is_host_character(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '-' || c == ':';
}

result<void> check_hosts(const words& hosts) {
  for (const auto& host : hosts)
    if (host.empty() || host.front() == '-' || !std::all_of(host.begin(), host.end(), is_host_character))
      return refused(fmt::format("\"{}\" is not a host name or address", host));
  return {};
}

result<void> check_patterns(const words& patterns) {
  for (const auto& pattern : patterns)
    if (pattern.empty() || pattern.find_first_of(std::string_view("\n\r\0", 3)) != std::string::npos)
      return refused("a pattern is one line, and not empty");
  return {};
}

/// An agent must never see what only the daemon may know, whatever the operator lists.
bool is_kept_from_agents(std::string_view variable) {
  return variable.starts_with("TOWNKEEPER_") || variable == "GASTOWN_CONTAINER_TOKEN" || variable == "TOWN_SECRET" ||
         variable == "GIT_TOKEN" || variable == "GITLAB_TOKEN";
}

result<void> check_variable_names(const words& names) {
  const auto acceptable = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  };
  for (const auto& name : names) {
    if (name.empty() || (name.front() >= '0' && name.front() <= '9') ||
        !std::all_of(name.begin(), name.end(), acceptable))
      return refused(fmt::format("\"{}\" is not the name of a variable", name));
    if (is_kept_from_agents(name)) return refused(fmt::format("{} belongs to the daemon alone", name));
  }
  return {};
}

setting listen_setting() {
  auto s = named("listen", "ADDRESS:PORT with an IPv4 address or an IPv6 one in brackets, port 0 for any free one",
                 "Where the control server listens.");
  s.set = [](config& c, std::string_view text) -> result<void> {
    const auto colon = text.rfind(':');
    if (colon == std::string_view::npos) return refused();
    auto host = text.substr(0, colon);
    const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
    if (bracketed) host = host.substr(1, host.size() - 2);
    const std::string address(host);
    std::array<unsigned char, sizeof(in6_addr)> parsed{};
    if (::inet_pton(bracketed ? AF_INET6 : AF_INET, address.c_str(), parsed.data()) != 1) return refused();
    const auto port = parse_count(text.substr(colon + 1));
    if (!port || *port > std::numeric_limits<std::uint16_t>::max()) return refused();
    c.listen = {address, static_cast<std::uint16_t>(*port)};
    return {};
  };
  s.show = [](const config& c) {
    const bool v6 = c.listen.host.find(':') != std::string::npos;
    return v6 ? fmt::format("[{}]:{}", c.listen.host, c.listen.port)
              : fmt::format("{}:{}", c.listen.host, c.listen.port);
  };
  return s;
}

setting with_variables(setting s, std::vector<std::string> others) {
  s.other_variables = std::move(others);
  return s;
}

#define TK_MEMBER(expression) [](config& c) -> decltype(auto) { return (c.expression); }

std::vector<setting> make_settings() {
  std::vector<setting> all;
  const auto add = [&](setting s) { all.push_back(std::move(s)); };

  add(path("workspace", TK_MEMBER(workspace), "a directory", "Rigs, worktrees and .townkeeper live below it."));
  add(listen_setting());

  add(with_variables(text("town.api_url", TK_MEMBER(town.api_url), is_base_url,
                          "an http or https URL without user, query or fragment", "Base URL of the town's API."),
                     {"GASTOWN_API_URL"}));
  add(with_variables(
      text("town.id", TK_MEMBER(town.id), is_valid_id,
           "1 to 128 letters, digits, dots, dashes, underscores, the first a letter or digit, no \"..\", "
           "not ending in \".\" or \".lock\"",
           "The town this container serves."),
      {"GASTOWN_TOWN_ID"}));
  add(with_variables(hidden("town.container_token", TK_MEMBER(town.container_token), 1,
                            "The container's token; may come later by POST /refresh-token."),
                     {"GASTOWN_CONTAINER_TOKEN"}));
  add(path("town.ca_file", TK_MEMBER(town.ca_file), "a PEM file",
           "CAs for the town's https, instead of the system's."));
  add(duration("town.connect_timeout", TK_MEMBER(town.connect_timeout), 100ms, 5min, "Connecting to the town."));
  add(duration("town.request_timeout", TK_MEMBER(town.request_timeout), 1s, 10min, "One request to the town in all."));
  add(duration("town.retry_first", TK_MEMBER(town.retry_first), 1ms, 1min,
               "First pause after a failed call to the town."));
  add(duration("town.retry_max", TK_MEMBER(town.retry_max), 1ms, 10min, "The pause doubles up to this."));
  add(duration("town.heartbeat_interval", TK_MEMBER(town.heartbeat_interval), 1s, 80s,
               "Between heartbeats; after 90s without one the town takes the container for dead."));

  add(hidden("control.token", TK_MEMBER(control.token), 16,
             "What the town must send on control calls; a random one is made when not set."));
  add(text("control.url", TK_MEMBER(control.url), is_base_url, "an http or https URL without user, query or fragment",
           "Where the town reaches this container, when that is not the listen address."));

  add(duration("http.header_timeout", TK_MEMBER(http.header_timeout), 100ms, 5min,
               "A request's header must be complete by then."));
  add(duration("http.idle_timeout", TK_MEMBER(http.idle_timeout), 100ms, 1h,
               "An idle connection is closed after this."));
  add(size("http.header_limit", TK_MEMBER(http.header_limit_bytes), 1ULL << 10, 1ULL << 20,
           "Greatest request header."));
  add(size("http.body_limit", TK_MEMBER(http.body_limit_bytes), 1ULL << 10, 64ULL << 20, "Greatest request body."));
  add(count("http.max_connections", TK_MEMBER(http.max_connections), 1, 65'536, "Connections at once."));

  add(list("git.allow_http", TK_MEMBER(git.allow_http), true, check_hosts, "host names",
           "Hosts whose remotes may be plain http; loopback always may."));
  add(boolean("git.allow_file", TK_MEMBER(git.allow_file), "Whether file:// remotes are allowed."));
  add(path("git.ca_file", TK_MEMBER(git.ca_file), "a PEM file", "CAs for https remotes, instead of the system's."));
  add(duration("git.connect_timeout", TK_MEMBER(git.connect_timeout), 100ms, 5min, "Connecting to a remote."));
  add(duration("git.stall_timeout", TK_MEMBER(git.stall_timeout), 100ms, 10min,
               "A transfer without a byte for this long ends."));
  add(duration("git.attempt_timeout", TK_MEMBER(git.attempt_timeout), 1s, 24h, "One fetch in all."));
  add(text("git.username", TK_MEMBER(git.username), is_username, "visible ASCII characters without \":\"",
           "Goes with git.token; oauth2 where that came from GITLAB_TOKEN."));
  add(with_variables(hidden("git.token", TK_MEMBER(git.token), 1, "For rigs whose token the town does not hold."),
                     {"GIT_TOKEN", "GITLAB_TOKEN"}));

  add(count("restore.network_jobs", TK_MEMBER(restore.network_jobs), 1, 256, "Fetches at once, one per rig."));
  add(count("restore.disk_jobs", TK_MEMBER(restore.disk_jobs), 0, 256, "Worktrees written at once; 0: one per core."));
  add(count("restore.attempts", TK_MEMBER(restore.attempts), 1, 100, "Fetches of a rig before it settles as failed."));
  add(duration("restore.backoff_first", TK_MEMBER(restore.backoff_first), 1ms, 1min,
               "First pause after a failed fetch."));
  add(duration("restore.backoff_max", TK_MEMBER(restore.backoff_max), 1ms, 1h, "The pause doubles up to this."));
  add(duration("restore.retry_failed", TK_MEMBER(restore.retry_failed), 1s, 24h,
               "What settled as failed is tried again after this."));
  add(duration("restore.no_byte_limit", TK_MEMBER(restore.no_byte_limit), 1s, 1h,
               "A rig without any byte for this long settles as failed."));

  add(count("supervision.intensity", TK_MEMBER(supervision.intensity), 1, 1'000,
            "Crashes within the window before an actor has failed."));
  add(duration("supervision.window", TK_MEMBER(supervision.window), 1s, 1h, "The window of supervision.intensity."));
  add(duration("supervision.backoff_first", TK_MEMBER(supervision.backoff_first), 1ms, 1min,
               "First pause before a restart."));
  add(duration("supervision.backoff_max", TK_MEMBER(supervision.backoff_max), 1ms, 1h,
               "The pause doubles up to this."));
  add(duration("supervision.retry_failed", TK_MEMBER(supervision.retry_failed), 1s, 24h,
               "A failed actor is started again after this."));

  add(boolean("protect.enabled", TK_MEMBER(protect.enabled), "Whether uncommitted and unpushed work is saved."));
  add(duration(
      "protect.push_interval", TK_MEMBER(protect.push_interval), 100ms, 1h,
      "Between the starts of two pushes of a rig's recovery points; what a sudden death loses at most, plus one "
      "push."));
  add(duration("protect.quiet", TK_MEMBER(protect.quiet), 0ms, 1min,
               "A push is wanted when nothing has changed for this long."));
  add(duration("protect.latest", TK_MEMBER(protect.latest), 100ms, 10min,
               "A push is wanted this long after the first change, quiet or not."));
  add(duration("protect.poll_interval", TK_MEMBER(protect.poll_interval), 100ms, 1h,
               "How often a worktree is looked at where the kernel has no watch to give."));
  add(duration("protect.backoff_first", TK_MEMBER(protect.backoff_first), 1ms, 1min,
               "First pause after a save that failed."));
  add(duration("protect.backoff_max", TK_MEMBER(protect.backoff_max), 1ms, 1h, "Greatest pause between such saves."));
  add(size("protect.file_limit", TK_MEMBER(protect.file_limit_bytes), 1ULL << 10, 16ULL << 30,
           "A larger file is left out of a recovery point, and listed."));
  add(size("protect.point_limit", TK_MEMBER(protect.point_limit_bytes), 1ULL << 20, 64ULL << 30,
           "New content in one recovery point; what is beyond it is left out, and listed."));
  add(count("protect.untracked_limit", TK_MEMBER(protect.untracked_limit), 0, 10'000'000,
            "Untracked files in one recovery point; the others are left out, and listed."));
  add(list("protect.include", TK_MEMBER(protect.include), true, check_patterns, "patterns as in a .gitignore",
           "Ignored files that are saved all the same."));
  add(duration("protect.save_deadline", TK_MEMBER(protect.save_deadline), 1s, 5min,
               "One agent's save when the container is to end, or on demand."));

  add(list("agents.command", TK_MEMBER(agents.command), false, check_agent_command,
           fmt::format("a JSON array of strings; placeholders {{{}}}", fmt::join(agent_command_placeholders(), "}, {")),
           "What runs for an agent, without a shell."));
  add(duration("agents.stop_grace", TK_MEMBER(agents.stop_grace), 0ms, 1h, "From SIGTERM to SIGKILL."));
  add(duration("agents.drain_limit", TK_MEMBER(agents.drain_limit), 0ms, 24h,
               "How long agents may take to end when the container is to end; their work is saved before and after."));
  add(size("agents.log_max_size", TK_MEMBER(agents.log_max_bytes), 4ULL << 10, 1ULL << 30,
           "Greatest size of one log file of an agent."));
  add(count("agents.log_files", TK_MEMBER(agents.log_files), 1, 100, "Log files kept per agent."));
  add(list("agents.environment", TK_MEMBER(agents.environment), true, check_variable_names,
           "names of variables, none that holds a secret of the daemon",
           "Variables of the daemon that agents get as well."));

  add(choice<log_format, 2>("log.format", TK_MEMBER(log.format), {"json", "text"}, "Form of the log on stderr."));
  add(choice<log_level, 4>("log.level", TK_MEMBER(log.level), {"debug", "info", "warn", "error"},
                           "Least level that is written."));

  const config defaults;
  for (auto& s : all)
    s.default_text = s.show(defaults);
  return all;
}

#undef TK_MEMBER

} // namespace

const std::vector<setting>& settings() {
  static const auto all = make_settings();
  return all;
}

} // namespace townkeeper::config
