#include "git/tree_reader.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <unordered_map>

#include "git/object_id.hpp"
#include "git/path_rules.hpp"

namespace townkeeper::git {
namespace {

constexpr std::uint32_t mode_directory = 0040000;
constexpr std::uint32_t mode_type_mask = 0170000;
constexpr std::size_t least_entry_bytes = 5 + 1 + 1 + 1 + GIT_OID_SHA1_SIZE; ///< mode, space, a name of one byte, NUL
constexpr std::size_t uncounted_paths = 50'000; ///< of these nothing much is remembered, whatever follows

struct raw_entry {
  std::uint32_t raw_mode = 0;
  std::string_view name;
  git_oid id{};

  bool is_directory() const noexcept { return (raw_mode & mode_type_mask) == mode_directory; }
};

/// The order of names in a tree object: bytewise, a directory as if its name ended in a slash, so that a walk in this
/// order meets the paths in the order of an index.
bool comes_before(const raw_entry& a, const raw_entry& b) noexcept {
  const auto common = std::min(a.name.size(), b.name.size());
  if (const auto order = std::memcmp(a.name.data(), b.name.data(), common); order != 0) return order < 0;
  const auto next = [&](const raw_entry& e) -> unsigned char {
    if (common < e.name.size()) return static_cast<unsigned char>(e.name[common]);
    return e.is_directory() ? '/' : '\0';
  };
  return next(a) < next(b);
}

/// The mode an index gives the entry; 0 for a type git does not know.
std::uint32_t canonical_mode(std::uint32_t raw) noexcept {
  switch (raw & mode_type_mask) {
  case 0100000:
    return (raw & 0100U) != 0 ? mode_executable : mode_file;
  case mode_symlink:
    return mode_symlink;
  case mode_submodule:
    return mode_submodule;
  case mode_directory:
    return mode_directory;
  default:
    return 0;
  }
}

entry_kind kind_of(std::uint32_t mode) noexcept {
  if (mode == mode_symlink) return entry_kind::symlink;
  if (mode == mode_submodule) return entry_kind::submodule;
  return mode == mode_directory ? entry_kind::directory : entry_kind::file;
}

class manifest_reader {
public:
  manifest_reader(object_store& objects, const cancel_flag& cancel, std::vector<std::string>* refused)
      : objects_(objects)
      , cancel_(cancel)
      , refused_(refused) {}

  result<manifest> run(const git_oid& root) {
    root_ = root;
    out_.texts = std::make_unique<std::pmr::monotonic_buffer_resource>();
    if (auto done = descend(root, {}); !done) return done.error();
    return std::move(out_);
  }

private:
  /// How many files and directories lie below a tree, each distinct tree looked at once: a tree that names itself a
  /// billion times over is refused before a path of it is remembered. What is wrong with a tree counts for nothing here
  /// and is found by `descend`, which can name it.
  std::size_t count_paths(const git_oid& id, std::size_t depth) {
    if (depth > max_path_length / 2 || is_cancelled(cancel_)) return 0;
    const std::string key(reinterpret_cast<const char*>(id.id), GIT_OID_SHA1_SIZE);
    if (const auto known = counts_.find(key); known != counts_.end()) return known->second;
    std::size_t count = 0;
    if (auto object = objects_.read(id, GIT_OBJECT_TREE)) {
      if (auto entries = parse((*object)->bytes))
        for (const auto& e : *entries)
          count = std::min(count + 1 + (e.is_directory() ? count_paths(e.id, depth + 1) : 0), max_tree_paths + 1);
    }
    counts_.emplace(key, count);
    return count;
  }

  error malformed(std::string_view why) const {
    return {error_code::corrupt, path_.empty() ? "tree" : printable(path_),
            fmt::format("the directory's tree object {}; git fsck on the remote names it", why)};
  }

  result<std::vector<raw_entry>> parse(std::string_view bytes) const {
    std::vector<raw_entry> entries;
    entries.reserve(bytes.size() / least_entry_bytes);
    while (!bytes.empty()) {
      raw_entry e;
      std::size_t at = 0;
      for (; at < bytes.size() && bytes[at] != ' '; ++at) {
        if (bytes[at] < '0' || bytes[at] > '7' || at >= 7) return malformed("has a mode that is no octal number");
        e.raw_mode = e.raw_mode * 8 + static_cast<std::uint32_t>(bytes[at] - '0');
      }
      bytes.remove_prefix(std::min(at + 1, bytes.size()));
      const auto end = bytes.find('\0');
      if (end == std::string_view::npos || bytes.size() - end - 1 < GIT_OID_SHA1_SIZE) return malformed("is cut short");
      e.name = bytes.substr(0, end);
      std::memcpy(e.id.id, bytes.data() + end + 1, GIT_OID_SHA1_SIZE);
      bytes.remove_prefix(end + 1 + GIT_OID_SHA1_SIZE);
      if (!entries.empty() && !comes_before(entries.back(), e)) return malformed("is not sorted or names a path twice");
      entries.push_back(e);
    }
    return entries;
  }

  /// A file `a` and a directory `a` are not neighbours in git's order (`a`, `a-b`, `a/`), so sorting alone does not
  /// show them.
  static bool names_file_and_directory(const std::vector<raw_entry>& entries) {
    std::vector<std::string_view> files;
    files.reserve(entries.size());
    for (const auto& e : entries) {
      if (!e.is_directory()) {
        files.push_back(e.name);
      } else if (std::binary_search(files.begin(), files.end(), e.name)) {
        return true;
      }
    }
    return false;
  }

  result<void> descend(const git_oid& id, std::string_view name) {
    if (is_cancelled(cancel_)) return cancelled_error("tree");
    auto object = objects_.read(id, GIT_OBJECT_TREE);
    if (!object) return object.error();
    auto entries = parse((*object)->bytes);
    if (!entries) return entries.error();
    if (names_file_and_directory(*entries)) return malformed("names a file and a directory alike");

    const auto mine = out_.trees.size();
    const auto first_entry = out_.entries.size();
    out_.trees.push_back({std::string(name), id, 0, 0, true});
    for (const auto& e : *entries)
      if (auto done = add(e, mine); !done) return done;
    out_.trees[mine].entries = out_.entries.size() - first_entry;
    return {};
  }

  /// A tree that names few paths need not be counted first.
  result<void> check_count() {
    if (++paths_ != uncounted_paths || count_paths(root_, 0) <= max_tree_paths) return {};
    return error{error_code::too_large, to_hex(root_),
                 fmt::format("the commit holds more than {} paths", max_tree_paths)};
  }

  result<void> add(const raw_entry& e, std::size_t parent) {
    if (auto done = check_count(); !done) return done;
    const auto length = path_.size();
    if (length > 0) path_ += '/';
    path_ += e.name;
    const auto mode = canonical_mode(e.raw_mode);
    if (mode == 0) return malformed(fmt::format("holds an entry of unknown type {:o}", e.raw_mode));
    if (auto ok = check_entry_name(e.name, kind_of(mode), path_); !ok) {
      if (refused_ == nullptr) return ok;
      refused_->push_back(to_string(ok.error()));
      out_.trees[parent].exact = false;
      path_.resize(length);
      return {};
    }
    if (mode == mode_directory) {
      const auto child = out_.trees.size();
      if (auto done = descend(e.id, e.name); !done) return done;
      if (out_.trees[child].entries == 0) {
        // An index cannot hold an empty directory, so it could not give this tree back.
        out_.trees.resize(child);
        out_.trees[parent].exact = false;
      } else {
        ++out_.trees[parent].subtrees;
        out_.trees[parent].exact = out_.trees[parent].exact && out_.trees[child].exact;
      }
    } else {
      if (mode != e.raw_mode) out_.trees[parent].exact = false;
      if (e.name == ".gitattributes" && mode != mode_submodule) out_.has_attributes_file = true;
      out_.entries.push_back({kept(path_), e.id, mode, false});
    }
    path_.resize(length);
    return {};
  }

  std::string_view kept(const std::string& path) const {
    auto* text = static_cast<char*>(out_.texts->allocate(path.size() + 1, alignof(char)));
    std::memcpy(text, path.c_str(), path.size() + 1);
    return {text, path.size()};
  }

  object_store& objects_;
  const cancel_flag& cancel_;
  std::vector<std::string>* refused_;
  manifest out_;
  std::string path_;
  git_oid root_{};
  std::size_t paths_ = 0;                               ///< looked at so far, directories as well
  std::unordered_map<std::string, std::size_t> counts_; ///< tree → paths below it
};

} // namespace

result<manifest> read_manifest(object_store& objects, const git_oid& root, const cancel_flag& cancel,
                               std::vector<std::string>* refused) {
  return manifest_reader(objects, cancel, refused).run(root);
}

error cancelled_error(std::string object) {
  return {error_code::cancelled, std::move(object), "the restore was called off"};
}

} // namespace townkeeper::git
