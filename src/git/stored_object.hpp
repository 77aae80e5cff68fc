#pragma once

#include <git2.h>

#include <filesystem>
#include <string_view>

#include "core/error.hpp"

/// Loose objects that are not compressed: what an archive, an image or other noise holds gets no smaller, and deflating
/// it at 40 MB/s is most of what a snapshot of it would take.
namespace townkeeper::git {

/// True where samples of the bytes look like noise. Text and tables never do; wrongly true costs disk, nothing else.
bool looks_compressed(std::string_view bytes) noexcept;

/// Writes `<objects>/xx/…` as git and libgit2 read it (RFC 1950 and 1951, blocks of stored bytes), by temporary and
/// rename, not synced. Errors: `disk`.
result<void> write_stored_object(const std::filesystem::path& objects, const git_oid& id, std::string_view bytes,
                                 git_object_t type);

} // namespace townkeeper::git
