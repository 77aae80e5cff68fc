#include "watched_rig.hpp"

#include <fstream>
#include <stdexcept>
#include <utility>

namespace townkeeper::test {
namespace fs = std::filesystem;

watch::watch_callback event_log::callback() {
  return [this](const watch::watch_event& event) {
    const std::lock_guard lock(mutex_);
    events_.push_back(event);
    times_.push_back(clock::now());
    changed_.notify_all();
  };
}

std::size_t event_log::count() const {
  const std::lock_guard lock(mutex_);
  return events_.size();
}

watch::watch_event event_log::since(std::size_t from) const {
  const std::lock_guard lock(mutex_);
  watch::watch_event out;
  for (; from < events_.size(); ++from) {
    out.refs = out.refs || events_[from].refs;
    out.started = out.started || events_[from].started;
    if (events_[from].lost) out.lost = events_[from].lost;
  }
  return out;
}

event_log::clock::time_point event_log::last_at() const {
  const std::lock_guard lock(mutex_);
  return times_.back();
}

std::vector<event_log::clock::time_point> event_log::times() const {
  const std::lock_guard lock(mutex_);
  return times_;
}

bool event_log::wait_until(const std::function<bool(const std::vector<watch::watch_event>&)>& happened) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::seconds(20), [&] { return happened(events_); });
}

bool event_log::wait_for_count(std::size_t count) const {
  return wait_until([count](const auto& events) { return events.size() >= count; });
}

void write_file(const fs::path& path, std::string_view content) {
  fs::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << content;
  file.close();
  if (!file) throw std::runtime_error("cannot write " + path.string());
}

watched_rig::watched_rig(watch::watch_hub_options options) {
  static const auto ready = git::initialise_library({}); // not thread-safe: threads of a test ask for requests at once
  if (!ready) throw std::runtime_error(to_string(ready.error()));
  fs::create_directories(scratch());
  run_git(dir_.path(), {"init", "-q", "--bare", "repo.git"});
  commit_into(repository(), {.branch = "main",
                             .files = {{"README", "read me\n"},
                                       {"src/a.txt", "a\n"},
                                       {"src/deep/er/b.txt", "b\n"},
                                       {".gitignore", "/build/\n*.o\n"}}});
  add_worktree("a1");
  for (const auto* each : {"sentinel/worktree", "sentinel/repo/worktrees/s"})
    fs::create_directories(dir_.path() / each);
  auto hub = watch::watch_hub::create(options);
  if (!hub) throw std::runtime_error(to_string(hub.error()));
  hub_ = std::move(*hub);
}

void watched_rig::add_worktree(const std::string& agent) {
  run_git(repository(), {"worktree", "add", "-q", "-b", "agent/" + agent, worktree(agent).string(), "main"});
}

watch::watch_request watched_rig::request(const std::string& agent, std::vector<std::string> include) const {
  auto rules = std::make_shared<git::ignore_rules>(worktree(agent), std::move(include));
  return {.worktree = worktree(agent),
          .repository = repository(),
          .agent_id = agent,
          .branch = "agent/" + agent,
          .agent_branches = {"agent/a1", "agent/a2"},
          .ignored = {[rules](const std::string& directory) { return rules->is_ignored(directory); },
                      [rules] { rules->reload(); }}};
}

watch::watch_handle watched_rig::watch(event_log& log, const std::string& agent) {
  auto handle = hub_->watch(request(agent), log.callback());
  if (!handle) throw std::runtime_error(to_string(handle.error()));
  if (!log.wait_until([](const auto& events) { return !events.empty() && events.back().started; }))
    throw std::runtime_error("the watches of " + agent + " never stood");
  return std::move(*handle);
}

void watched_rig::flush() {
  // Watched last, it hears last of what one pass has to say.
  sentinel_handle_.reset();
  const auto root = dir_.path() / "sentinel";
  const auto before = sentinel_.count();
  auto handle = hub_->watch({.worktree = root / "worktree",
                             .repository = root / "repo",
                             .agent_id = "s",
                             .branch = {},
                             .agent_branches = {},
                             .ignored = {}},
                            sentinel_.callback());
  if (!handle) throw std::runtime_error(to_string(handle.error()));
  sentinel_handle_ = std::move(*handle);
  if (!sentinel_.wait_for_count(before + 1)) throw std::runtime_error("the sentinel was never watched");
  write_file(root / "worktree" / "marker", std::to_string(++flushes_));
  if (!sentinel_.wait_for_count(before + 2)) throw std::runtime_error("the sentinel's change was never told");
}

std::optional<watch::watch_event> watched_rig::told(event_log& log, const std::function<void()>& action) {
  flush();
  const auto before = log.count();
  action();
  flush();
  if (log.count() == before) return std::nullopt;
  return log.since(before);
}

void watched_rig::write(const fs::path& path, std::string_view content, const std::string& agent) const {
  write_file(worktree(agent) / path, content);
}

} // namespace townkeeper::test
