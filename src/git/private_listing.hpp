#pragma once

#include <git2.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "git/descriptor.hpp"

/// What lies in a private object store, by names and sizes alone.
namespace townkeeper::git {

/// Thousands of them are listed after each save: a name of their own for each would leave the heap in pieces.
struct loose_object {
  git_oid id{};
  std::int64_t bytes = 0, modified_s = 0;

  std::string file() const; ///< below the store
};

struct listed_pack {
  std::string stem; ///< `pack/pack-…`, below the store; the files are `<stem>.pack` and `<stem>.idx`
  std::size_t objects = 0;
  std::int64_t bytes = 0, modified_s = 0;
};

struct store_listing {
  std::vector<loose_object> loose;
  std::vector<listed_pack> packs;
  std::vector<std::string> leftovers; ///< of crashes, an hour old and more: temporary files, packs without an index

  std::size_t objects() const;
  std::int64_t bytes() const;
};

/// `now_s`: since 1970. What goes meanwhile is passed over. Errors: `disk`.
result<store_listing> list_store(const descriptor& store, std::int64_t now_s);

/// The objects of a pack, by its index. Errors: `disk`, `corrupt`.
result<std::vector<git_oid>> objects_of_pack(const std::filesystem::path& index);

} // namespace townkeeper::git
