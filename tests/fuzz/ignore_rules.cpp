// git's ignore rules: an agent's .gitignore is read by us, and no pattern may hang or crash the daemon.

#include <algorithm>
#include <string>
#include <vector>

#include "git/gitignore.hpp"
#include "git/gitignore_wildcard.hpp"
#include "git/include_patterns.hpp"
#include "tests/fuzz/property.hpp"

using namespace townkeeper;
using fuzz::require;

/// Up to the first NUL: a path; then: patterns.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto input = fuzz::bytes_of(data, size);
  const auto end = std::min(input.find('\0'), input.size());
  const auto path = input.substr(0, end);
  const auto bytes = input.substr(std::min(end + 1, input.size()));
  const auto patterns = git::parse_gitignore(bytes);
  require(patterns.size() <= static_cast<std::size_t>(std::count(bytes.begin(), bytes.end(), '\n')) + 1,
          "a line is at most one pattern");
  std::vector<std::string> texts;
  for (const auto& pattern : patterns) {
    require(pattern.literal <= pattern.text.size(), "what is literal is part of the pattern");
    const bool exact = git::gitignore_wildcard(pattern.text, path, git::letter_case::exact);
    const bool plain = pattern.text.find_first_of("*?[\\") == std::string::npos;
    require(!plain || exact == (pattern.text == path), "without wildcards a pattern matches itself alone");
    (void)git::gitignore_wildcard(pattern.text, path, git::letter_case::folded);
    texts.push_back(pattern.text);
  }
  const git::include_patterns included(texts);
  (void)included.matches(path, false);
  (void)included.may_match_below(path);
  return 0;
}
