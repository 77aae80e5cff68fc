#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace townkeeper::test {

/// The bytes of a file, up to where it can be read; empty where there is none.
inline std::string bytes_of(const std::filesystem::path& file) {
  std::ifstream in{file, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}

} // namespace townkeeper::test
