#include "git/registration.hpp"

#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "core/fault_point.hpp"
#include "git/directory_stack.hpp"
#include "git/local_branch.hpp"

namespace townkeeper::git {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t max_line_file_bytes = 64 * 1024;
constexpr std::string_view branch_prefix = "refs/heads/";
constexpr std::string_view symbolic_prefix = "ref: ";
constexpr std::string_view dot_git_prefix = "gitdir: ";

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' '))
    text.pop_back();
  return text;
}

std::optional<std::string> read_line_file(int directory, const char* name) {
  auto content = read_small_file(directory, name, max_line_file_bytes);
  if (!content) return std::nullopt;
  return trimmed(std::move(*content));
}

registration read_what_it_is_on(int directory) {
  registration r;
  r.head = read_line_file(directory, "HEAD");
  // While a rebase runs HEAD is detached, and the branch is written back at its end.
  if (!r.head_branch())
    for (const auto* name : {"rebase-merge/head-name", "rebase-apply/head-name"})
      if (auto ref = read_line_file(directory, name)) r.rebased_branches.push_back(std::move(*ref));
  return r;
}

registration read_rest(int directory, registration r) {
  if (const auto gitdir = read_line_file(directory, "gitdir")) r.worktree = fs::path(*gitdir).parent_path();
  r.has_commondir = read_line_file(directory, "commondir").has_value();
  struct stat st {};
  r.is_locked = ::fstatat(directory, "locked", &st, AT_SYMLINK_NOFOLLOW) == 0;
  return r;
}

} // namespace

std::optional<std::string> registration::head_branch() const {
  if (!head || !head->starts_with(symbolic_prefix)) return std::nullopt;
  const auto ref = head->substr(symbolic_prefix.size());
  if (!ref.starts_with(branch_prefix) || ref.size() == branch_prefix.size()) return std::nullopt;
  return ref.substr(branch_prefix.size());
}

bool registration::is_on(std::string_view branch) const {
  if (head_branch() == branch) return true;
  return std::any_of(rebased_branches.begin(), rebased_branches.end(), [&](const std::string& ref) {
    return ref.starts_with(branch_prefix) && std::string_view(ref).substr(branch_prefix.size()) == branch;
  });
}

std::optional<registration> read_registration(int registrations, const std::string& id) {
  auto directory = open_directory(registrations, id.c_str(), id);
  if (!directory) return std::nullopt;
  return read_rest(directory->get(), read_what_it_is_on(directory->get()));
}

std::optional<registration> read_registration_on(int registrations, const std::string& id, std::string_view branch) {
  auto directory = open_directory(registrations, id.c_str(), id);
  if (!directory) return std::nullopt;
  auto r = read_what_it_is_on(directory->get());
  if (!r.is_on(branch)) return std::nullopt;
  return read_rest(directory->get(), std::move(r));
}

std::optional<fs::path> read_dot_git(int worktree) {
  const auto line = read_line_file(worktree, ".git");
  if (!line || !line->starts_with(dot_git_prefix)) return std::nullopt;
  return fs::path(line->substr(dot_git_prefix.size()));
}

std::string head_content(const std::string& branch) {
  return fmt::format("ref: refs/heads/{}\n", branch);
}
std::string gitdir_content(const worktree_place& place) {
  return (place.worktree / ".git").native() + '\n';
}
std::string dot_git_content(const worktree_place& place) {
  return fmt::format("gitdir: {}\n", place.registration.native());
}
std::string lock_reason(const worktree_place& place) {
  return fmt::format("townkeeper restores this worktree for agent {}", place.agent_id);
}

std::string reflog_line(const std::string& from, const std::string& to, std::string_view message) {
  const auto now =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch());
  return fmt::format("{} {} {} <{}> {} +0000\t{}\n", from, to, reflog_name, reflog_email, now.count(), message);
}

result<void> write_registration(int staging, const worktree_place& place, const std::string& branch,
                                const std::string& commit, const std::optional<std::string>& index) {
  if (const int failed = fault_point("registration-written"); failed != 0)
    return disk_error(failed, place.registration.native(), "cannot be written");
  if (auto done = create_file(staging, "commondir", commondir_content); !done) return done;
  if (auto done = create_file(staging, "gitdir", gitdir_content(place)); !done) return done;
  if (const int failed = fault_point("head-written"); failed != 0)
    return disk_error(failed, "HEAD", "cannot be written");
  if (auto done = create_file(staging, "HEAD", head_content(branch)); !done) return done;
  if (const int failed = fault_point("index-written"); failed != 0)
    return disk_error(failed, "index", "cannot be written");
  if (index)
    if (auto done = create_file(staging, "index", *index); !done) return done;
  if (auto done = create_file(staging, "locked", lock_reason(place)); !done) return done;
  if (commit.empty()) return {};
  if (::mkdirat(staging, "logs", 0777) != 0) return disk_error(errno, "logs", "cannot be created");
  auto logs = open_directory(staging, "logs", "logs");
  if (!logs) return logs.error();
  return create_file(logs->get(), "HEAD", reflog_line(null_oid_hex, commit, "townkeeper: restored at " + branch));
}

void note_in_reflog(int directory, const std::string& log, const std::string& line) {
  directory_stack directories(directory);
  auto logs = directories.enter(parent_of(log), directory_stack::on_missing::create);
  if (!logs) return;
  const descriptor fd(::openat(*logs, leaf_of(log), O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0666));
  if (fd) static_cast<void>(write_all(fd.get(), line));
}

} // namespace townkeeper::git
