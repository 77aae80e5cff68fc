#include "git/private_listing.hpp"

#include <fcntl.h>
#include <git2/odb_backend.h>
#include <git2/sys/odb_backend.h>
#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "git/git_error.hpp"
#include "git/object_id.hpp"

namespace townkeeper::git {
namespace {

constexpr std::int64_t leftover_seconds = 3600;
/// gitformat-pack(5), version 2: what an index holds beside its objects, and for each (below 2 GiB).
constexpr std::int64_t index_frame_bytes = 8 + 256 * 4 + 2 * 20;
constexpr std::int64_t index_entry_bytes = 20 + 4 + 4;

bool is_hex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::optional<struct stat> look_at(const descriptor& directory, const std::string& name) {
  struct stat st {};
  if (::fstatat(directory.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) return std::nullopt;
  return st;
}

result<void> list_loose(const descriptor& store, const std::string& name, std::vector<loose_object>& into) {
  auto directory = open_directory(store.get(), name.c_str(), name);
  if (!directory) return {};
  const auto names = list_directory(directory->get(), name);
  if (!names) return names.error();
  for (const auto& each : *names) {
    const auto id = parse_oid(name + each);
    const auto st = look_at(*directory, each);
    if (id && st) into.push_back({*id, st->st_size, st->st_mtim.tv_sec});
  }
  return {};
}

result<void> list_packs(const descriptor& store, std::int64_t now_s, store_listing& into) {
  const std::string pack = "pack";
  auto directory = open_directory(store.get(), pack.c_str(), pack);
  if (!directory) return {};
  auto listed = list_directory(directory->get(), pack);
  if (!listed) return listed.error();
  const std::set<std::string> names(listed->begin(), listed->end());
  for (const auto& name : names) {
    const auto st = look_at(*directory, name);
    if (!st) continue;
    const auto stem = name.substr(0, name.rfind('.'));
    const bool is_pack = name.ends_with(".pack");
    if (is_pack && names.contains(stem + ".idx")) {
      const auto index = look_at(*directory, stem + ".idx");
      if (!index) continue;
      const auto objects = std::max<std::int64_t>(0, index->st_size - index_frame_bytes) / index_entry_bytes;
      into.packs.push_back(
          {pack + '/' + stem, static_cast<std::size_t>(objects), st->st_size + index->st_size, st->st_mtim.tv_sec});
    } else if ((is_pack || name.starts_with("tmp_")) && now_s - st->st_mtim.tv_sec >= leftover_seconds) {
      into.leftovers.push_back(pack + '/' + name);
    }
  }
  return {};
}

struct free_backend {
  void operator()(git_odb_backend* backend) const noexcept { backend->free(backend); }
};

} // namespace

std::string loose_object::file() const {
  return to_hex(id).insert(2, 1, '/');
}

std::size_t store_listing::objects() const {
  auto count = loose.size();
  for (const auto& each : packs)
    count += each.objects;
  return count;
}

std::int64_t store_listing::bytes() const {
  std::int64_t sum = 0;
  for (const auto& each : loose)
    sum += each.bytes;
  for (const auto& each : packs)
    sum += each.bytes;
  return sum;
}

result<store_listing> list_store(const descriptor& store, std::int64_t now_s) {
  store_listing listing;
  const auto directories = list_directory(store.get(), "private objects");
  if (!directories) return directories.error();
  for (const auto& each : *directories)
    if (each.size() == 2 && is_hex(each))
      if (auto done = list_loose(store, each, listing.loose); !done) return done.error();
  if (auto done = list_packs(store, now_s, listing); !done) return done.error();
  return listing;
}

result<std::vector<git_oid>> objects_of_pack(const std::filesystem::path& index) {
  std::vector<git_oid> ids;
  git_odb_backend* opened = nullptr;
  if (const auto rc = git_odb_backend_one_pack(&opened, index.c_str()); rc != 0)
    return object_error(rc, index.native());
  const std::unique_ptr<git_odb_backend, free_backend> pack(opened);
  const auto add = [](const git_oid* id, void* to) {
    static_cast<std::vector<git_oid>*>(to)->push_back(*id);
    return 0;
  };
  if (const auto rc = pack->foreach (pack.get(), add, &ids); rc != 0) return object_error(rc, index.native());
  return ids;
}

} // namespace townkeeper::git
