#pragma once

#include <map>
#include <string>
#include <string_view>

#include "core/error.hpp"
#include "git/apply_layers.hpp"
#include "git/index_writer.hpp"

namespace townkeeper::git {

/// Path → what was written there and the stamp of it.
struct written_file {
  const manifest_entry* entry = nullptr;
  file_stamp stamp;
};
using written_files = std::map<std::string_view, written_file>;

struct point_index {
  std::string bytes; ///< of the index file
  std::size_t entries = 0;
};

/// The index a point was taken from: its entries with stages and flags, an entry stamped where the file in `written` is
/// exactly what the entry says, and left for git to look at anywhere else. Errors: `corrupt` when the point's own index
/// cannot be read, `unsupported` when it is of a kind not known here.
result<point_index> index_of_point(object_store& objects, const point_layers& layers, const point_files& files,
                                   const written_files& written, const cancel_flag& cancel);

} // namespace townkeeper::git
