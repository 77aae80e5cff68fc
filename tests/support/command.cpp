#include "command.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <stdexcept>
#include <system_error>

#include "exec_arguments.hpp"

extern char** environ; // NOLINT(readability-redundant-declaration)

namespace townkeeper::test {

namespace {

using clock = std::chrono::steady_clock;

struct pipe_ends {
  int reading = -1, writing = -1;
  pipe_ends() {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) throw std::system_error{errno, std::generic_category(), "pipe2"};
    reading = ends[0];
    writing = ends[1];
  }
  pipe_ends(const pipe_ends&) = delete;
  pipe_ends& operator=(const pipe_ends&) = delete;
  ~pipe_ends() {
    close_end(reading);
    close_end(writing);
  }
  static void close_end(int& end) {
    if (end >= 0) close(end);
    end = -1;
  }
};

std::string text_of(const command& what) {
  std::string text;
  for (const auto& part : what.argv)
    text += (text.empty() ? "" : " ") + part;
  return what.directory.empty() ? text : text + " (in " + what.directory.string() + ")";
}

std::vector<std::string> environment_of(const command& what) {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text{*entry};
    const bool unset = !what.unset_prefix.empty() && text.starts_with(what.unset_prefix);
    if (!unset && what.environment.count(std::string{text.substr(0, text.find('='))}) == 0) all.emplace_back(text);
  }
  for (const auto& [name, value] : what.environment)
    all.push_back(name + "=" + value);
  return all;
}

pid_t spawn(const command& what, const pipe_ends& in, const pipe_ends& out, const pipe_ends& err) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in.reading, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out.writing, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err.writing, STDERR_FILENO);
  if (!what.directory.empty()) posix_spawn_file_actions_addchdir_np(&actions, what.directory.c_str());
  auto arguments = what.argv;
  auto environment = environment_of(what);
  const auto argv = pointers(arguments);
  const auto envp = pointers(environment);
  pid_t child = -1;
  const int failed = posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), envp.data());
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) throw std::system_error{failed, std::generic_category(), text_of(what)};
  return child;
}

/// Feeds and drains the child's three pipes until it has closed both outputs. False: the time was up first.
bool exchange(const command& what, pipe_ends& in, pipe_ends& out, pipe_ends& err, command_outcome& outcome) {
  const auto until = clock::now() + what.timeout;
  std::string_view input = what.input;
  fcntl(in.writing, F_SETFL, O_NONBLOCK);
  while (out.reading >= 0 || err.reading >= 0) {
    if (input.empty()) pipe_ends::close_end(in.writing);
    std::array<pollfd, 3> waiting{{{out.reading, POLLIN, 0}, {err.reading, POLLIN, 0}, {in.writing, POLLOUT, 0}}};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - clock::now()).count();
    if (left <= 0 || poll(waiting.data(), waiting.size(), static_cast<int>(left)) == 0) return false;
    const auto drain = [](const pollfd& ready, int& end, std::string& into) {
      if (ready.revents == 0) return;
      std::array<char, 65536> chunk{};
      const ssize_t n = read(end, chunk.data(), chunk.size());
      if (n > 0)
        into.append(chunk.data(), static_cast<std::size_t>(n));
      else if (n == 0 || errno != EINTR)
        pipe_ends::close_end(end);
    };
    drain(waiting[0], out.reading, outcome.out);
    drain(waiting[1], err.reading, outcome.err);
    if (waiting[2].revents == 0) continue;
    const ssize_t n = write(in.writing, input.data(), input.size());
    if (n > 0)
      input.remove_prefix(static_cast<std::size_t>(n));
    else if (n < 0 && errno != EAGAIN && errno != EINTR)
      input = {}; // it reads no more
  }
  return true;
}

/// A child that reads no more of its input must not end this process.
struct without_sigpipe {
  without_sigpipe() {
    sigset_t pipe_signal;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
  }
  without_sigpipe(const without_sigpipe&) = delete;
  without_sigpipe& operator=(const without_sigpipe&) = delete;
  ~without_sigpipe() {
    sigset_t pipe_signal;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    const timespec at_once{0, 0};
    sigtimedwait(&pipe_signal, nullptr, &at_once); // the one that came, so that it is not delivered now
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  sigset_t before{};
};

} // namespace

command_outcome try_run(const command& what) {
  pipe_ends in, out, err;
  const pid_t child = spawn(what, in, out, err);
  pipe_ends::close_end(in.reading);
  pipe_ends::close_end(out.writing);
  pipe_ends::close_end(err.writing);
  command_outcome outcome;
  const without_sigpipe guard;
  const bool ended = exchange(what, in, out, err, outcome);
  if (!ended) kill(child, SIGKILL);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!ended) throw std::runtime_error{text_of(what) + ": took too long, and was killed\n" + outcome.err};
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome;
}

std::string run(const command& what) {
  auto outcome = try_run(what);
  if (outcome.status != 0)
    throw std::runtime_error{text_of(what) + ": exit status " + std::to_string(outcome.status) + "\n" + outcome.out +
                             outcome.err};
  while (!outcome.out.empty() && outcome.out.back() == '\n')
    outcome.out.pop_back();
  return std::move(outcome.out);
}

} // namespace townkeeper::test
