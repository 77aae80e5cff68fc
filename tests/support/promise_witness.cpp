#include "promise_witness.hpp"

#include <algorithm>
#include <sstream>
#include <stdexcept>

#include "tests/support/command.hpp"

namespace townkeeper::test {

namespace {

std::string word(const rapidjson::Value& object, const char* member) {
  return object.IsObject() && object.HasMember(member) && object[member].IsString() ? object[member].GetString() : "";
}

bool is_restored(const std::string& outcome) {
  return outcome == "restored" || outcome == "recovered" || outcome == "diverged";
}

/// Agents of a health document that have no verified worktree.
std::vector<std::string> not_restored(const rapidjson::Value& health) {
  std::vector<std::string> out;
  for (const auto& rig : health["recovery"]["rigs"].GetArray())
    for (const auto& agent : rig["agents"].GetArray())
      if (!is_restored(word(agent, "outcome"))) out.push_back(word(agent, "agentId"));
  return out;
}

/// Every object of these commits, not only they themselves: a walk over all of them fails where one is missing. Of all
/// at once each object is looked at once.
command_outcome walk(const std::filesystem::path& repository, const std::string& commits) {
  return try_run({.argv = {"git", "-C", repository.string(), "rev-list", "--objects", "--quiet", "--stdin"},
                  .input = commits + '\n'});
}

} // namespace

promise_witness::promise_witness(const town_admin& admin, std::map<std::string, std::filesystem::path> repositories)
    : admin_{admin}
    , repositories_{std::move(repositories)} {}

void promise_witness::look(const container& box) {
  rapidjson::Document state;
  try {
    state = admin_.state();
  } catch (const std::runtime_error&) {
    return; // it is down, or made to be: then it promises nothing
  }
  note_saves(state);
  note_ready(state, box);
}

void promise_witness::note_saves(const rapidjson::Value& state) {
  for (const auto& rig : state["rigs"].GetArray())
    for (const auto& agent : rig["agents"].GetArray()) {
      if (!agent.HasMember("recovery") || !agent["recovery"].IsObject()) continue;
      const auto& point = agent["recovery"];
      save s{word(rig, "rigId"), word(agent, "agentId"), word(point, "ref"), word(point, "commit")};
      last_[s.agent] = s;
      saves_.insert(std::move(s));
    }
}

void promise_witness::note_ready(const rapidjson::Value& state, const container& box) {
  if (!state["container"].IsObject() || word(state["container"], "outcome") != "ready") return;
  const auto epoch = state["epoch"].GetInt64();
  // Read after the town was asked: what it was told must show by now.
  const auto health = box.health();
  if (!health.IsObject() || health["recovery"]["epoch"].GetInt64() != epoch) return;
  if (!ready_epochs_.insert(epoch).second) return;
  ++readies_;
  for (const auto& agent : not_restored(health))
    broken_.push_back("epoch " + std::to_string(epoch) + " is ready for the town, and " + agent + " is not restored");
}

void promise_witness::saw_start(const std::string& agent_id, const std::string& dispatch_id) {
  if (++starts_[dispatch_id] == 2)
    broken_.push_back("dispatch " + dispatch_id + " of " + agent_id + " started a second process");
}

bool promise_witness::watch(const container& box, const std::function<bool(const rapidjson::Value&)>& reached,
                            std::chrono::milliseconds deadline) {
  return wait_until(
      [&] {
        look(box);
        const auto health = box.health();
        return health.IsObject() && reached(health);
      },
      deadline);
}

void promise_witness::check_saves(std::vector<std::string>& broken) const {
  for (const auto& [rig, repository] : repositories_) {
    if (walk(repository, commits_of(rig)).status == 0) continue;
    for (const auto& s : saves_) {
      if (s.rig != rig) continue;
      const auto alone = walk(repository, s.commit);
      if (alone.status != 0)
        broken.push_back("the save " + s.commit + " of " + s.agent + " cannot be read: " + alone.err);
    }
  }
  for (const auto& [agent, s] : last_) {
    const auto found = repositories_.find(s.rig);
    if (found != repositories_.end() && id_of(found->second, s.ref).empty())
      broken.push_back("the last save of " + agent + " is on record, and " + s.ref + " is not on the remote");
  }
}

/// One a line.
std::string promise_witness::commits_of(const std::string& rig) const {
  std::string lines;
  for (const auto& s : saves_)
    if (s.rig == rig) lines += s.commit + '\n';
  return lines;
}

void promise_witness::check_dispatches(std::vector<std::string>& broken) {
  const auto all = admin_.dispatches();
  std::map<std::string, int> created;                                              // by dispatch id
  std::map<std::pair<std::int64_t, std::string>, std::set<std::string>> succeeded; // by epoch and agent
  for (const auto& d : all.GetArray()) {
    const int status = d["status"].GetInt();
    if (status != 200 && status != 201) continue;
    if (status == 201) ++created[word(d, "dispatchId")];
    succeeded[{d["epoch"].GetInt64(), word(d, "agentId")}].insert(word(d, "dispatchId"));
  }
  dispatched_ = created.size();
  for (const auto& [id, count] : created)
    if (count > 1) broken.push_back("dispatch " + id + " was answered with 201 " + std::to_string(count) + " times");
  for (const auto& [whom, ids] : succeeded)
    if (ids.size() > 1 && !ended_.contains(whom.second))
      broken.push_back(whom.second + " was dispatched " + std::to_string(ids.size()) + " times in epoch " +
                       std::to_string(whom.first));
}

std::vector<std::string> promise_witness::broken_promises() {
  auto broken = broken_;
  note_saves(admin_.state());
  check_saves(broken);
  check_dispatches(broken);
  return broken;
}

} // namespace townkeeper::test
