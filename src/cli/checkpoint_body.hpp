#pragma once

#include <string>
#include <string_view>

#include "core/error.hpp"

namespace townkeeper::cli {

/// The body of `POST /checkpoint` for what was given to gt_checkpoint: one JSON value as it stands; other text as a
/// JSON string, always so with `as_text`. `invalid_argument` for nothing at all, for text that begins like a JSON
/// object or array and is none, and for text that is not UTF-8.
result<std::string> checkpoint_body(std::string_view given, bool as_text);

/// The `data` of the first entry of a checkpoint history, byte for byte as the town wrote it (it may hold numbers that
/// no double can); `null` where there is no entry. `corrupt` where `history` is none.
result<std::string> newest_checkpoint(std::string_view history);

} // namespace townkeeper::cli
