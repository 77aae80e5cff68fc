#include "cli/own_process.hpp"

#include <sys/prctl.h>
#include <sys/stat.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TOWNKEEPER_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TOWNKEEPER_SANITIZED 1
#endif
#endif

namespace townkeeper::cli {

void keep_memory_private() noexcept {
#ifndef TOWNKEEPER_SANITIZED
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); // cannot fail with these arguments
#endif
}

void forbid_writing_by_others() noexcept {
  const auto given = ::umask(S_IWGRP | S_IWOTH);
  ::umask(given | S_IWGRP | S_IWOTH);
}

} // namespace townkeeper::cli
