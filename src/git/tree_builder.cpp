#include "git/tree_builder.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <utility>

#include "git/git_error.hpp"
#include "git/object_id.hpp"
#include "git/tree_reader.hpp"

namespace townkeeper::git {
namespace {

using items = std::map<std::string, tree_item, std::less<>>;

error damaged(const git_oid& id) {
  return {error_code::corrupt, to_hex(id), "is no tree that can be read"};
}

/// git orders a tree as if the name of a directory ended in a slash.
bool comes_before(const std::pair<std::string_view, tree_item>& a, const std::pair<std::string_view, tree_item>& b) {
  const auto length = std::min(a.first.size(), b.first.size());
  if (const int order = a.first.substr(0, length).compare(b.first.substr(0, length)); order != 0) return order < 0;
  const auto next = [length](const auto& entry) -> int {
    if (entry.first.size() > length) return static_cast<unsigned char>(entry.first[length]);
    return entry.second.mode == mode_directory ? '/' : 0;
  };
  return next(a) < next(b);
}

std::string serialise(const items& entries) {
  std::vector<std::pair<std::string_view, tree_item>> ordered(entries.begin(), entries.end());
  std::sort(ordered.begin(), ordered.end(), comes_before);
  std::string out;
  for (const auto& [name, item] : ordered) {
    out += fmt::format("{:o} ", item.mode);
    out += name;
    out += '\0';
    out.append(reinterpret_cast<const char*>(item.id.id), GIT_OID_SHA1_SIZE);
  }
  return out;
}

} // namespace

std::uint32_t canonical_mode(std::uint32_t mode) noexcept {
  if (mode == mode_directory || mode == mode_symlink || mode == mode_submodule) return mode;
  return (mode & 0100U) != 0 ? mode_executable : mode_file;
}

result<std::vector<tree_line>> parse_tree(std::string_view bytes, const git_oid& id) {
  std::vector<tree_line> lines;
  while (!bytes.empty()) {
    std::uint32_t mode = 0;
    std::size_t at = 0;
    for (; at < bytes.size() && bytes[at] >= '0' && bytes[at] <= '7' && at < 7; ++at)
      mode = mode << 3 | static_cast<std::uint32_t>(bytes[at] - '0');
    const auto nul = bytes.find('\0', at);
    if (at == 0 || at >= bytes.size() || bytes[at] != ' ' || nul == std::string_view::npos || nul == at + 1 ||
        bytes.size() - nul - 1 < GIT_OID_SHA1_SIZE)
      return damaged(id);
    tree_line line{bytes.substr(at + 1, nul - at - 1), {{}, mode}};
    git_oid_fromraw(&line.item.id, reinterpret_cast<const unsigned char*>(bytes.data() + nul + 1));
    lines.push_back(line);
    bytes.remove_prefix(nul + 1 + GIT_OID_SHA1_SIZE);
  }
  return lines;
}

result<odb_object_handle> read_tree_object(git_odb* objects, const git_oid& id) {
  odb_object_handle object;
  if (const auto rc = git_odb_read(out(object), objects, &id); rc != 0) {
    auto failure = last_error(rc, to_hex(id));
    if (failure.code != error_code::disk) failure.code = error_code::corrupt;
    return failure;
  }
  if (git_odb_object_type(object.get()) != GIT_OBJECT_TREE) return damaged(id);
  return object;
}

result<bool> bring_tree(git_odb* objects, private_store& store, const git_oid& tree,
                        const std::optional<git_oid>& known) {
  if (known && same(tree, *known)) return true;
  if (git_odb_exists(objects, &tree) == 0) return false;
  const auto bytes_of = [](const odb_object_handle& object) {
    return std::string_view(static_cast<const char*>(git_odb_object_data(object.get())),
                            git_odb_object_size(object.get()));
  };
  auto object = read_tree_object(objects, tree);
  if (!object) return object.error();
  auto lines = parse_tree(bytes_of(*object), tree);
  if (!lines) return lines.error();
  odb_object_handle known_object;
  std::map<std::string_view, git_oid> there;
  if (known) {
    auto read = read_tree_object(objects, *known);
    if (!read) return read.error();
    known_object = std::move(*read);
    auto known_lines = parse_tree(bytes_of(known_object), *known);
    if (!known_lines) return known_lines.error();
    for (const auto& line : *known_lines)
      if (line.item.mode != mode_submodule) there.emplace(line.name, line.item.id);
  }
  for (const auto& line : *lines) {
    const auto known_item = there.find(line.name);
    const bool has_known = known_item != there.end();
    if (line.item.mode == mode_submodule || (has_known && same(known_item->second, line.item.id))) continue;
    if (line.item.mode == mode_directory) {
      git_object_t type = GIT_OBJECT_INVALID;
      std::size_t size = 0;
      const bool is_tree =
          has_known && git_odb_read_header(&size, &type, objects, &known_item->second) == 0 && type == GIT_OBJECT_TREE;
      auto below = bring_tree(objects, store, line.item.id, is_tree ? std::optional(known_item->second) : std::nullopt);
      if (!below || !*below) return below;
      continue;
    }
    odb_object_handle blob;
    if (git_odb_read(out(blob), objects, &line.item.id) != 0) return false;
    if (auto id = store.put(bytes_of(blob), git_odb_object_type(blob.get())); !id) return id.error();
  }
  if (auto id = store.put(bytes_of(*object), GIT_OBJECT_TREE); !id) return id.error();
  return true;
}

result<git_oid> tree_builder::apply(const std::optional<git_oid>& base, std::vector<tree_change> changes) {
  std::sort(changes.begin(), changes.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
  auto root = apply_below(base, {changes.data(), changes.data() + changes.size()}, 0);
  if (!root) return root.error();
  if (*root) return **root;
  return store_.put({}, GIT_OBJECT_TREE);
}

result<std::optional<git_oid>> tree_builder::apply_below(const std::optional<git_oid>& base, range changes,
                                                         std::size_t prefix) {
  if (changes.begin == changes.end) return base;
  items entries;
  std::string before;
  if (base) {
    auto object = read_tree_object(objects_, *base);
    if (!object) return object.error();
    before.assign(static_cast<const char*>(git_odb_object_data(object->get())), git_odb_object_size(object->get()));
    auto lines = parse_tree(before, *base);
    if (!lines) return lines.error();
    for (const auto& line : *lines)
      entries.insert_or_assign(std::string(line.name), line.item);
  }
  for (const auto* at = changes.begin; at != changes.end;) {
    const auto rest = std::string_view(at->path).substr(prefix);
    const auto slash = rest.find('/');
    const auto name = rest.substr(0, slash);
    const auto known = entries.find(name);
    if (slash == std::string_view::npos) {
      if (at->becomes)
        entries.insert_or_assign(std::string(name), *at->becomes);
      else if (known != entries.end())
        entries.erase(known);
      ++at;
      continue;
    }
    const auto directory = rest.substr(0, slash + 1);
    const auto* end = at;
    while (end != changes.end && std::string_view(end->path).substr(prefix).starts_with(directory))
      ++end;
    const bool is_tree = known != entries.end() && known->second.mode == mode_directory;
    auto below = apply_below(is_tree ? std::optional(known->second.id) : std::nullopt, {at, end}, prefix + slash + 1);
    if (!below) return below.error();
    if (*below)
      entries.insert_or_assign(std::string(name), tree_item{**below, mode_directory});
    else if (is_tree)
      entries.erase(known);
    at = end;
  }
  if (entries.empty()) return std::optional<git_oid>();
  const auto after = serialise(entries);
  if (base && after == before) return base;
  auto id = store_.put(after, GIT_OBJECT_TREE);
  if (!id) return id.error();
  return std::optional(*id);
}

} // namespace townkeeper::git
