#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <optional>
#include <thread>

#include "core/log.hpp"
#include "git/descriptor.hpp"
#include "process/agent_processes.hpp"
#include "process/group_record.hpp"
#include "process/process_table.hpp"

namespace townkeeper {
namespace {

using clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds look_interval{20};
constexpr std::chrono::seconds kill_patience{5};

struct leftover {
  std::filesystem::path file;
  group_record record;
  std::vector<process_entry> living;
  bool was_found = false, killed = false;
};

/// What of the recorded group lives; see `end_leftovers` for the reasons.
std::vector<process_entry> living_of(const leftover& group, const std::vector<process_entry>& processes) {
  const auto& record = group.record;
  const auto leader = std::find_if(processes.begin(), processes.end(),
                                   [&](const process_entry& process) { return process.pid == record.pid; });
  auto members = living_in_session(processes, record.pid);
  if (leader != processes.end()) {
    // A number that was given away again is that of no group of ours: ours has ended, whole.
    if (leader->start_time != record.start_time) return {};
    if (leader->lives()) members.push_back(*leader);
    return members;
  }
  const auto marker = "GASTOWN_AGENT_ID=" + record.agent_id;
  const auto is_ours = [&](const process_entry& process) {
    const auto seen_before = [&](const process_entry& known) {
      return known.pid == process.pid && known.start_time == process.start_time;
    };
    return std::any_of(group.living.begin(), group.living.end(), seen_before) ||
           (process.start_time >= record.start_time && has_environment_entry(process.pid, marker));
  };
  std::erase_if(members, [&](const process_entry& process) { return !is_ours(process); });
  return members;
}

result<std::vector<leftover>> read_records(const std::filesystem::path& directory) {
  std::vector<leftover> out;
  const git::descriptor fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd && errno == ENOENT) return out;
  if (!fd) return git::disk_error(errno, directory.string(), "cannot be opened");
  const auto names = git::list_directory(fd.get(), directory.string());
  if (!names) return names.error();
  const auto boot = boot_id(), name_space = pid_namespace();
  for (const auto& name : *names) {
    const auto file = directory / name;
    auto record = read_record(file);
    if (record && record->boot_id == boot && record->pid_namespace == name_space) {
      out.push_back({file, std::move(*record), {}, false, false});
      continue;
    }
    if (!record) log::warn("record of a process is removed unread", {{"error", to_string(record.error())}});
    remove_record(file); // of another boot or namespace, a half-written one, or damaged
  }
  return out;
}

/// Looks at all of them once; sends `signal`, if there is one, to what lives. True when nothing does.
bool press(std::vector<leftover>& leftovers, std::optional<int> signal) {
  const auto processes = read_processes();
  bool all_gone = true;
  for (auto& group : leftovers) {
    group.living = living_of(group, processes);
    if (group.living.empty()) continue;
    all_gone = false;
    group.was_found = true;
    if (!signal) continue;
    group.killed = group.killed || *signal == SIGKILL;
    for (const auto& process : group.living) {
      signal_process(process, *signal);
      if (*signal == SIGTERM) signal_process(process, SIGCONT); // one that is stopped could not end
    }
  }
  return all_gone;
}

} // namespace

result<std::vector<ended_leftover>> end_leftovers(const std::filesystem::path& records_directory,
                                                  std::chrono::milliseconds grace) {
  auto leftovers = read_records(records_directory);
  if (!leftovers) return leftovers.error();
  const auto kill_at = clock::now() + grace, give_up_at = kill_at + kill_patience;
  bool all_gone = press(*leftovers, SIGTERM);
  while (!all_gone && clock::now() < give_up_at) {
    std::this_thread::sleep_for(look_interval);
    all_gone = press(*leftovers, clock::now() < kill_at ? std::nullopt : std::optional(SIGKILL));
  }

  std::vector<ended_leftover> ended;
  for (const auto& group : *leftovers) {
    if (!group.living.empty()) {
      log::warn("a process of a dead predecessor does not end on SIGKILL: the kernel holds it",
                {{"agent", group.record.agent_id}, {"pid", std::to_string(group.living.front().pid)}});
      continue;
    }
    remove_record(group.file);
    if (group.was_found) ended.push_back({group.record.agent_id, group.record.rig_id, group.record.pid, group.killed});
  }
  return ended;
}

} // namespace townkeeper
