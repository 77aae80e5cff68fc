#include <fmt/format.h>
#include <rapidjson/document.h>

#include <limits>
#include <map>
#include <set>
#include <utility>

#include "core/bounded_json.hpp"
#include "core/utf8.hpp"
#include "town/decode.hpp"
#include "town/object_reader.hpp"

namespace townkeeper::town {
namespace {

using rapidjson::Value;

recovery_point read_recovery_point(object_reader& in, const std::optional<std::string>& commit = {}) {
  recovery_point p;
  p.epoch = in.integer("epoch", 1);
  p.seq = in.integer("seq", 0);
  p.ref = in.text("ref", recovery_ref);
  p.commit = commit ? *commit : in.text("commit", full_commit);
  p.git_url = in.text("gitUrl", url_shape);
  p.branch = in.text("branch", valid_branch);
  p.remote_commit = in.optional_text("remoteCommit", full_commit);
  p.branch_commit = in.optional_text("branchCommit", full_commit);
  if (const auto* head = in.find_object("head")) {
    object_reader inner(*head, in.path_of("head"));
    p.head.ref = inner.optional_text("ref", valid_ref);
    p.head.commit = inner.optional_text("commit", full_commit);
    in.adopt(inner);
  } else {
    in.fail("head", "is missing");
  }
  p.clean = in.boolean("clean");
  p.saved_at = in.text("savedAt", one_line);
  p.kind = in.one_of("kind", {"auto", "drain", "manual"});
  if (const auto* files = in.find_object("files")) {
    object_reader inner(*files, in.path_of("files"));
    p.files.staged = inner.integer("staged", 0);
    p.files.modified = inner.integer("modified", 0);
    p.files.untracked = inner.integer("untracked", 0);
    p.files.left_out = inner.integer("leftOut", 0);
    in.adopt(inner);
  } else {
    in.fail("files", "is missing");
  }
  return p;
}

std::optional<recovery_point> read_optional_point(object_reader& in, std::string_view key) {
  const auto* value = in.find_object(key);
  if (value == nullptr) return std::nullopt;
  object_reader inner(*value, in.path_of(key));
  auto point = read_recovery_point(inner);
  in.adopt(inner);
  return point;
}

std::vector<recovery_point> read_kept(object_reader& in) {
  std::vector<recovery_point> out;
  const auto* list = in.find_array("kept");
  for (rapidjson::SizeType i = 0; list != nullptr && i < list->Size(); ++i) {
    object_reader inner((*list)[i], fmt::format("{}[{}]", in.path_of("kept"), i));
    out.push_back(read_recovery_point(inner));
    in.adopt(inner);
  }
  return out;
}

std::optional<bead> read_bead(object_reader& in) {
  const auto* value = in.find_object("bead");
  if (value == nullptr) return std::nullopt;
  object_reader inner(*value, in.path_of("bead"));
  bead b{inner.text("beadId", one_line), inner.optional_text("title").value_or(""),
         inner.optional_text("body").value_or(""), inner.optional_text("status").value_or("")};
  in.adopt(inner);
  return b;
}

std::optional<checkpoint_mark> read_checkpoint(object_reader& in) {
  const auto* value = in.find_object("checkpoint");
  if (value == nullptr) return std::nullopt;
  object_reader inner(*value, in.path_of("checkpoint"));
  checkpoint_mark mark{inner.integer("seq", 0), inner.text("savedAt", one_line)};
  in.adopt(inner);
  return mark;
}

agent_spec read_agent(object_reader& in) {
  agent_spec a;
  a.agent_id = in.text("agentId", valid_id);
  a.name = in.text("name", one_line);
  a.role = in.text("role", valid_id);
  a.identity = in.text("identity", identity_line);
  a.status = in.one_of("status", {"pending", "restoring", "working", "stalled"});
  a.branch = in.text("branch", valid_branch);
  a.base_ref = in.optional_text("baseRef", valid_branch);
  a.head_commit = in.optional_text("headCommit", full_commit);
  a.hooked_bead = read_bead(in);
  a.priority = in.optional_integer("priority", std::numeric_limits<std::int64_t>::min()).value_or(0);
  a.checkpoint = read_checkpoint(in);
  a.recovery = read_optional_point(in, "recovery");
  a.kept = read_kept(in);
  a.maybe_lost_seconds = in.optional_number("maybeLostSeconds");
  return a;
}

/// The id of an entry that is set aside, where it is one: nothing hostile is handed on under the name of an id.
std::string readable_id(const Value& entry, std::string_view key) {
  object_reader in(entry, {});
  auto id = in.text(key, valid_id);
  return in.ok() ? id : std::string{};
}

/// Collects rigs and agents; what is wrong with one of them stays with that one.
class collector {
public:
  explicit collector(desired_state& into)
      : into_(into) {}

  void add_rig(const Value& entry, std::size_t index) {
    const auto path = fmt::format("rigs[{}]", index);
    object_reader in(entry, path);
    rig_spec rig;
    rig.rig_id = in.text("rigId", valid_id);
    rig.name = in.text("name", one_line);
    rig.git_url = in.text("gitUrl", url_shape);
    rig.default_branch = in.text("defaultBranch", valid_branch);
    const auto* agents = in.find_array("agents");
    if (agents == nullptr) in.fail("agents", "is missing");
    if (in.ok() && !rig_ids_.insert(rig.rig_id).second) in.fail("rigId", "stands twice");
    if (agents == nullptr || !in.ok()) {
      into_.set_aside.push_back({readable_id(entry, "rigId"), {}, clipped_utf8(in.problem(), max_reason_bytes)});
      return;
    }
    branches_.clear();
    for (rapidjson::SizeType i = 0; i < agents->Size(); ++i)
      add_agent(rig, (*agents)[i], fmt::format("{}.agents[{}]", path, i));
    into_.rigs.push_back(std::move(rig));
  }

private:
  static constexpr std::size_t max_reason_bytes = 500;

  void add_agent(rig_spec& rig, const Value& entry, const std::string& path) {
    object_reader in(entry, path);
    auto agent = read_agent(in);
    if (in.ok() && agent_ids_.contains(agent.agent_id)) in.fail("agentId", "stands twice in this town");
    if (in.ok())
      if (const auto other = branches_.find(agent.branch); other != branches_.end())
        in.fail("branch", fmt::format("is that of agent {} already", other->second));
    if (!in.ok()) {
      into_.set_aside.push_back(
          {rig.rig_id, readable_id(entry, "agentId"), clipped_utf8(in.problem(), max_reason_bytes)});
      return;
    }
    agent_ids_.insert(agent.agent_id);
    branches_.emplace(agent.branch, agent.agent_id);
    rig.agents.push_back(std::move(agent));
  }

  desired_state& into_;
  std::set<std::string> rig_ids_;
  std::set<std::string> agent_ids_;
  std::map<std::string, std::string> branches_; ///< of the rig that is being read → agent
};

result<desired_state> read_desired_state(const Value& value, const std::string& path) {
  object_reader in(value, path);
  desired_state state;
  state.version = in.integer("version", 0);
  state.epoch = in.integer("epoch", 0);
  if (const auto* old = in.find_object("predecessor")) {
    object_reader inner(*old, in.path_of("predecessor"));
    state.old_container =
        predecessor{inner.integer("epoch", 0), inner.boolean("draining"), inner.text("since", one_line)};
    in.adopt(inner);
  }
  const auto* rigs = in.find_array("rigs");
  if (rigs == nullptr) in.fail("rigs", "is missing");
  if (rigs == nullptr || !in.ok()) return error{error_code::corrupt, "desired state", in.problem()};
  collector all(state);
  for (rapidjson::SizeType i = 0; i < rigs->Size(); ++i)
    all.add_rig((*rigs)[i], i);
  return state;
}

} // namespace

result<desired_state> decode_desired_state(const answer_data& data) {
  return read_desired_state(data.value(), {});
}

result<boot_answer> decode_boot_answer(const answer_data& data) {
  object_reader in(data.value(), {});
  boot_answer answer;
  answer.epoch = in.integer("epoch", 1);
  const auto* desired = in.find_object("desiredState");
  if (desired == nullptr) in.fail("desiredState", "is missing");
  if (desired == nullptr || !in.ok()) return error{error_code::corrupt, "container-boot", in.problem()};
  auto state = read_desired_state(*desired, "desiredState");
  if (!state) return state.error();
  answer.desired = std::move(*state);
  return answer;
}

result<recovery_point> decode_recovery_point(std::string_view json, const std::optional<std::string>& commit) {
  constexpr auto what = "recovery point";
  rapidjson::Document document;
  if (const auto fault = parse_bounded(json, document))
    return error{error_code::corrupt, what, fmt::format("is not JSON: {} at byte {}", fault->message, fault->offset)};
  object_reader in(document, {});
  auto point = read_recovery_point(in, commit);
  if (!in.ok()) return error{error_code::corrupt, what, in.problem()};
  return point;
}

} // namespace townkeeper::town
