#pragma once

#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>

namespace townkeeper::contract {

/// The root of the checkout that this suite was built from.
inline std::filesystem::path source_dir() {
  return TOWNKEEPER_SOURCE_DIR;
}

/// A whole file of the checkout; throws when it cannot be read.
inline std::string read_file(const std::string& path) {
  std::ifstream file{source_dir() / path, std::ios::binary};
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) throw std::runtime_error{path + " cannot be read"};
  return text.str();
}

} // namespace townkeeper::contract
