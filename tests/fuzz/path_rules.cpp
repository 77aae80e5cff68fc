// Names of a tree: what is accepted stays below the worktree and is `.git` on no file system.

#include <string>

#include "git/path_rules.hpp"
#include "tests/fuzz/dot_git.hpp"
#include "tests/fuzz/property.hpp"

using namespace townkeeper;
using fuzz::require;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr git::entry_kind kinds[] = {git::entry_kind::file, git::entry_kind::symlink, git::entry_kind::directory,
                                       git::entry_kind::submodule};
  if (size == 0) return 0;
  const auto name = fuzz::bytes_of(data + 1, size - 1);
  const auto shown = git::printable(name);
  require(shown.find_first_of("\r\n\0", 0, 3) == std::string::npos, "what is shown of a name stays on one line");
  const auto checked = git::check_entry_name(name, kinds[data[0] % 4], name);
  if (!checked) return 0;
  require(!name.empty() && name != "." && name != "..", "a name stays in its directory");
  require(name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos,
          "a name is one segment");
  require(!fuzz::means_dot_git(name), "a name is .git on no file system");
  return 0;
}
