#include "git/snapshot_operation.hpp"

#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <string_view>

#include "git/descriptor.hpp"
#include "git/handle.hpp"
#include "git/object_id.hpp"

namespace townkeeper::git {
namespace {

constexpr std::size_t max_file_bytes = std::size_t{16} * 1024 * 1024;
constexpr std::size_t max_depth = 8;
constexpr std::size_t shortest_id = 7;

/// Directories of an operation. Of `refs`, git keeps only a worktree's own there: bisect, rewritten, worktree.
constexpr std::array<std::string_view, 4> directories{"rebase-merge", "rebase-apply", "sequencer", "refs"};
/// Files in capitals that belong to none.
constexpr std::array<std::string_view, 3> others{"HEAD", "FETCH_HEAD", "COMMIT_EDITMSG"};
/// What is there only while something is in progress.
constexpr std::array<std::string_view, 8> signs{"MERGE_HEAD",   "CHERRY_PICK_HEAD", "REVERT_HEAD",   "BISECT_LOG",
                                                "BISECT_START", "rebase-merge/",    "rebase-apply/", "sequencer/"};

bool in_capitals(std::string_view name) {
  return std::all_of(name.begin(), name.end(), [](char c) { return (c >= 'A' && c <= 'Z') || c == '_'; });
}

template <class List>
bool is_one_of(const List& list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

/// Files below `directory`, without locks and what is half written.
result<void> read_below(int parent, const std::string& name, const std::string& prefix, std::size_t depth,
                        std::map<std::string, std::string>& into) {
  struct stat own {};
  if (::fstatat(parent, name.c_str(), &own, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(own.st_mode)) return {};
  auto directory = open_directory(parent, name.c_str(), prefix);
  if (!directory) return directory.error();
  auto names = list_directory(directory->get(), prefix);
  if (!names) return names.error();
  for (const auto& each : *names) {
    if (each.ends_with(".lock")) continue;
    struct stat st {};
    if (::fstatat(directory->get(), each.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
    const auto path = prefix + '/' + each;
    if (S_ISDIR(st.st_mode)) {
      if (depth < max_depth)
        if (auto done = read_below(directory->get(), each, path, depth + 1, into); !done) return done;
      continue;
    }
    if (!S_ISREG(st.st_mode)) continue;
    if (auto bytes = read_small_file(directory->get(), each.c_str(), max_file_bytes))
      into.emplace(path, std::move(*bytes));
  }
  return {};
}

std::optional<git_oid> commit_of(git_repository* repository, std::string_view word) {
  const bool is_hex =
      std::all_of(word.begin(), word.end(), [](char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; });
  if (!is_hex || word.size() < shortest_id || word.size() > GIT_OID_SHA1_HEXSIZE) return std::nullopt;
  git_oid prefix{};
  commit_handle commit;
  if (git_oid_fromstrn(&prefix, word.data(), word.size()) != 0) return std::nullopt;
  if (git_commit_lookup_prefix(out(commit), repository, &prefix, word.size()) != 0) return std::nullopt;
  return *git_commit_id(commit.get());
}

/// Every commit named by a word of the text.
void note_commits(git_repository* repository, const std::string& path, std::string_view text,
                  std::map<std::string, std::string>& ids) {
  int count = 0;
  for (std::size_t at = 0; at < text.size();) {
    const auto begin = text.find_first_not_of(" \t\r\n", at);
    if (begin == std::string_view::npos) return;
    const auto end = std::min(text.find_first_of(" \t\r\n", begin), text.size());
    at = end;
    const auto id = commit_of(repository, text.substr(begin, end - begin));
    if (!id) continue;
    ids.emplace(count == 0 ? path : fmt::format("{}#{}", path, count + 1), to_hex(*id));
    ++count;
  }
}

/// Files whose words may be commits; messages and patches are not searched.
bool names_commits(std::string_view path) {
  if (path.starts_with("refs/")) return true;
  const auto leaf = path.substr(path.rfind('/') + 1);
  constexpr std::array<std::string_view, 18> names{"git-rebase-todo",
                                                   "git-rebase-todo.backup",
                                                   "done",
                                                   "onto",
                                                   "orig-head",
                                                   "stopped-sha",
                                                   "amend",
                                                   "autostash",
                                                   "rewritten-list",
                                                   "rewritten-pending",
                                                   "squash-onto",
                                                   "current-fixups",
                                                   "todo",
                                                   "head",
                                                   "abort-safety",
                                                   "original-commit",
                                                   "upstream",
                                                   "refs-to-delete"};
  return path.find('/') == std::string_view::npos ? path != "MERGE_MSG" && path != "SQUASH_MSG" && path != "MERGE_RR"
                                                  : is_one_of(names, leaf);
}

} // namespace

result<operation_moment> read_operation(git_repository* repository, int registration) {
  operation_moment moment;
  auto names = list_directory(registration, "registration");
  if (!names) return names.error();
  for (const auto& name : *names) {
    if (is_one_of(directories, name)) {
      if (auto done = read_below(registration, name, name, 0, moment.files); !done) return done.error();
    } else if (in_capitals(name) && !is_one_of(others, name)) {
      if (auto bytes = read_small_file(registration, name.c_str(), max_file_bytes))
        moment.files.emplace(name, std::move(*bytes));
    }
  }
  for (const auto& [path, bytes] : moment.files) {
    moment.in_progress =
        moment.in_progress ||
        std::any_of(signs.begin(), signs.end(), [&, p = std::string_view(path)](std::string_view sign) {
          return sign.ends_with('/') ? p.starts_with(sign) : p == sign;
        });
    if (path == "AUTO_MERGE") {
      moment.merged_tree = bytes.substr(0, bytes.find('\n'));
    } else if (names_commits(path)) {
      note_commits(repository, path, bytes, moment.ids);
    }
  }
  return moment;
}

} // namespace townkeeper::git
