#pragma once

#include <filesystem>

#include "core/error.hpp"

namespace townkeeper::git {

/// Says by name what this repository uses that libgit2 cannot open or that we do not restore: SHA-256 objects,
/// reftable, partial clone, shallow history, any extension unknown to us (git-config(1), "extensions.*"). Reads
/// `config` and `shallow` only. Errors: `unsupported`; `corrupt` when the configuration cannot be parsed; `not_found`
/// when there is none.
result<void> check_features(const std::filesystem::path& repository);

} // namespace townkeeper::git
