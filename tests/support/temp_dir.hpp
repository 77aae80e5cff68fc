#pragma once

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

namespace townkeeper::test {

/// A directory of its own under the system's temporary directory, removed with all it holds when it goes out of scope.
class temp_dir {
public:
  /// `name` only makes it recognizable: `<tmp>/townkeeper-<name>-XXXXXX`.
  explicit temp_dir(std::string_view name = "test") {
    std::string pattern =
        (std::filesystem::temp_directory_path() / ("townkeeper-" + std::string{name} + "-XXXXXX")).string();
    if (mkdtemp(pattern.data()) == nullptr)
      throw std::system_error{errno, std::generic_category(), "mkdtemp " + pattern};
    path_ = pattern;
  }

  temp_dir(const temp_dir&) = delete;
  temp_dir& operator=(const temp_dir&) = delete;

  ~temp_dir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  const std::filesystem::path& path() const noexcept { return path_; }

private:
  std::filesystem::path path_;
};

} // namespace townkeeper::test
