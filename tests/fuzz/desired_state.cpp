// The desired state: what is taken from it can be used as ids, branches, refs and URLs without a further look.

#include <algorithm>
#include <set>
#include <string>

#include "core/ids.hpp"
#include "tests/fuzz/property.hpp"
#include "town/codec.hpp"
#include "town/decode.hpp"
#include "town/field_rules.hpp"

using namespace townkeeper;
using fuzz::require;

namespace {

bool is_commit(const std::optional<std::string>& id) {
  return !id || town::full_commit(*id) == nullptr;
}

void check(const town::recovery_point& point) {
  require(point.epoch >= 1 && point.seq >= 0, "a point's numbers are in range");
  require(point.ref.starts_with("refs/townkeeper/"), "a point lies in our own namespace");
  require(point.ref.find("..") == std::string::npos, "a ref holds no \"..\"");
  const auto again = town::decode_recovery_point(town::encode(point));
  require(again && *again == point, "a point is encoded and decoded to the same");
}

void check(const town::agent_spec& agent) {
  require(is_valid_id(agent.agent_id), "an agent's id is one");
  require(is_valid_branch(agent.branch), "a branch is one");
  require(!agent.base_ref || is_valid_branch(*agent.base_ref), "a base branch is one");
  require(is_commit(agent.head_commit), "a commit is one");
  require(town::identity_line(agent.identity) == nullptr, "an identity stays on its line");
  if (agent.recovery) check(*agent.recovery);
  for (const auto& point : agent.kept)
    check(point);
}

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto answer = town::answer_data::parse(std::string(fuzz::bytes_of(data, size)));
  if (!answer) return 0;
  const auto state = town::decode_desired_state(*answer);
  if (!state) {
    require(!state.error().message.empty(), "a refusal says why");
    return 0;
  }
  std::set<std::string> rigs, agents;
  for (const auto& rig : state->rigs) {
    require(is_valid_id(rig.rig_id) && rigs.insert(rig.rig_id).second, "a rig's id is one and stands once");
    require(town::url_shape(rig.git_url) == nullptr, "a URL has the shape of one");
    require(is_valid_branch(rig.default_branch), "a default branch is one");
    for (const auto& agent : rig.agents) {
      require(agents.insert(agent.agent_id).second, "an agent's id stands once");
      check(agent);
    }
  }
  for (const auto& entry : state->set_aside) {
    require(!entry.reason.empty(), "what is set aside has a reason");
    require(entry.rig_id.empty() || is_valid_id(entry.rig_id), "what is set aside has a sound id or none");
    require(entry.agent_id.empty() || is_valid_id(entry.agent_id), "what is set aside has a sound id or none");
  }
  return 0;
}
