#include "git/gitignore.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "git/descriptor.hpp"
#include "git/handle.hpp"

namespace townkeeper::git {
namespace {

/// git takes no larger pattern file either.
constexpr std::size_t max_file_bytes = 100 * std::size_t{1024} * 1024;
constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";
constexpr std::string_view wildcards = "*?[\\";

/// Spaces at the end go, but for one after a backslash.
std::string_view without_trailing_spaces(std::string_view line) {
  auto kept = std::size_t{0};
  for (std::size_t i = 0; i < line.size(); ++i) {
    const bool is_escape = line[i] == '\\';
    if (is_escape && ++i == line.size()) return line;
    if (is_escape || line[i] != ' ') kept = i + 1;
  }
  return line.substr(0, kept);
}

gitignore_pattern parse_line(std::string_view line) {
  gitignore_pattern out;
  if (line.starts_with('!')) {
    out.negative = true;
    line.remove_prefix(1);
  }
  if (line.ends_with('/')) {
    out.directories_only = true;
    line.remove_suffix(1);
  }
  out.anchored = line.find('/') != std::string_view::npos;
  if (out.anchored && line.starts_with('/')) line.remove_prefix(1);
  out.text = line;
  out.literal = std::min(line.find_first_of(wildcards), line.size());
  return out;
}

bool is_same(std::string_view a, std::string_view b, letter_case letters) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  if (letters == letter_case::exact) return a == b;
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return lower(x) == lower(y); });
}

/// `path` is relative to the pattern file's directory.
bool matches(const gitignore_pattern& pattern, std::string_view path, bool is_directory, letter_case letters) {
  if (pattern.directories_only && !is_directory) return false;
  if (!pattern.anchored) {
    const auto slash = path.rfind('/');
    return gitignore_wildcard(pattern.text, slash == std::string_view::npos ? path : path.substr(slash + 1), letters);
  }
  // As git does it: "**" after a literal beginning ("a**/b") stands at the start of what is left.
  const auto text = std::string_view(pattern.text);
  if (path.size() < pattern.literal) return false;
  if (!is_same(text.substr(0, pattern.literal), path.substr(0, pattern.literal), letters)) return false;
  return gitignore_wildcard(text.substr(pattern.literal), path.substr(pattern.literal), letters);
}

/// The last pattern of the file that matches; nothing: none.
const gitignore_pattern* last_match(const std::vector<gitignore_pattern>& patterns, std::string_view path,
                                    bool is_directory, letter_case letters) {
  const auto found = std::find_if(patterns.rbegin(), patterns.rend(),
                                  [&](const auto& each) { return matches(each, path, is_directory, letters); });
  return found == patterns.rend() ? nullptr : &*found;
}

/// What cannot be read has no patterns: it is better to save too much. `flags`: a .gitignore that is a link counts for
/// nothing (O_NOFOLLOW), as in git.
std::vector<gitignore_pattern> read_patterns(const std::string& file, int flags) {
  const descriptor in(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | flags));
  struct stat st {};
  if (!in || ::fstat(in.get(), &st) != 0 || !S_ISREG(st.st_mode)) return {};
  if (st.st_size <= 0 || static_cast<std::size_t>(st.st_size) > max_file_bytes) return {};
  std::string bytes(static_cast<std::size_t>(st.st_size), '\0');
  for (std::size_t done = 0; done < bytes.size();) {
    const auto got = ::read(in.get(), bytes.data() + done, bytes.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return {};
    if (got == 0) bytes.resize(done);
    done += static_cast<std::size_t>(got);
  }
  return parse_gitignore(bytes);
}

struct owned_buffer : git_buf {
  owned_buffer()
      : git_buf{} {}
  owned_buffer(const owned_buffer&) = delete;
  owned_buffer& operator=(const owned_buffer&) = delete;
  ~owned_buffer() { git_buf_dispose(this); }
  std::string text() const { return ptr == nullptr ? std::string() : std::string(ptr, size); }
};

/// core.excludesFile, or what git takes where nothing is said; empty: none.
std::string user_file(git_config* config, const std::string& worktree) {
  owned_buffer path;
  if (git_config_get_path(&path, config, "core.excludesfile") == 0) {
    const auto text = path.text();
    return text.empty() || text.front() == '/' ? text : worktree + text;
  }
  owned_buffer homes;
  if (git_libgit2_opts(GIT_OPT_GET_SEARCH_PATH, GIT_CONFIG_LEVEL_XDG, static_cast<git_buf*>(&homes)) != 0) return {};
  const auto home = homes.text();
  return home.empty() ? home : home.substr(0, home.find(':')) + "/ignore";
}

} // namespace

std::vector<gitignore_pattern> parse_gitignore(std::string_view bytes) {
  std::vector<gitignore_pattern> out;
  if (bytes.starts_with(byte_order_mark)) bytes.remove_prefix(byte_order_mark.size());
  while (!bytes.empty()) {
    const auto end = std::min(bytes.find('\n'), bytes.size());
    auto line = bytes.substr(0, end);
    bytes.remove_prefix(std::min(end + 1, bytes.size()));
    if (line.starts_with('#')) continue;
    if (line.ends_with('\r')) line.remove_suffix(1);
    line = without_trailing_spaces(line.substr(0, line.find('\0')));
    if (!line.empty()) out.push_back(parse_line(line));
  }
  return out;
}

gitignore::gitignore(git_repository* repository)
    : repository_(repository) {
  reload();
}

void gitignore::reload() {
  directories_.clear();
  of_repository_.clear();
  of_user_.clear();
  letters_ = letter_case::exact;
  const auto* worktree = git_repository_workdir(repository_);
  worktree_ = worktree == nullptr ? "" : worktree;
  if (const auto* common = git_repository_commondir(repository_))
    of_repository_ = read_patterns(std::string(common) + "/info/exclude", 0);
  config_handle config;
  if (git_repository_config_snapshot(out(config), repository_) != 0) return;
  int folds = 0;
  if (git_config_get_bool(&folds, config.get(), "core.ignorecase") == 0 && folds != 0) letters_ = letter_case::folded;
  if (const auto file = user_file(config.get(), worktree_); !file.empty()) of_user_ = read_patterns(file, 0);
}

bool gitignore::is_ignored(std::string_view path) {
  if (path.ends_with('/')) return enter(path).ignored;
  const auto slash = path.rfind('/');
  const auto& parent = enter(slash == std::string_view::npos ? std::string_view{} : path.substr(0, slash + 1));
  return parent.ignored || decide(parent, path, false);
}

/// `path` is empty for the root, and else ends in a slash.
const gitignore::directory& gitignore::enter(std::string_view path) {
  std::string key(path);
  if (const auto known = directories_.find(key); known != directories_.end()) return known->second;
  directory made;
  made.length = path.size();
  if (!path.empty()) {
    const auto name = path.substr(0, path.size() - 1);
    const auto slash = name.rfind('/');
    made.parent = &enter(slash == std::string_view::npos ? std::string_view{} : path.substr(0, slash + 1));
    // git does not enter an ignored directory: nothing in it can be taken out again.
    made.ignored = made.parent->ignored || decide(*made.parent, name, true);
  }
  if (!made.ignored && !worktree_.empty()) made.patterns = read_patterns(worktree_ + key + ".gitignore", O_NOFOLLOW);
  return directories_.emplace(std::move(key), std::move(made)).first->second;
}

bool gitignore::decide(const directory& parent, std::string_view path, bool is_directory) const {
  for (const auto* at = &parent; at != nullptr; at = at->parent)
    if (const auto* found = last_match(at->patterns, path.substr(at->length), is_directory, letters_))
      return !found->negative;
  for (const auto* patterns : {&of_repository_, &of_user_})
    if (const auto* found = last_match(*patterns, path, is_directory, letters_)) return !found->negative;
  return false;
}

} // namespace townkeeper::git
