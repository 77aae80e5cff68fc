#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "core/error.hpp"
#include "git/checkout_conversion.hpp"
#include "git/directory_stack.hpp"
#include "git/index_writer.hpp"
#include "git/jobs.hpp"
#include "git/object_cache.hpp"
#include "git/tree_reader.hpp"

namespace townkeeper::git {

/// Tells an observer how far a job is: each new step at once, files at most ten times a second.
class progress_reporter {
public:
  progress_reporter(const worktree_observer& observe, worktree_step step)
      : observe_(observe) {
    now_at_.step = step;
  }

  void begin(worktree_step step, std::int64_t files_total);
  void file_done();
  void finish();

private:
  static constexpr std::chrono::milliseconds least_interval{100};
  static constexpr std::int64_t files_per_look = 8; ///< at the clock

  void tell();

  const worktree_observer& observe_;
  worktree_progress now_at_;
  std::chrono::steady_clock::time_point last_told_{};
};

/// Writes the files of a commit below an open directory: `openat` with O_EXCL and O_NOFOLLOW, no path resolved twice,
/// the stamp for the index taken from the descriptor while it is open. Belongs to one thread.
class worktree_writer {
public:
  worktree_writer(object_store& objects, checkout_conversion& conversion, const cancel_flag& cancel)
      : objects_(objects)
      , conversion_(conversion)
      , cancel_(cancel) {}

  using written_observer = std::function<void(const manifest_entry&, const file_stamp&)>;

  /// Writes every path of `files` into the empty directory `root` and tells `written` of each, in the order of
  /// `files.entries`. Errors: `cancelled`, `disk`, `corrupt`, `invalid_argument`; what was written is then for the
  /// caller to remove.
  result<void> write_all_into(int root, const manifest& files, progress_reporter& progress,
                              const written_observer& written = {});

  /// Writes one path as `leaf` into `directory`, where nothing of that name exists.
  result<file_stamp> write_one(int directory, const char* leaf, const manifest_entry& entry);

private:
  result<file_stamp> write(int directory, const char* leaf, const manifest_entry& entry);
  result<file_stamp> write_file(int directory, const char* leaf, const manifest_entry& entry);
  result<file_stamp> write_symlink(int directory, const char* leaf, const manifest_entry& entry);
  result<file_stamp> make_submodule_directory(int directory, const char* leaf, const manifest_entry& entry);

  object_store& objects_;
  checkout_conversion& conversion_;
  const cancel_flag& cancel_;
  std::string buffer_;
  closing_batch closing_; ///< what was written; empty after a call that succeeded
};

} // namespace townkeeper::git
