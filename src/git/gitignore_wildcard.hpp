#pragma once

#include <string_view>

namespace townkeeper::git {

enum class letter_case { exact, folded };

/// True when `text`, a path or one name of it, matches the whole of `pattern` as git has it: `*`, `?` and brackets
/// match no slash, `**` between slashes any number of directories, `\` takes the next character as it is. What git
/// does not understand (an open bracket, an unknown class) matches nothing. Takes time in proportion to a power of the
/// lengths, whatever the pattern.
bool gitignore_wildcard(std::string_view pattern, std::string_view text, letter_case letters);

} // namespace townkeeper::git
