#include "config/agent_command.hpp"

#include <catch2/catch_test_macros.hpp>

#include "tests/unit/core/result_printer.hpp"

using namespace townkeeper;
using namespace townkeeper::config;

TEST_CASE("placeholders are replaced anywhere in an argument, and only once") {
  const auto argv =
      expand_agent_command({"run", "--id={agentId}", "{branch}:{branch}", "{prompt}"},
                           {{"agentId", "a1"}, {"branch", "gt/x"}, {"prompt", "say {branch}; $(id) \"q\""}});
  CHECK(argv == std::vector<std::string>{"run", "--id=a1", "gt/x:gt/x", "say {branch}; $(id) \"q\""});
}

TEST_CASE("braces around anything but a name stand for themselves") {
  const std::vector<std::string> command{"x", "{\"a\":1}", "{}", "{", "}", "{a-b}", "{ branch }"};
  REQUIRE(check_agent_command(command));
  CHECK(expand_agent_command(command, {{"branch", "b"}}) == command);
}

TEST_CASE("a placeholder without a value becomes empty, and its argument stays") {
  CHECK(expand_agent_command({"x", "{model}"}, {}) == std::vector<std::string>{"x", ""});
}

TEST_CASE("an unknown placeholder is refused by name, with the known ones") {
  const auto refused = check_agent_command({"x", "{agentid}"});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == error_code::invalid_config);
  CHECK(refused.error().message.find("{agentid} is no placeholder") != std::string::npos);
  CHECK(refused.error().message.find("{agentId}") != std::string::npos);
}

TEST_CASE("a command that no program could be started with is refused") {
  CHECK_FALSE(check_agent_command({""}));
  CHECK_FALSE(check_agent_command({"x", std::string("a\0b", 3)}));
  CHECK(check_agent_command({}));
}
