#include "git/repository_mend.hpp"

#include <fcntl.h>
#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <sstream>
#include <string_view>
#include <utility>

#include "git/descriptor.hpp"
#include "git/git_error.hpp"
#include "git/handle.hpp"
#include "git/lock_file.hpp"
#include "git/repository_features.hpp"
#include "git/repository_layout.hpp"

namespace townkeeper::git {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t sha1_hex_length = 40;
constexpr std::size_t max_config_bytes = std::size_t{16} * 1024 * 1024;
constexpr std::string_view tracking_refs = "refs/remotes/origin";
constexpr std::string_view local_refs = "refs/heads";
constexpr std::string_view symbolic_prefix = "ref: refs/";

bool is_id(std::string_view text) {
  return text.size() == sha1_hex_length &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isxdigit(c) != 0; });
}

/// What a loose ref or HEAD may hold (gitrepository-layout(5)).
bool is_ref_content(std::string text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0)
    text.pop_back();
  return is_id(text) || (text.starts_with(symbolic_prefix) && text.size() > symbolic_prefix.size());
}

bool is_packed_ref_line(std::string_view line) {
  if (line.starts_with('#')) return true;
  if (line.starts_with('^')) return is_id(line.substr(1));
  return line.size() > sha1_hex_length + 1 && is_id(line.substr(0, sha1_hex_length)) &&
         line.substr(sha1_hex_length).starts_with(" refs/");
}

/// The new id in the last whole line of a reflog; empty when there is none.
std::string last_logged(std::string_view log) {
  log = log.substr(0, log.rfind('\n') + 1);
  if (log.empty()) return {};
  const auto line = log.substr(log.substr(0, log.size() - 1).rfind('\n') + 1);
  if (line.size() < 2 * sha1_hex_length + 1) return {};
  const auto id = line.substr(sha1_hex_length + 1, sha1_hex_length);
  return is_id(id) && id.find_first_not_of('0') != std::string_view::npos ? std::string(id) : std::string();
}

class mending {
public:
  mending(const fs::path& repository, const repository_frame& frame, std::vector<std::string>& healed)
      : repository_(repository)
      , frame_(frame)
      , healed_(healed) {}

  result<void> run();

private:
  result<void> directories();
  result<void> cut_configuration();
  result<void> configuration();
  result<void> settings();
  result<void> head();
  std::vector<fs::path> unreadable_refs(std::string_view below) const;
  result<void> loose_refs();
  result<void> packed_refs();
  result<void> locks();
  void note(std::string what) { healed_.push_back(std::move(what)); }

  const fs::path& repository_;
  const repository_frame& frame_;
  std::vector<std::string>& healed_;
};

result<void> mending::run() {
  for (const char* part : {"", "objects", "townkeeper"})
    remove_left_behind(repository_ / part);
  for (const auto step : {&mending::directories, &mending::locks, &mending::configuration, &mending::settings,
                          &mending::head, &mending::packed_refs, &mending::loose_refs})
    if (const auto done = (this->*step)(); !done) return done;
  return {};
}

result<void> mending::directories() {
  bool made_one = false;
  for (const char* part : {"objects/pack", "objects/info", "refs/heads", "refs/tags", "townkeeper"}) {
    std::error_code failure;
    made_one = fs::create_directories(repository_ / part, failure) || made_one;
    if (failure == std::errc::not_a_directory || failure == std::errc::file_exists)
      return error{error_code::corrupt, (repository_ / part).string(), "something other than a directory stands there"};
    if (failure) return disk_error(repository_ / part, "cannot make the directory", failure.value());
  }
  if (made_one) note("directories of a half-written repository made");
  return {};
}

/// A line without an end was cut off: half a value may be wrong, and what libgit2 appends to half a line git cannot
/// read.
result<void> mending::cut_configuration() {
  const auto file = repository_ / "config";
  const auto text = read_small_file(AT_FDCWD, file.c_str(), max_config_bytes);
  if (!text || text->empty() || text->back() == '\n') return {}; // or it is looked at otherwise
  if (const auto moved = set_aside(repository_, file); !moved) return moved;
  note("the last line of the configuration was cut off: taken out, the old file set aside");
  return write_file(file, text->substr(0, text->rfind('\n') + 1));
}

result<void> mending::configuration() {
  if (const auto cut = cut_configuration(); !cut) return cut;
  const auto checked = check_features(repository_);
  if (checked || checked.error().code == error_code::unsupported) return checked;
  const bool was_there = checked.error().code == error_code::corrupt;
  if (was_there)
    if (const auto moved = set_aside(repository_, repository_ / "config"); !moved) return moved;
  note(was_there ? "unreadable configuration written afresh, the old one set aside" : "missing configuration written");
  return write_file(repository_ / "config", fresh_config(frame_.url, frame_.branches));
}

/// What we and an agent's plain git need, where the configuration lacks it. What is set otherwise stays.
result<void> mending::settings() {
  config_handle config;
  const std::pair<const char*, std::string> needed[] = {
      {"core.bare", "true"},
      {"gc.auto", "0"},
      {"maintenance.auto", "false"},
      {"push.autosetupremote", "true"},
      {"remote.origin.url", frame_.url},
      {"remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*"},
  };
  if (const int code = git_config_open_ondisk(out(config), (repository_ / "config").c_str()); code < 0)
    return last_error(code, repository_.string());
  std::string set;
  for (const auto& [name, value] : needed) {
    git_config_entry* entry = nullptr;
    const int found = git_config_get_entry(&entry, config.get(), name);
    git_config_entry_free(entry);
    if (found == 0) continue;
    // With extensions.worktreeConfig git moves core.bare there: said here, it would hold for every worktree.
    if (name == std::string_view("core.bare") && fs::exists(repository_ / "config.worktree")) continue;
    if (const int code = git_config_set_string(config.get(), name, value.c_str()); code < 0)
      return last_error(code, repository_.string());
    set += fmt::format("{}{}", set.empty() ? "" : ", ", name);
  }
  if (!set.empty()) note("configuration completed: " + set);
  return {};
}

result<void> mending::head() {
  if (is_ref_content(read_file(repository_ / "HEAD"))) return {};
  note("HEAD written afresh");
  return write_file(repository_ / "HEAD", fmt::format("ref: refs/heads/{}\n", frame_.default_branch));
}

std::vector<fs::path> mending::unreadable_refs(std::string_view below) const {
  std::error_code failure;
  std::vector<fs::path> broken;
  for (auto entry = fs::recursive_directory_iterator(repository_ / below, failure);
       !failure && entry != fs::recursive_directory_iterator(); entry.increment(failure))
    if (entry->is_regular_file(failure) && entry->path().extension() != ".lock" &&
        !is_ref_content(read_file(entry->path())))
      broken.push_back(entry->path());
  return broken;
}

/// A tracking ref comes again from the remote. A branch is what its reflog says last, where it has one; otherwise it
/// counts as absent.
result<void> mending::loose_refs() {
  std::error_code failure;
  for (const std::string_view below : {tracking_refs, local_refs})
    for (const auto& path : unreadable_refs(below)) {
      const auto ref = path.lexically_relative(repository_).string();
      const auto logged = last_logged(read_file(repository_ / "logs" / ref));
      if (below == local_refs && !logged.empty()) {
        if (const auto written = write_file(path, logged + "\n"); !written) return written;
        note(fmt::format("unreadable {} set to {}, as its reflog says", ref, logged));
        continue;
      }
      fs::remove(path, failure);
      if (failure) return disk_error(path, "cannot remove the unreadable ref", failure.value());
      note("unreadable ref removed: " + ref);
    }
  return {};
}

result<void> mending::packed_refs() {
  const auto path = repository_ / "packed-refs";
  std::istringstream lines(read_file(path));
  std::string kept;
  int dropped = 0;
  bool last_kept = true;
  for (std::string line; std::getline(lines, line);) {
    // What a tag peels to belongs to the line above it. A last line without its end may be a name cut short.
    last_kept = is_packed_ref_line(line) && (last_kept || !line.starts_with('^')) && !lines.eof();
    if (last_kept)
      kept += line + '\n';
    else
      ++dropped;
  }
  if (dropped == 0) return {};
  note(fmt::format("{} unreadable lines of packed-refs left out, the old file set aside", dropped));
  if (const auto moved = set_aside(repository_, path); !moved) return moved;
  return write_file(path, kept);
}

result<void> mending::locks() {
  std::error_code failure;
  std::vector<fs::path> found;
  const auto add = [&](const fs::directory_entry& entry) {
    if (entry.path().extension() == ".lock" && !entry.is_directory(failure)) found.push_back(entry.path());
  };
  const auto real = fs::canonical(repository_, failure); // as the kernel names what a process has open
  if (failure) return disk_error(repository_, "cannot resolve", failure.value());
  for (const char* part : {"", "objects/info", "objects/info/commit-graphs", "objects/pack"})
    for (const auto& entry : fs::directory_iterator(real / part, failure))
      add(entry);
  for (const auto& entry : fs::recursive_directory_iterator(real / "refs", failure))
    add(entry);
  for (const auto& lock : found) {
    const auto removed = remove_dead_lock(lock, real.parent_path(), lock_scope::repository);
    // One whose owner lives is in the way only of who needs it: then that fails, and says so.
    if (!removed && removed.error().code != error_code::conflict) return removed.error();
    if (removed && *removed) note("lock of a dead process removed: " + lock.lexically_relative(real).string());
  }
  return {};
}

} // namespace

result<void> mend_repository(const fs::path& repository, const repository_frame& frame,
                             std::vector<std::string>& healed) {
  return mending(repository, frame, healed).run();
}

result<void> set_aside(const fs::path& repository, const fs::path& file) {
  const auto directory = repository / "townkeeper" / "set-aside";
  if (const auto made = make_directories(directory); !made) return made;
  std::error_code failure;
  fs::rename(file, directory / file.filename(), failure);
  if (failure && failure != std::errc::no_such_file_or_directory)
    return disk_error(file, "cannot be set aside", failure.value());
  return {};
}

result<fs::path> set_repository_aside(const fs::path& repository) {
  const auto directory = repository.parent_path() / ".kept";
  if (const auto made = make_directories(directory); !made) return made.error();
  for (int n = 1;; ++n) {
    auto to = directory / fmt::format("{}-{}", repository.filename().string(), n);
    const auto moved = publish(repository, to);
    if (!moved) return moved.error();
    if (*moved) return to;
  }
}

} // namespace townkeeper::git
