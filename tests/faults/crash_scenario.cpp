#include "crash_scenario.hpp"

#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <algorithm>
#include <csignal>
#include <exception>
#include <fstream>

#include "fault_points.hpp"
#include "tests/integration/scenario.hpp"
#include "tests/support/worktree_states.hpp"

namespace townkeeper::faults {

namespace fs = std::filesystem;
using integration::agent_in;
using integration::text;

namespace {

constexpr const char* control_token = "a-control-token-of-the-sweep";
constexpr const char* rig = "api";
constexpr std::chrono::seconds patience{60};      ///< for what has to come
constexpr std::chrono::seconds dispatch_limit{5}; ///< for what a fault may hold up
constexpr std::chrono::seconds points_limit{15};
constexpr std::chrono::seconds fsck_limit{5};
const std::vector<std::string> workers{"ada", "bob"};

std::string branch_of(const std::string& agent) {
  return "work/" + agent;
}

std::string configuration() {
  return std::string{R"({"town":{"retry_first":"20ms","retry_max":"200ms","heartbeat_interval":"1s"},)"
                     R"("control":{"token":")"} +
         control_token +
         R"("},"git":{"stall_timeout":"3s","connect_timeout":"1s","attempt_timeout":"20s"},)"
         R"("restore":{"attempts":2,"backoff_first":"20ms","backoff_max":"100ms","retry_failed":"1s"},)"
         R"("protect":{"push_interval":"200ms","quiet":"50ms","latest":"150ms","backoff_first":"20ms","backoff_max":"200ms"},)"
         R"("agents":{"stop_grace":"2s","log_max_size":"4KiB","log_files":2,"command":["/bin/sh","-c",)"
         R"("[ $0 = cyd ] && exit 0; seq 3000; exec sleep 600","{agentId}"]}})";
}

test::container_options options_for(const test::town& town, const std::string& town_id) {
  test::container_options options;
  options.api_url = town.base_url();
  options.town_id = town_id;
  options.token = town.mint(town_id, "container");
  options.config = configuration();
  return options;
}

/// A change that is there whole or not at all.
void put(const fs::path& worktree, const std::string& name, const std::string& content) {
  const auto fresh = worktree.parent_path() / (".fresh-" + worktree.filename().string());
  std::ofstream{fresh, std::ios::binary} << content;
  fs::rename(fresh, worktree / name);
}

/// Without what is another agent's, or the remote's.
test::worktree_picture picture_of(const fs::path& worktree, const std::string& agent) {
  auto picture = test::describe(worktree);
  std::erase_if(picture.facts, [&](const auto& fact) {
    return fact.first.starts_with("ref refs/heads/") && fact.first != "ref refs/heads/" + branch_of(agent) &&
           fact.first != "ref refs/heads/scratch";
  });
  return picture;
}

/// Empty: it is one of the states, or has of each thing what one of them has (a snapshot that was being taken when the
/// work was done). Else a fact of it that none of them has, or one that all of them have and it has not.
std::string stranger(const test::worktree_picture& now, const std::vector<test::worktree_picture>& states) {
  if (std::any_of(states.begin(), states.end(), [&](const auto& state) { return state.facts == now.facts; })) return {};
  if (states.size() == 1) return test::differences(states.front(), now);
  for (const auto& [key, value] : now.facts) {
    const bool known = std::any_of(states.begin(), states.end(), [&, &k = key, &v = value](const auto& state) {
      const auto found = state.facts.find(k);
      return found != state.facts.end() && found->second == v;
    });
    if (!known && !key.starts_with("says ")) return "+" + key + ": " + value;
  }
  for (const auto& [key, value] : states.front().facts) {
    const bool in_all =
        std::all_of(states.begin(), states.end(), [&k = key](const auto& state) { return state.facts.contains(k); });
    if (in_all && !now.facts.contains(key) && !key.starts_with("says ")) return "-" + key + ": " + value;
  }
  return {};
}

std::string written(const rapidjson::Value& document) {
  rapidjson::StringBuffer out;
  rapidjson::Writer<rapidjson::StringBuffer> writer{out};
  document.Accept(writer);
  return out.GetString();
}

bool runs(test::container& box) {
  return box.process() != nullptr && box.process()->running();
}

} // namespace

// -- the ground -------------------------------------------------------------------------------------------------------

sweep_ground::sweep_ground() {
  server_.make_repository("template");
  test::file_contents files;
  for (int i = 0; i < 12; ++i)
    files["dir" + std::to_string(i % 3) + "/file" + std::to_string(i)] = "content " + std::to_string(i) + "\n";
  server_.commit("template", {"main", files});
  const auto repository = server_.repository_path("template");
  // A link needs a tree that fast-import of plain files cannot make.
  const auto scratch = repository.parent_path() / "scratch";
  test::run_git(repository.parent_path(), {"clone", "-q", repository.string(), scratch.string()});
  fs::create_symlink("dir0/file0", scratch / "link");
  test::run_git(scratch, {"add", "link"});
  test::run_git(scratch, {"commit", "-q", "-m", "a link"});
  test::run_git(scratch, {"push", "-q", "origin", "main"});
  fs::remove_all(scratch);
  for (const auto* agent : {"ada", "bob", "cyd", "dan"})
    server_.commit("template", {branch_of(agent), {{"notes.txt", std::string{agent} + "\n"}}, {}, "begin", "main"});
  server_.commit("template", {"main", {{"offered", "by main\n"}}});
  test::run_git(repository, {"repack", "-q", "-a", "-d"});
}

void sweep_ground::copy_repository(const std::string& name) {
  fs::copy(server_.repository_path("template"), server_.repository_path(name), fs::copy_options::recursive);
}

// -- the scenario -----------------------------------------------------------------------------------------------------

crash_scenario::crash_scenario(sweep_ground& ground, const std::string& town_id)
    : ground_{ground}
    , town_id_{town_id}
    , admin_{ground.town(), town_id}
    , first_{options_for(ground.town(), town_id)}
    , second_{options_for(ground.town(), town_id)} {
  ground_.copy_repository(town_id);
  admin_.put_rig(rig, ground_.server().url(town_id));
  for (const std::string agent : {"ada", "bob", "cyd", "dan"})
    admin_.put_agent(rig, agent, branch_of(agent),
                     R"(,"headCommit":")" + ground_.server().tip(town_id, branch_of(agent)) + "\"");
}

void crash_scenario::live(int number, const life_faults& faults) {
  life_ = number;
  auto& box = box_of(number);
  const bool faulty = !faults.points.empty();
  if (!start(box, faults)) return;
  if (!wait_until_ready(box, faulty)) return;
  check_worktrees(box);
  if (number == 1) take_pictures(box);
  first_work(box, number);
  save(box, faulty);
  if (std::find(faults.awaited.begin(), faults.awaited.end(), pruning_point) != faults.awaited.end())
    much_work(box, faulty);
  wait_for_dispatch(box);
  if (number == lives) remove_agent(box, faulty);
  second_work(box, number);
  wait_for_points(box, faults);
  drain(box, faulty);
  move_remote(number);
}

void crash_scenario::wake_after(int number, bool wiped) {
  life_ = number;
  auto& box = box_of(number);
  box.kill();
  if (wiped) box.wipe_disk();
  if (!start(box, {})) return;
  if (!wait_until_ready(box, false)) return;
  check_worktrees(box);
  check_towns_points();
  check_dispatches();
  box.kill();
  check_sound(box.workspace() / "rigs" / rig / "repo.git");
  check_sound(ground_.server().repository_path(town_id_));
}

// -- a life's parts ---------------------------------------------------------------------------------------------------

/// False: it has ended before it could be asked anything. That is right only where a fault was to be.
bool crash_scenario::start(test::container& box, const life_faults& faults) {
  last_ = &box;
  box.options().environment.clear();
  if (!faults.points.empty()) box.options().environment["TOWNKEEPER_FAULT_POINTS"] = faults.points;
  if (!faults.log.empty()) box.options().environment["TOWNKEEPER_FAULT_LOG"] = faults.log.string();
  box.launch();
  if (box.wait_until_listening(patience)) return true;
  constexpr int disk = 74, killed = 137;
  const auto code = box.wait_for_exit(patience);
  if (faults.points.empty() || (code != disk && code != killed))
    violated("the daemon did not start: exit code " + (code ? std::to_string(*code) : std::string{"none"}));
  return false;
}

bool crash_scenario::wait_until_ready(test::container& box, bool faulty) {
  bool ready = false;
  const bool settled = test::wait_until(
      [&] {
        const auto health = box.health();
        if (health.IsObject()) {
          last_health_ = written(health);
          ready = text(&health["recovery"], "phase") == "ready";
        }
        return ready || !runs(box);
      },
      patience);
  if (!ready && !(settled && faulty)) violated("a container is not ready in a minute");
  return ready;
}

void crash_scenario::check_worktrees(test::container& box) {
  const auto health = box.health();
  if (!health.IsObject()) return; // it was killed meanwhile
  last_health_ = written(health);
  for (const std::string agent : {"ada", "bob", "cyd"}) {
    const auto outcome = text(agent_in(health, agent), "outcome");
    if (outcome != "recovered" && outcome != "restored") violated(agent + " is \"" + outcome + "\"");
    const auto& work = work_[agent];
    try {
      const auto strange = work.states.empty() ? difference_to_branch(box, agent)
                                               : stranger(picture_of(box.worktree(rig, agent), agent), work.states);
      if (!strange.empty()) violated(agent + " is not as it was: " + strange);
    } catch (const std::exception& e) {
      violated(agent + "'s worktree cannot be read: " + e.what());
    }
    if (work.acknowledged) ++checked_saves_;
  }
}

/// Of one that never had work that is not pushed.
std::string crash_scenario::difference_to_branch(test::container& box, const std::string& agent) {
  const auto worktree = box.worktree(rig, agent);
  const auto status = test::run_git(worktree, {"status", "--porcelain"});
  if (!status.empty()) return "not clean: " + status;
  const auto head = test::run_git(worktree, {"rev-parse", "HEAD"});
  const auto tip = ground_.server().tip(town_id_, branch_of(agent));
  return head == tip ? std::string{} : "at " + head + ", not at " + tip;
}

/// Each point that the town knows of is on the remote, and plain git can read it.
void crash_scenario::check_towns_points() {
  const auto state = admin_.state();
  for (const auto& agent : workers) {
    const auto* const record = integration::record_of(state, agent);
    const auto check = [&](const rapidjson::Value& point) {
      const std::string commit = point["commit"].GetString();
      const auto read =
          test::try_git(ground_.server().repository_path(town_id_), {"rev-list", "--objects", "--quiet", commit, "--"});
      if (read.status != 0) violated(agent + "'s point " + commit + " cannot be read on the remote: " + read.err);
    };
    if (const auto* recovery = integration::recovery_of(state, agent)) check(*recovery);
    if (record != nullptr && record->HasMember("kept"))
      for (const auto& each : (*record)["kept"].GetArray())
        check(each);
  }
}

/// The processes of these end only with their container: one start each, however often the town was told.
void crash_scenario::check_dispatches() {
  const auto dispatches = admin_.dispatches();
  const auto epoch = admin_.state()["epoch"].GetInt64();
  for (const auto& agent : workers)
    for (std::int64_t e = 1; e <= epoch; ++e)
      if (integration::dispatched(dispatches, agent, e) > 1)
        violated(agent + " was dispatched twice in epoch " + std::to_string(e));
}

/// Polled: what arrives while fsck looks (the last push goes on at the server) it calls missing.
void crash_scenario::check_sound(const fs::path& repository) {
  test::command_outcome fsck;
  const bool sound = test::wait_until(
      [&] {
        fsck = test::try_git(repository, {"fsck", "--full", "--no-dangling"});
        return fsck.status == 0;
      },
      fsck_limit);
  if (!sound) violated(repository.string() + " is not sound: " + fsck.out + fsck.err);
}

/// Staged, unstaged and untracked, what does not compress, a commit that is not pushed, refs and a stash entry, and a
/// merge that is not finished.
void crash_scenario::first_work(test::container& box, int number) {
  const auto nth = std::to_string(number);
  const auto ada = box.worktree(rig, "ada"), bob = box.worktree(rig, "bob");
  // It sees all of this or nothing: then what it saves is one of the states on record.
  box.process()->signal(SIGSTOP);
  if (number == 1) {
    // So many objects in a pack of the agent's are copied as a pack; those of the next commit lie alone and are linked.
    for (int i = 0; i < 64; ++i)
      put(ada, "many-" + std::to_string(i), "one of many: " + std::to_string(i) + "\n");
    test::run_git(ada, {"add", "."});
    test::run_git(ada, {"commit", "-q", "-m", "many, not pushed"});
    test::run_git(ada, {"repack", "-q", "-a", "-d"});
  }
  put(ada, "dir0/file0", "committed in life " + nth + "\n");
  test::run_git(ada, {"commit", "-q", "-a", "-m", "not pushed, life " + nth});
  if (number == 1) {
    put(ada, "dir0/file3", "stashed\n");
    test::run_git(ada, {"stash", "push", "-q"});
    test::run_git(ada, {"tag", "mark"});
    test::run_git(ada, {"branch", "scratch"});
    test::run_git(bob, {"merge", "-q", "--no-ff", "--no-commit", "origin/main"});
  }
  put(ada, "dir1/file1", "staged in life " + nth + "\n");
  test::run_git(ada, {"add", "dir1/file1"});
  put(ada, "dir1/file1", "edited in life " + nth + "\n");
  put(ada, "untracked-" + nth, "untracked\n");
  put(ada, "noise", test::dice{static_cast<std::uint64_t>(number)}.bytes(9000));
  put(bob, "dir2/file2", "edited in life " + nth + "\n");
  put(bob, "of-bob-" + nth, "staged\n");
  test::run_git(bob, {"add", "of-bob-" + nth});
  take_pictures(box);
  box.process()->signal(SIGCONT);
}

/// Of one large file three versions, of which the last alone is needed: the store begins to be pruned at 64 MiB.
void crash_scenario::much_work(test::container& box, bool faulty) {
  for (const std::uint64_t version : {1, 2, 3}) {
    if (!runs(box)) return;
    box.process()->signal(SIGSTOP);
    put(box.worktree(rig, "ada"), "large", test::dice{version}.bytes(24 << 20));
    take_pictures(box);
    box.process()->signal(SIGCONT);
    save(box, faulty);
  }
}

void crash_scenario::second_work(test::container& box, int number) {
  const auto nth = std::to_string(number);
  if (!runs(box)) return;
  box.process()->signal(SIGSTOP);
  fs::remove(box.worktree(rig, "ada") / "large");
  put(box.worktree(rig, "ada"), "last-" + nth, "last\n");
  put(box.worktree(rig, "bob"), "last-" + nth, "last\n");
  take_pictures(box);
  box.process()->signal(SIGCONT);
}

void crash_scenario::take_pictures(test::container& box) {
  for (const auto& agent : workers)
    work_[agent].states.push_back(picture_of(box.worktree(rig, agent), agent));
}

void crash_scenario::acknowledge(const std::string& agent) {
  auto& work = work_[agent];
  if (work.states.empty()) return;
  work.states.erase(work.states.begin(), work.states.end() - 1);
  work.acknowledged = true;
}

/// A 200 is the daemon's word that the remote has it.
void crash_scenario::save(test::container& box, bool faulty) {
  for (const auto& agent : workers) {
    bool saved = false;
    const bool answered = test::wait_until(
        [&] {
          saved = box.post("/snapshot", R"({"agentId":")" + agent + "\"}", control_token).status == 200;
          return saved || !runs(box);
        },
        patience);
    if (saved) acknowledge(agent);
    if (!saved && !(answered && faulty)) violated(agent + " cannot be saved");
  }
}

void crash_scenario::wait_for_dispatch(test::container& box) {
  const auto epoch = admin_.state()["epoch"].GetInt64();
  test::wait_until(
      [&] {
        const auto dispatches = admin_.dispatches();
        return !runs(box) || std::all_of(workers.begin(), workers.end(), [&](const auto& agent) {
          return integration::dispatched(dispatches, agent, epoch) > 0;
        });
      },
      dispatch_limit);
}

void crash_scenario::wait_for_points(test::container& box, const life_faults& faults) {
  if (faults.awaited.empty()) return;
  test::wait_until(
      [&] {
        const auto passed = passed_points(faults.log);
        return !runs(box) || std::all_of(faults.awaited.begin(), faults.awaited.end(),
                                         [&](const auto& point) { return passed.contains(point); });
      },
      points_limit);
}

/// Its worktree has nothing that is only there: it goes.
void crash_scenario::remove_agent(test::container& box, bool faulty) {
  if (std::exchange(dan_is_there_, false)) admin_.remove_agent(rig, "dan");
  const bool gone = test::wait_until([&] { return !fs::exists(box.worktree(rig, "dan")) || !runs(box); }, points_limit);
  if (!gone && !faulty) violated("the worktree of an agent that left stays");
}

void crash_scenario::drain(test::container& box, bool faulty) {
  box.terminate();
  constexpr int unsaved = 75, killed = 137;
  const auto code = box.wait_for_exit(patience);
  if (code == 0)
    for (const auto& agent : workers)
      acknowledge(agent);
  else if (!faulty || (code != unsaved && code != killed))
    violated("the drain ended with " + (code ? std::to_string(*code) : std::string{"nothing"}));
}

void crash_scenario::move_remote(int number) {
  const auto nth = std::to_string(number);
  ground_.server().commit(town_id_, {"main", {{"moved-" + nth, nth + "\n"}}});
  ground_.server().commit(town_id_, {branch_of("cyd"),
                                     {{"notes.txt", nth + "\n"}, {"new-" + nth, nth + "\n"}},
                                     {number == 1 ? "dir0/file9" : "new-" + std::to_string(number - 1)}});
}

void crash_scenario::violated(const std::string& what) {
  violations_.push_back("life " + std::to_string(life_) + ": " + what);
}

std::string crash_scenario::last_words() const {
  constexpr std::size_t enough = 6000;
  const auto log = last_ == nullptr ? std::string{} : last_->log();
  return "last health: " + last_health_ + "\nlog:\n" + (log.size() > enough ? log.substr(log.size() - enough) : log);
}

} // namespace townkeeper::faults
