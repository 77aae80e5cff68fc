#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <map>
#include <regex>
#include <set>

#include "suite/bodies.hpp"
#include "suite/dispatch.hpp"
#include "suite/files.hpp"

using namespace townkeeper::contract;
using townkeeper::test::control_stub;

namespace {

/// What the town fills in, for the agent of `rendered`.
std::map<std::string, std::string> values_of(const session& town, const std::string& role) {
  return {{"agentId", "a1"},
          {"rigId", "rig"},
          {"rigName", "Rig"},
          {"townId", town.town_id()},
          {"name", "Toast"},
          {"role", role},
          {"identity", "Toast <toast@town.example>"},
          {"branch", "gt/a1"},
          {"defaultBranch", "main"},
          {"beadId", "gt-1"},
          {"beadTitle", "Fix {{branch}} & $1"}};
}

std::string prompt_file(const std::string& role) {
  return read_file("config/prompts/" + role + ".md");
}

std::set<std::string> placeholders_of(const std::string& prompt) {
  static const std::regex placeholder{R"(\{\{([^{}]*)\}\})"};
  std::set<std::string> out;
  for (std::sregex_iterator at{prompt.begin(), prompt.end(), placeholder}, end; at != end; ++at)
    out.insert((*at)[1]);
  return out;
}

/// With line breaks as spaces, so that a sentence is found wherever it is wrapped.
std::string in_one_line(std::string prompt) {
  std::replace(prompt.begin(), prompt.end(), '\n', ' ');
  return std::regex_replace(prompt, std::regex{" +"}, " ");
}

/// The section under a heading, up to the next one.
std::string section_of(const std::string& prompt, const std::string& heading) {
  const auto begin = prompt.find("\n## " + heading + "\n");
  REQUIRE(begin != std::string::npos);
  return in_one_line(prompt.substr(begin, prompt.find("\n## ", begin + 1) - begin));
}

std::string any_role() {
  return GENERATE("polecat", "refinery", "triage", "mayor");
}

} // namespace

TEST_CASE("a prompt names what it is about and no placeholder that the town does not fill") {
  const auto role = any_role();
  CAPTURE(role);
  const auto used = placeholders_of(prompt_file(role));
  for (const auto* needed :
       {"name", "agentId", "townId", "rigName", "branch", "defaultBranch", "identity", "beadId", "beadTitle"}) {
    CAPTURE(needed);
    CHECK(used.count(needed) == 1);
  }
  const auto known = values_of(session{shared_town()}, role);
  for (const auto& name : used) {
    CAPTURE(name);
    CHECK(known.count(name) == 1);
  }
}

TEST_CASE("a prompt says why the disk is not to be trusted, and what to do about it after every step") {
  const auto role = any_role();
  CAPTURE(role);
  const auto section = section_of(prompt_file(role), "The disk is not to be trusted");
  CHECK(std::regex_search(section, std::regex{"container[^.]* can disappear"}));
  CHECK(section.find("disk") != std::string::npos);
  CHECK(section.find("**Commit after each meaningful step**") != std::string::npos);
  CHECK(section.find("**Push after each commit**") != std::string::npos);
  CHECK(section.find("**Call `gt_checkpoint` after each milestone** with a summary") != std::string::npos);
  CHECK(section.find("It replaces the one before it") != std::string::npos);
}

TEST_CASE("a prompt says what is saved without the agent, what is not, and that it is no reason not to push") {
  const auto role = any_role();
  CAPTURE(role);
  const auto section = section_of(prompt_file(role), "The disk is not to be trusted");
  const auto begin = section.find("**What is saved without you.**");
  REQUIRE(begin != std::string::npos);
  const auto paragraph = section.substr(begin);
  const auto not_saved = paragraph.find("Not saved:");
  REQUIRE(not_saved != std::string::npos);
  for (const auto* saved : {"staged", "modified", "untracked", "unpushed commits", "rebase in progress"}) {
    CAPTURE(saved);
    CHECK(paragraph.find(saved) < not_saved);
  }
  for (const auto* lost : {"ignored files", "submodules", "above the size limit", "`recovery.leftOut`",
                           "outside your worktree", "running processes", "the last seconds before a crash"}) {
    CAPTURE(lost);
    CHECK(paragraph.find(lost, not_saved) != std::string::npos);
  }
  CHECK(paragraph.find("Commit and push all the same.") != std::string::npos);
}

TEST_CASE("a prompt tells how to read the recovery note, outcome by outcome") {
  const auto role = any_role();
  CAPTURE(role);
  const auto section = section_of(prompt_file(role), "How to read the recovery note");
  for (const auto* word :
       {"`recovery.note`", "`recovery.outcome`", "`restored`:", "`recovered`:", "`diverged`:", "`recovery.kept`",
        "git fetch origin <ref>", "`recovery.leftOut`", "`recovery.maybeLostSeconds`"}) {
    CAPTURE(word);
    CHECK(section.find(word) != std::string::npos);
  }
}

TEST_CASE("a prompt sends the agent to gt_prime first and names what ends its task") {
  const auto role = any_role();
  CAPTURE(role);
  const auto first = section_of(prompt_file(role), "First, read `gt_prime`");
  CHECK(first.find("`agent.checkpoint`") != std::string::npos);
  CHECK(first.find("`undelivered_mail`") != std::string::npos);
  CHECK(first.find("cknowledge") != std::string::npos);
  const auto last = section_of(prompt_file(role), "At the end");
  CHECK(last.find("`gt_checkpoint`") != std::string::npos);
  CHECK(last.find("`gt_done`") != std::string::npos);
  CHECK(prompt_file(role).find("`gt_status`") != std::string::npos);
  CHECK(prompt_file(role).find("refs/townkeeper/") != std::string::npos);
}

TEST_CASE("a start request carries its role's prompt with every placeholder filled once") {
  const auto role = any_role();
  CAPTURE(role);
  control_stub container;
  session town{shared_town()};
  town.put_rig();
  const auto values = values_of(town, role);
  auto body = with(agent_body("a1"), "/role", json_string(role));
  body = with(body, "/bead", R"({"beadId":"gt-1","body":"all of it","status":"open"})");
  town.put_agent("a1", with(body, "/bead/title", json_string(values.at("beadTitle"))));
  town.boot_ready({"a1"}, container.url());
  REQUIRE(container.wait_for(1));

  std::string expected;
  const auto prompt = prompt_file(role);
  for (std::size_t at = 0; at < prompt.size();) {
    const auto open = prompt.find("{{", at);
    expected += prompt.substr(at, open - at);
    if (open == std::string::npos) break;
    const auto close = prompt.find("}}", open);
    expected += values.at(prompt.substr(open + 2, close - open - 2));
    at = close + 2;
  }
  CHECK(start_call(container, 0)["systemPrompt"] == expected);
  // A value is text and not a template.
  CHECK(expected.find("Fix {{branch}} & $1") != std::string::npos);
}

TEST_CASE("an agent without a task is sent to gt_prime") {
  control_stub container;
  auto town = town_of(shared_town(), {"a1"});
  town.boot_ready({"a1"}, container.url());
  REQUIRE(container.wait_for(1));
  const auto start = start_call(container, 0);
  CHECK(start["prompt"].string().find("gt_prime") != std::string::npos);
  CHECK(start["systemPrompt"].string().find("{{") == std::string::npos);
  CHECK(start["startPoint"].missing());
}
