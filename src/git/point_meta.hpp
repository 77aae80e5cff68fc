#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"
#include "town/model.hpp"

/// The two documents of a recovery point's tree (docs/recovery.md). Names and paths are bytes here; in the documents,
/// one that is not UTF-8 or holds `%` is percent-encoded.
namespace townkeeper::git {

/// meta.json.
struct point_meta {
  town::recovery_point point; ///< its `commit` is not in the document: it is the commit the document lies in
  std::string identity;
  std::vector<town::left_out_file> left_out;
};
inline constexpr int point_format = 1;

std::string encode_meta(const point_meta& meta);

/// `commit` is where the document was found. Errors: `corrupt`, `unsupported` (a later format).
result<point_meta> decode_meta(std::string_view json, const std::string& commit);

/// refs.json.
struct point_refs {
  std::map<std::string, std::string> operation; ///< why → id
  std::map<std::string, std::string> refs;      ///< full name → id
  std::vector<std::string> stash;               ///< newest first
};

std::string encode_refs(const point_refs& refs);

/// Errors: `corrupt`.
result<point_refs> decode_refs(std::string_view json);

/// `bytes` itself where it is UTF-8 without `%`, control characters and quotes left to JSON; else `%` and every byte
/// beyond ASCII as `%XX`.
std::string percent_encoded(std::string_view bytes);

/// The reverse; a `%` that no two hexadecimal digits follow stands for itself.
std::string percent_decoded(std::string_view text);

} // namespace townkeeper::git
