#include "process/agent_group.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <system_error>

#include "core/fault_point.hpp"
#include "core/log.hpp"
#include "core/wall_clock.hpp"
#include "process/group_record.hpp"

namespace townkeeper {
namespace {

constexpr std::size_t chunk_bytes = std::size_t{64} << 10; // what a pipe holds by default
constexpr std::chrono::seconds kill_patience{5};           // after which a process that survives SIGKILL is logged

struct pipe_ends {
  git::descriptor read_end, write_end;
};

/// From errno.
error exhausted(std::string_view what) {
  const int failed = errno;
  return {
      error_code::unavailable, "agent process",
      fmt::format("{}: {}; raise the limit of open files (ulimit -n)", what, std::generic_category().message(failed))};
}

result<pipe_ends> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return exhausted("no pipe for its output");
  pipe_ends out{git::descriptor(ends[0]), git::descriptor(ends[1])};
  ::fcntl(ends[0], F_SETFL, O_NONBLOCK); // of our end only: the agent's writes wait as they do in any pipe
  return out;
}

result<void> record_child(const process_launch& launch, int pid, const std::filesystem::path& records_directory) {
  const auto child = read_process(pid);
  if (!child) return error{error_code::disk, "/proc", "does not show our own child"};
  return write_record(records_directory,
                      {launch.agent_id, launch.rig_id, pid, child->start_time, boot_id(), pid_namespace()});
}

/// Ends a child that never went on to its program; it cannot have made others.
void abandon(int pid) {
  ::kill(pid, SIGKILL);
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
}

} // namespace

// -- its start --------------------------------------------------------------------------------------------------------

result<agent_group> agent_group::start(const process_launch& launch, child_program program,
                                       const std::filesystem::path& records_directory, rotated_log log) {
  const auto directory = open_worktree(launch.directory);
  if (!directory) return directory.error();
  auto output = make_pipe();
  if (!output) return output.error();
  if (const int failed = fault_point("agent-spawned"); failed != 0) {
    errno = failed;
    return exhausted("no process can be made");
  }
  auto child = fork_child(program, directory->get(), output->write_end.get());
  if (!child) return child.error();

  agent_group out;
  out.leader_.reset(open_pidfd(child->pid));
  auto recorded = out.leader_ ? record_child(launch, child->pid, records_directory) : exhausted("no descriptor of it");
  if (!recorded) {
    abandon(child->pid);
    return recorded.error();
  }
  // Only now: a daemon that dies here leaves no process without a record.
  release_child(*child);
  out.launch_ = launch;
  out.launch_.files.clear();
  out.program_ = std::move(program);
  out.child_ = std::move(*child);
  out.output_ = std::move(output->read_end);
  out.log_ = std::move(log);
  out.record_ = record_path(records_directory, out.pid());
  out.last_activity = std::chrono::system_clock::now();
  return out;
}

bool agent_group::take_start() {
  child_failure failure{};
  const auto n = ::recv(child_.control.get(), &failure, sizeof failure, 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  child_.control.reset();
  // One write of a few bytes into an empty socket comes as a whole.
  if (n == sizeof failure) start_failure_ = explain(failure, program_, launch_);
  program_ = {};
  launch_.argv.clear();
  launch_.environment.clear();
  return true;
}

// -- its output -------------------------------------------------------------------------------------------------------

bool agent_group::take_output() {
  static thread_local std::array<char, chunk_bytes> chunk;
  const auto n = ::read(output_.get(), chunk.data(), chunk.size());
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (n <= 0) {
    output_.reset();
    return false;
  }
  last_activity = std::chrono::system_clock::now();
  // The agent is never held up by a full disk: what cannot be written is dropped.
  const int failed = log_.append({chunk.data(), static_cast<std::size_t>(n)});
  if (failed != 0 && !log_failed_)
    log::warn("output of an agent is lost", {{"agent", launch_.agent_id},
                                             {"log", launch_.log.string()},
                                             {"error", std::generic_category().message(failed)}});
  log_failed_ = failed != 0;
  return true;
}

// -- its end ----------------------------------------------------------------------------------------------------------

void agent_group::look_at_leader() {
  siginfo_t info{};
  if (leader_end_ || ::waitid(P_PID, static_cast<id_t>(pid()), &info, WEXITED | WNOHANG | WNOWAIT) != 0) return;
  if (info.si_pid == 0) return;
  leader_end_.emplace();
  if (info.si_code == CLD_EXITED)
    leader_end_->exit_code = info.si_status;
  else
    leader_end_->signal = info.si_status;
  leader_.reset();
}

void agent_group::stop(clock::time_point now, std::chrono::milliseconds grace) {
  kill_at_ = std::min(kill_at_.value_or(clock::time_point::max()), now + grace);
}

void agent_group::kill(clock::time_point now) {
  terminated_ = true;
  kill_at_ = now;
}

agent_group::clock::time_point agent_group::next_look(clock::time_point looked_at,
                                                      clock::duration interval) const noexcept {
  if (!is_ending()) return clock::time_point::max();
  return terminated_ && !leader_ended() ? std::max(*kill_at_, looked_at + interval) : looked_at + interval;
}

bool agent_group::press(const std::vector<process_entry>& processes, clock::time_point now,
                        std::chrono::milliseconds default_grace) {
  const auto members = living_in_session(processes, pid());
  if (leader_ended() && members.empty()) return true;
  if (!kill_at_) kill_at_ = now + default_grace;
  if (!terminated_) {
    terminated_ = true;
    signal_all(members, SIGTERM);
    signal_all(members, SIGCONT); // one that is stopped could not end
  }
  if (now < *kill_at_) return false;
  signal_all(members, SIGKILL);
  if (!overdue_ && now >= *kill_at_ + kill_patience) {
    overdue_ = true;
    log::warn("a process does not end on SIGKILL: the kernel holds it, often for a disk or network file system",
              {{"agent", launch_.agent_id}, {"pid", std::to_string(members.empty() ? pid() : members.front().pid)}});
  }
  return false;
}

void agent_group::signal_all(const std::vector<process_entry>& members, int signal) const {
  ::kill(-pid(), signal);
  if (is_starting()) ::kill(pid(), signal); // it may not have its session yet
  for (const auto& member : members)
    if (member.group != pid()) signal_process(member, signal);
}

process_end agent_group::finish() {
  // A listing of /proc can miss a process that is just being made; the kernel's own list of the group cannot.
  ::kill(-pid(), SIGKILL);
  if (output_) {
    const auto holds = ::fcntl(output_.get(), F_GETPIPE_SZ);
    auto chunks = 1 + static_cast<std::size_t>(std::max(holds, 0)) / chunk_bytes;
    // A process that left the session may hold the pipe and write for ever: hardly more than was in it.
    while (chunks-- > 0 && output_ && take_output()) {
    }
  }
  while (::waitpid(pid(), nullptr, 0) < 0 && errno == EINTR) {
  }
  remove_record(record_);
  process_end out;
  if (leader_end_) {
    out.exit_code = leader_end_->exit_code;
    out.signal = leader_end_->signal;
  }
  out.last_activity_at = rfc3339(last_activity);
  return out;
}

} // namespace townkeeper
