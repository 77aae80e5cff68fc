// Trees of a commit as the worktree writer reads them: every path it would write stays below the worktree.

#include <git2.h>
#include <git2/sys/mempack.h>
#include <git2/sys/odb_backend.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "git/handle.hpp"
#include "git/tree_reader.hpp"
#include "tests/fuzz/dot_git.hpp"
#include "tests/fuzz/property.hpp"

using namespace townkeeper;
using fuzz::require;

namespace {

/// A repository whose objects stand in memory.
class memory_repository {
public:
  memory_repository() {
    git_libgit2_init();
    std::string place = "/dev/shm/townkeeper-fuzz-XXXXXX";
    require(::mkdtemp(place.data()) != nullptr, "a directory is made");
    require(git_repository_init(git::out(repository_), place.c_str(), 1) == 0, "a repository is made");
    git::odb_handle odb;
    require(git_repository_odb(git::out(odb), repository_.get()) == 0, "the repository has objects");
    require(git_mempack_new(&memory_) == 0 && git_odb_add_backend(odb.get(), memory_, 999) == 0,
            "objects are kept in memory");
    odb_ = std::move(odb);
    directory_ = place;
  }
  memory_repository(const memory_repository&) = delete;
  memory_repository& operator=(const memory_repository&) = delete;
  ~memory_repository() {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }

  void forget() { git_mempack_reset(memory_); }
  git_oid add_tree(std::string_view bytes) {
    git_oid id{};
    require(git_odb_write(&id, odb_.get(), bytes.data(), bytes.size(), GIT_OBJECT_TREE) == 0, "a tree is stored");
    return id;
  }
  git_repository* get() const noexcept { return repository_.get(); }

private:
  git::repository_handle repository_;
  git::odb_handle odb_;
  git_odb_backend* memory_ = nullptr;
  std::string directory_;
};

/// Takes an input apart, front to back.
struct reader {
  std::string_view rest;

  unsigned byte() {
    if (rest.empty()) return 0;
    const auto value = static_cast<unsigned char>(rest.front());
    rest.remove_prefix(1);
    return value;
  }
  std::string_view take(std::size_t length) {
    const auto taken = rest.substr(0, length);
    rest.remove_prefix(taken.size());
    return taken;
  }
};

/// Trees from the leaves up: each entry is a mode, a name, and (for a directory) which earlier tree it names.
git_oid stored_trees(memory_repository& repository, reader in) {
  constexpr const char* modes[] = {"100644", "100755", "120000", "40000", "40000", "160000", "100664", "140000"};
  std::vector<git_oid> trees{repository.add_tree({})};
  while (!in.rest.empty() && trees.size() < 64) {
    std::string tree;
    for (auto entries = in.byte() % 8; entries > 0; --entries) {
      const auto kind = in.byte();
      tree += modes[kind % 8];
      tree += ' ';
      tree += in.take(in.byte() % 32);
      tree += '\0';
      const auto& id = trees[in.byte() % trees.size()];
      tree.append(reinterpret_cast<const char*>(id.id), GIT_OID_SHA1_SIZE);
    }
    trees.push_back(repository.add_tree(tree));
  }
  return trees.back();
}

void check(std::string_view path) {
  require(!path.empty() && path.front() != '/' && path.back() != '/', "a path is relative");
  require(path.find('\0') == std::string_view::npos, "a path holds no NUL");
  require(path.data()[path.size()] == '\0', "a NUL follows a path");
  for (std::string_view rest = path;;) {
    const auto end = rest.find('/');
    const auto name = rest.substr(0, end);
    require(!name.empty() && name != "." && name != "..", "a path has no empty segment and goes nowhere up");
    require(!fuzz::means_dot_git(name), "no segment is .git on any file system");
    if (end == std::string_view::npos) return;
    rest.remove_prefix(end + 1);
  }
}

void check(const git::manifest& read) {
  const git::manifest_entry* last = nullptr;
  for (const auto& entry : read.entries) {
    check(entry.path);
    require(entry.mode == git::mode_file || entry.mode == git::mode_executable || entry.mode == git::mode_symlink ||
                entry.mode == git::mode_submodule,
            "a mode is one an index knows");
    require(last == nullptr || last->path < entry.path, "paths come in the order of an index, each once");
    require(last == nullptr || !entry.path.starts_with(std::string(last->path) + "/"), "no file is a directory too");
    last = &entry;
  }
}

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static memory_repository repository;
  if (size == 0) return 0;
  repository.forget();
  const auto input = fuzz::bytes_of(data + 1, size - 1);
  const auto root = (data[0] & 1U) != 0 ? repository.add_tree(input) : stored_trees(repository, {input});
  auto objects = git::object_store::open(repository.get());
  require(objects.has_value(), "the repository can be read");
  if (const auto whole = git::read_manifest(*objects, root, {})) check(*whole);
  std::vector<std::string> refused;
  if (const auto rest = git::read_manifest(*objects, root, {}, &refused)) check(*rest);
  return 0;
}
