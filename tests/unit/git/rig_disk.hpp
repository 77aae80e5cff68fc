#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "git/jobs.hpp"
#include "tests/support/git_cli.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/core/result_printer.hpp"

namespace townkeeper::test {

/// A workspace with room for rigs, and jobs for them with short deadlines.
class rig_disk {
public:
  /// The first one makes the git layer ready for this process.
  rig_disk();

  /// A job for `url` with `main` as default branch; what differs is set by the test.
  git::repository_job job(const std::string& url, std::vector<std::string> branches = {}) const;

  const std::filesystem::path& workspace() const noexcept { return dir_.path(); }
  std::filesystem::path rig(const std::string& id = "r1") const { return dir_.path() / "rigs" / id; }
  std::filesystem::path repository(const std::string& id = "r1") const { return rig(id) / "repo.git"; }

private:
  temp_dir dir_{"rig"};
};

/// Restores without watching.
result<git::repository_restored> restore(const git::repository_job& job);

/// The names of all refs of a repository, sorted.
std::vector<std::string> ref_names(const std::filesystem::path& repository);

/// True when `git fsck` finds nothing wrong.
bool is_sound(const std::filesystem::path& repository);

/// Path, inode, size, modification and change time of everything below a directory, one line each.
std::vector<std::string> traces(const std::filesystem::path& directory);
/// The lines of `traces` that have come, gone or changed since, one per line of the text; empty: nothing was written.
std::string changes_since(const std::vector<std::string>& before, const std::filesystem::path& directory);

/// The only file below `directory` that ends in `suffix`. Throws when there is none or more than one.
std::filesystem::path only_file(const std::filesystem::path& directory, const std::string& suffix);

std::string read(const std::filesystem::path& file);
void write(const std::filesystem::path& file, const std::string& content);

/// Inverts one bit of the byte at `offset` (negative: from the end).
void flip_byte(const std::filesystem::path& file, long offset);

/// So many bytes that do not compress, the same for a seed.
std::string noise(std::size_t bytes, unsigned seed = 1);

} // namespace townkeeper::test
