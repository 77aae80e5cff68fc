#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "core/error.hpp"
#include "git/descriptor.hpp"

namespace townkeeper {

/// The output of one process on disk, in at most `files` files of at most `max_bytes` each: `log`, `log.1` (the one
/// before), … Mode 0600. One thread at a time.
class rotated_log {
public:
  /// Goes on at the end of the log that is there. Makes missing directories (0700), removes older files beyond `files`.
  /// `disk`, or `invalid_argument` where the name is a symbolic link or no regular file.
  static result<rotated_log> open(const std::filesystem::path& log, std::uint64_t max_bytes, std::uint32_t files);

  /// Appends. A file is cut after a line where that is possible. 0, or the errno for which something was dropped: the
  /// next call tries again.
  int append(std::string_view output);

private:
  int open_current();
  int rotate();
  std::string numbered(std::uint32_t n) const;

  git::descriptor directory_, current_;
  std::string name_;
  std::uint64_t max_bytes_ = 0, size_bytes_ = 0;
  std::uint32_t files_ = 1;
};

} // namespace townkeeper
