#include "config/agent_command.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace townkeeper::config {
namespace {

constexpr std::array<std::string_view, 14> placeholders{
    "agentId",  "rigId",  "townId",     "dispatchId",       "name",     "role", "identity", "model", "branch",
    "worktree", "prompt", "promptFile", "systemPromptFile", "primeFile"};

bool is_letter(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/// The name when `text` begins with a placeholder (`{name}`), else empty.
std::string_view placeholder_at(std::string_view text) noexcept {
  if (!text.starts_with('{')) return {};
  const auto end = text.find('}');
  if (end == std::string_view::npos) return {};
  const auto name = text.substr(1, end - 1);
  return std::all_of(name.begin(), name.end(), is_letter) ? name : std::string_view{};
}

/// Calls `on_text` and `on_name` for the pieces of one argument, in order.
template <class OnText, class OnName>
void walk(std::string_view argument, OnText on_text, OnName on_name) {
  while (!argument.empty()) {
    if (const auto name = placeholder_at(argument); !name.empty()) {
      on_name(name);
      argument.remove_prefix(name.size() + 2);
    } else {
      on_text(argument.front());
      argument.remove_prefix(1);
    }
  }
}

} // namespace

std::span<const std::string_view> agent_command_placeholders() noexcept {
  return placeholders;
}

result<void> check_agent_command(const std::vector<std::string>& command) {
  constexpr auto object = "agents.command";
  if (!command.empty() && command.front().empty())
    return error{error_code::invalid_config, object, "the program's name, its first item, is empty"};
  std::string unknown;
  for (const auto& argument : command) {
    if (argument.find('\0') != std::string::npos)
      return error{error_code::invalid_config, object, "an argument holds a NUL byte, which no program can receive"};
    walk(
        argument, [](char) {},
        [&](std::string_view name) {
          if (std::find(placeholders.begin(), placeholders.end(), name) == placeholders.end()) unknown = name;
        });
  }
  if (unknown.empty()) return {};
  return error{error_code::invalid_config, object,
               fmt::format("{{{}}} is no placeholder; known are {{{}}}", unknown, fmt::join(placeholders, "}, {"))};
}

std::vector<std::string> expand_agent_command(const std::vector<std::string>& command,
                                              const std::map<std::string, std::string, std::less<>>& values) {
  std::vector<std::string> out;
  for (const auto& argument : command) {
    auto& expanded = out.emplace_back();
    walk(
        argument, [&](char c) { expanded += c; },
        [&](std::string_view name) {
          if (const auto found = values.find(name); found != values.end()) expanded += found->second;
        });
  }
  return out;
}

} // namespace townkeeper::config
