#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace townkeeper::test {

/// Looks for secrets, each in every form in which it could be written down: as it is, percent-encoded, and in base64
/// (both alphabets) wherever in its group of three bytes it begins, as behind the user's name of HTTP Basic. What is
/// found is named, not shown: `health: git token (base64)`.
class secret_search {
public:
  /// One text that was looked for in: where it comes from, and what it says.
  struct found_text {
    std::string where, text;
  };

  /// `value` of at least 8 bytes; a marker that nothing else holds.
  void add(const std::string& name, const std::string& value);

  std::vector<std::string> in(const std::string& where, std::string_view text) const;
  std::vector<std::string> in(const std::vector<found_text>& texts) const;
  /// All regular files below `root`, and the names of all that is there. What goes away meanwhile is passed over.
  std::vector<std::string> in_files(const std::filesystem::path& root) const;
  /// Every object of every object directory below `root` (repositories and private stores), unpacked; ref names too.
  /// `looked_at` gets how many objects there were.
  std::vector<std::string> in_objects(const std::filesystem::path& root, std::size_t& looked_at) const;

private:
  struct form {
    std::string name, bytes;
  };
  std::vector<form> forms_;
};

/// Appends to `file` the command line and the environment of every process of this machine, as `read_processes` takes
/// them. A script of /bin/sh, for a hook or an agent that runs while others do.
std::string note_processes_script(const std::filesystem::path& file);

/// A process as the script has seen it.
struct noted_process {
  int pid = 0;
  std::vector<std::string> arguments, environment;

  /// True where a variable of this name is in its environment.
  bool has_variable(std::string_view name) const;
};

std::vector<noted_process> read_processes(const std::filesystem::path& file);

} // namespace townkeeper::test
