#pragma once

#include <optional>
#include <string>

#include "core/error.hpp"
#include "git/checkout_conversion.hpp"
#include "git/index_writer.hpp"
#include "git/object_cache.hpp"
#include "git/tree_reader.hpp"

namespace townkeeper::git {

/// Compares what stands on the disk with what a checkout would write there, byte by byte. Belongs to one thread.
class file_comparison {
public:
  file_comparison(object_store& objects, checkout_conversion& conversion)
      : objects_(objects)
      , conversion_(conversion) {}

  /// The stamp of `leaf` in `directory` when it is what the checkout of `entry` gives (kind, executable bit, bytes; of
  /// a submodule a directory); nothing when it is something else or not there. Errors: `corrupt` when the object cannot
  /// be read, `disk` when the file cannot.
  result<std::optional<file_stamp>> stamp_if_same(int directory, const char* leaf, const manifest_entry& entry);

private:
  result<bool> holds(int directory, const char* leaf, const manifest_entry& entry, std::string_view expected);

  object_store& objects_;
  checkout_conversion& conversion_;
  std::string buffer_;
};

} // namespace townkeeper::git
