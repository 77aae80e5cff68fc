#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace townkeeper::bench {

struct sample_shape {
  std::uint32_t files = 2577;
  std::uint32_t commits = 1255; ///< of the default branch; each changes a few files
  std::uint32_t branches = 1;   ///< `work/0` …, one commit each on top of the default branch
  std::uint64_t seed = 1;
};

/// Makes a bare repository at `where` that can be served: text files of 0.2 to 20 KiB (mean about 5) in nested
/// directories, some executable, some symbolic links; the same for the same shape. Throws when git fails.
void make_sample_repository(const std::filesystem::path& where, const sample_shape& shape);

/// `work/<number>`
std::string sample_branch(std::uint32_t number);

} // namespace townkeeper::bench
