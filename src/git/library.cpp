#include <git2.h>

#include "git/fetch_stream.hpp"
#include "git/git_error.hpp"
#include "git/jobs.hpp"

namespace townkeeper::git {
namespace {

/// libgit2's object cache is one for the process; trees and commits live in it, never blobs.
constexpr ssize_t object_cache_bytes = ssize_t{32} * 1024 * 1024;
/// Mapped windows of packs count as resident memory: with 64 rigs the default (1 GiB windows) would.
constexpr std::size_t pack_window_bytes = std::size_t{32} * 1024 * 1024;
constexpr std::size_t pack_mapped_bytes = std::size_t{256} * 1024 * 1024;

} // namespace

result<void> initialise_library(const library_options& options) {
  static const int initialised = git_libgit2_init(); // never shut down: abandoned workers may still be inside
  if (initialised < 0) return last_error(initialised, "libgit2");
  for (const int code : {
           git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0), // a workspace volume may belong to another uid
           git_libgit2_opts(GIT_OPT_SET_CACHE_MAX_SIZE, object_cache_bytes),
           git_libgit2_opts(GIT_OPT_SET_MWINDOW_SIZE, pack_window_bytes),
           git_libgit2_opts(GIT_OPT_SET_MWINDOW_MAPPED_LIMIT, pack_mapped_bytes),
           git_libgit2_opts(GIT_OPT_SET_USER_AGENT, "townkeeper"),
       })
    if (code < 0) return last_error(code, "libgit2");
  if (const auto loaded = use_certificates(options.ca_file); !loaded) return loaded.error();
  return register_streams();
}

} // namespace townkeeper::git
