#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"

/// The argv template of `agents.command`. A placeholder is a name of letters between braces (`{branch}`), anywhere in
/// an argument; braces around anything else stand for themselves, so that JSON can be passed. No shell sees the result.
namespace townkeeper::config {

/// The names that may stand between braces, without them.
std::span<const std::string_view> agent_command_placeholders() noexcept;

/// `invalid_config` when an argument names an unknown placeholder or holds a NUL byte, or when the program's name is
/// empty.
result<void> check_agent_command(const std::vector<std::string>& command);

/// The argv for one agent: each placeholder of a checked command replaced by its value, once (a value's own braces are
/// left alone); a name without a value becomes empty.
std::vector<std::string> expand_agent_command(const std::vector<std::string>& command,
                                              const std::map<std::string, std::string, std::less<>>& values);

} // namespace townkeeper::config
