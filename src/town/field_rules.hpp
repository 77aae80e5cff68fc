#pragma once

#include <string_view>

/// What a string from the wire may hold. Each rule says what is wrong, or nullptr. Names become parts of paths, refs
/// and commits, so that a hostile one is refused here, before any file or socket is touched (FAULTS.md, 32).
namespace townkeeper::town {

using field_rule = const char* (*)(std::string_view);

const char* any_text(std::string_view text) noexcept;
const char* not_empty(std::string_view text) noexcept;
const char* one_line(std::string_view text) noexcept; ///< at least one character, no control character
const char* valid_id(std::string_view text) noexcept;
const char* valid_branch(std::string_view text) noexcept;
const char* valid_ref(std::string_view text) noexcept; ///< a full ref: `refs/` and what git-check-ref-format(1) takes
const char* recovery_ref(std::string_view text) noexcept;  ///< a full ref below `refs/townkeeper/`
const char* full_commit(std::string_view text) noexcept;   ///< 40 or 64 lower-case hexadecimal digits
const char* identity_line(std::string_view text) noexcept; ///< `Name <email>`, or a name without angle brackets
const char*
header_word(std::string_view text) noexcept; ///< visible ASCII without spaces, at most 4,096 bytes: fits a header

/// The shape alone: no white space, control character, leading `-` or user name, and a scheme or an absolute path. What
/// may be spoken to is the git layer's decision (`git::check_url`).
const char* url_shape(std::string_view text) noexcept;

} // namespace townkeeper::town
