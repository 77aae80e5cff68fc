#include "process/reaper.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <utility>

#include "core/fault_point.hpp"
#include "core/wall_clock.hpp"
#include "process/private_files.hpp"

namespace townkeeper {
namespace {

constexpr std::chrono::milliseconds look_interval{50}; ///< at groups that are ending
constexpr std::chrono::milliseconds orphan_interval{1000};
constexpr std::chrono::milliseconds shut_down_limit{5000}; ///< for groups to die of SIGKILL

/// Two would take each other's children.
std::atomic<bool> exists{false};

} // namespace

process_reaper::process_reaper(agent_processes_options options)
    : options_(std::move(options))
    , epoll_(::epoll_create1(EPOLL_CLOEXEC))
    , wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

result<std::shared_ptr<process_reaper>> process_reaper::create(agent_processes_options options) {
  if (!options.records_directory.is_absolute() || options.log_max_bytes == 0 || options.log_files == 0)
    return error{error_code::invalid_argument, options.records_directory.string(),
                 "the records directory must be absolute, log size and number at least 1"};
  if (auto made = make_private_directory(options.records_directory); !made) return made.error();
  if (!read_process(::getpid()))
    return error{error_code::unsupported, "/proc", "does not show our own process; mount proc there"};
  if (const git::descriptor self(open_pidfd(::getpid())); !self)
    return error{error_code::unsupported, "pidfd_open", "is refused by the kernel; Linux 5.9 or newer is needed"};
  if (exists.exchange(true)) return error{error_code::internal, "agent_processes", "exists already in this process"};
  std::shared_ptr<process_reaper> out(new process_reaper(std::move(options)));
  if (!out->epoll_ || !out->wake_) {
    exists = false;
    return error{error_code::unavailable, "agent processes",
                 "no descriptors for their thread; raise the limit of open files (ulimit -n)"};
  }
  // An ignored SIGCHLD is inherited through exec, and children are then reaped by the kernel: their pids would be given
  // away while we still signal them.
  struct sigaction by_default {};
  by_default.sa_handler = SIG_DFL;
  ::sigaction(SIGCHLD, &by_default, nullptr);
  ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  out->watch(out->wake_.get(), source::wake, 0);
  return out;
}

// -- from any thread --------------------------------------------------------------------------------------------------

void process_reaper::start(process_launch launch, const std::function<void(result<int>)>& started,
                           std::function<void(process_end)> ended) {
  const auto agent = launch.agent_id;
  const bool taken = post(
      [this, launch = std::move(launch), started, ended = std::move(ended)] { launch_group(launch, started, ended); });
  if (!taken) started(error{error_code::cancelled, agent, "townkeeper is ending; no process is started any more"});
}

void process_reaper::stop(int pid, std::chrono::milliseconds grace) {
  post([this, pid, grace] {
    const auto found = groups_.find(pid);
    if (found == groups_.end()) return;
    found->second.stop(clock::now(), std::max(grace, std::chrono::milliseconds::zero()));
    attention_ = true;
  });
}

std::string process_reaper::last_activity_at(int pid) {
  const std::lock_guard lock(mutex_);
  const auto found = last_activity_.find(pid);
  return found == last_activity_.end() ? std::string() : rfc3339(found->second);
}

bool process_reaper::post(std::function<void()> command) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return false;
    commands_.push_back(std::move(command));
  }
  ::eventfd_write(wake_.get(), 1);
  return true;
}

void process_reaper::run_thread() {
  // No signal of the daemon's is handled on this thread: a handler must not find it between fork and exec.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { loop(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void process_reaper::shut_down() {
  {
    // In one step: nothing is taken behind the last command.
    const std::lock_guard lock(mutex_);
    closed_ = true;
    commands_.emplace_back([this] {
      give_up_at_ = clock::now() + shut_down_limit;
      for (auto& [pid, group] : groups_)
        group.kill(clock::now());
      attention_ = true;
    });
  }
  ::eventfd_write(wake_.get(), 1);
  thread_.join();
  exists = false;
}

// -- on the thread ----------------------------------------------------------------------------------------------------

void process_reaper::loop() {
  ::pthread_setname_np(::pthread_self(), "tk-reaper");
  while (true) {
    wait_for_events(clock::now());
    run_commands();
    const auto now = clock::now();
    tend_groups(now);
    if (now >= orphans_at_) {
      reap_orphans();
      orphans_at_ = now + orphan_interval;
    }
    if (!give_up_at_) continue;
    if (groups_.empty() || now >= *give_up_at_) break;
  }
  give_up_rest();
  reap_orphans();
}

void process_reaper::watch(int fd, source from, int pid) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = static_cast<std::uint64_t>(from) << 32 | static_cast<std::uint32_t>(pid);
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
}

/// Leaders are seen to end by their pidfds. Orphans have none, and neither way to hear of them at once is good: a
/// handler of SIGCHLD interrupts system calls of any thread, a signalfd needs the signal blocked in all of them. They
/// wait for the next look instead: a zombie costs a slot in the process table and nothing else.
process_reaper::clock::time_point process_reaper::next_look() const {
  auto next = orphans_at_;
  for (const auto& [pid, group] : groups_)
    next = std::min(next, group.next_look(looked_at_, look_interval));
  return next;
}

void process_reaper::wait_for_events(clock::time_point now) {
  std::array<epoll_event, 64> events;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(next_look() - now).count();
  const int n = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()),
                             static_cast<int>(std::clamp<std::int64_t>(left, 0, orphan_interval.count())));
  for (int i = 0; i < n; ++i) {
    const auto data = events[static_cast<std::size_t>(i)].data.u64;
    take_event(static_cast<source>(data >> 32), static_cast<int>(data & 0xffff'ffffU));
  }
}

void process_reaper::take_event(source from, int pid) {
  if (from == source::wake) {
    eventfd_t ignored = 0;
    ::eventfd_read(wake_.get(), &ignored);
    return;
  }
  const auto found = groups_.find(pid);
  if (found == groups_.end()) return;
  auto& group = found->second;
  if (from == source::output && group.output_fd() >= 0 && group.take_output()) {
    const std::lock_guard lock(mutex_);
    if (const auto known = last_activity_.find(pid); known != last_activity_.end()) known->second = group.last_activity;
  }
  if (from == source::control) look_for_start(group);
  if (from == source::leader) {
    look_for_start(group); // its end may be seen before the word it wrote last
    group.look_at_leader();
    attention_ = true;
  }
}

void process_reaper::run_commands() {
  std::vector<std::function<void()>> commands;
  {
    const std::lock_guard lock(mutex_);
    commands.swap(commands_);
  }
  for (const auto& command : commands)
    command();
}

void process_reaper::launch_group(const process_launch& launch, std::function<void(result<int>)> started,
                                  std::function<void(process_end)> ended) {
  auto made = make_group(launch);
  if (!made) return started(made.error());
  const int pid = made->pid();
  auto& group = groups_.insert_or_assign(pid, std::move(*made)).first->second;
  group.started = std::move(started);
  group.ended = std::move(ended);
  watch(group.control_fd(), source::control, pid);
  watch(group.output_fd(), source::output, pid);
  watch(group.leader_fd(), source::leader, pid);
}

result<agent_group> process_reaper::make_group(const process_launch& launch) {
  auto program = prepare_program(launch);
  if (!program) return program.error();
  for (const auto& [file, content] : launch.files) {
    if (const int failed = fault_point("agent-file-written"); failed != 0)
      return git::disk_error(failed, file.string(), "cannot be written");
    if (auto written = write_private_file(file, content); !written) return written.error();
  }
  auto log = rotated_log::open(launch.log, options_.log_max_bytes, options_.log_files);
  if (!log) return log.error();
  return agent_group::start(launch, std::move(*program), options_.records_directory, std::move(*log));
}

void process_reaper::look_for_start(agent_group& group) {
  // A start that failed is told once its child is reaped: nothing of it is left then.
  if (!group.is_starting() || !group.take_start() || group.start_failure()) return;
  {
    const std::lock_guard lock(mutex_);
    last_activity_[group.pid()] = group.last_activity;
  }
  std::exchange(group.started, nullptr)(group.pid());
}

void process_reaper::tend_groups(clock::time_point now) {
  const auto is_due = [&](const auto& entry) { return entry.second.next_look(looked_at_, look_interval) <= now; };
  if (!std::exchange(attention_, false) && std::none_of(groups_.begin(), groups_.end(), is_due)) return;
  looked_at_ = now;
  const auto processes = read_processes();
  for (auto at = groups_.begin(); at != groups_.end();) {
    const auto next = std::next(at);
    if (at->second.is_ending() && at->second.press(processes, now, agent_processes::left_behind_grace)) finish(at);
    at = next;
  }
}

void process_reaper::finish(std::map<int, agent_group>::iterator at) {
  auto group = std::move(at->second);
  groups_.erase(at);
  {
    const std::lock_guard lock(mutex_);
    last_activity_.erase(group.pid());
  }
  auto end = group.finish();
  if (group.start_failure())
    group.started(*group.start_failure());
  else
    group.ended(std::move(end));
}

void process_reaper::reap_orphans() {
  siginfo_t info{};
  while (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0) {
    if (!groups_.contains(info.si_pid)) {
      ::waitpid(info.si_pid, nullptr, WNOHANG);
      info = {};
      continue;
    }
    // A leader that is kept as a zombie hides those behind it.
    for (const auto& process : read_processes())
      if (process.parent == ::getpid() && !process.lives() && !groups_.contains(process.pid))
        ::waitpid(process.pid, nullptr, WNOHANG);
    return;
  }
}

void process_reaper::give_up_rest() {
  for (auto& [pid, group] : groups_) {
    if (group.started)
      group.started(error{error_code::cancelled, std::to_string(pid), "townkeeper is ending"});
    else
      group.ended({std::nullopt, std::nullopt, rfc3339(group.last_activity)});
  }
  groups_.clear();
}

} // namespace townkeeper
