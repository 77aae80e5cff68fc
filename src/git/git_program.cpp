#include "git/git_program.hpp"

#include <fmt/core.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "git/descriptor.hpp"
#include "git/path_rules.hpp"

namespace townkeeper::git {
namespace {

/// What a program writes, kept in memory: no pipe to be emptied while it runs.
result<descriptor> memory_file(const char* name) {
  descriptor file(::memfd_create(name, MFD_CLOEXEC));
  if (!file) return disk_error(errno, name, "cannot be given a place in memory");
  return file;
}

std::string content_of(const descriptor& file) {
  std::string content;
  std::array<char, 16384> chunk;
  for (off_t at = 0;;) {
    const auto n = ::pread(file.get(), chunk.data(), chunk.size(), at);
    if (n <= 0) return content;
    content.append(chunk.data(), static_cast<std::size_t>(n));
    at += n;
  }
}

std::string last_line(std::string text) {
  while (!text.empty() && text.back() == '\n')
    text.pop_back();
  const auto begin = text.rfind('\n');
  return begin == std::string::npos ? text : text.substr(begin + 1);
}

} // namespace

result<std::string> run_git_program(const std::filesystem::path& directory, const std::vector<std::string>& arguments) {
  std::vector<std::string> words{"git", "-C", directory.native()};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (auto& word : words)
    argv.push_back(word.data());
  argv.push_back(nullptr);
  auto out = memory_file("git-output");
  if (!out) return out.error();
  auto err = memory_file("git-errors");
  if (!err) return err.error();

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, out->get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err->get(), STDERR_FILENO);
  ::pid_t child = 0;
  const int failed = ::posix_spawnp(&child, "git", &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0)
    return error{error_code::not_found, "git",
                 fmt::format("the git program cannot be started ({}); install git, or put it in PATH",
                             std::generic_category().message(failed))};
  int status = 0;
  while (::waitpid(child, &status, 0) < 0)
    if (errno != EINTR) return error{error_code::internal, "git", "cannot be waited for"};
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return content_of(*out);
  const auto said = last_line(content_of(*err));
  return error{error_code::unavailable, fmt::format("git {}", arguments.empty() ? "" : arguments.front()),
               said.empty() ? "failed and did not say why" : printable(said)};
}

} // namespace townkeeper::git
