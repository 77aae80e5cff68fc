#include "cli/command_line.hpp"

#include <catch2/catch_test_macros.hpp>

#include "cli/exit_code.hpp"

using namespace townkeeper;
using namespace townkeeper::cli;

namespace {

template <class Command>
Command parsed(const std::vector<std::string>& argv) {
  const auto read = parse_command_line(argv);
  if (const auto* exit = std::get_if<early_exit>(&read)) FAIL("exit " << exit->code << ": " << exit->err);
  return std::get<Command>(std::get<command>(read));
}

early_exit refused(const std::vector<std::string>& argv) {
  return std::get<early_exit>(parse_command_line(argv));
}

} // namespace

TEST_CASE("the help states the promise before it says how to call it") {
  const auto help = refused({"townkeeper", "--help"});
  CHECK(help.code == done);
  CHECK(help.out.find("A container that lost its disk gets its town back") < help.out.find("Usage"));
}

TEST_CASE("no command, an unknown one and a surplus argument are usage errors") {
  CHECK(refused({"townkeeper"}).code == usage);
  CHECK(refused({"townkeeper", "nonsense"}).code == usage);
  CHECK(refused({"townkeeper", "config", "surplus"}).code == usage);
  CHECK(refused({"townkeeper", "token", "mint", "--town", "t", "--scope", "root"}).code == usage);
  CHECK(refused({"townkeeper", "token", "mint", "--town", "t", "--scope", "admin", "--ttl", "8 days"}).code == usage);
}

TEST_CASE("run hands every flag on in its order, also one that no setting has") {
  const auto run = parsed<run_command>({"townkeeper", "run", "--config", "c.json", "--workspace=/w", "--listen",
                                        "127.0.0.1:0", "--agents-command", R"(["sh","-c","a, b"])", "--no-such", "x"});
  CHECK(run.configuration.file == "c.json");
  const std::vector<std::pair<std::string, std::string>> expected{{"--workspace", "/w"},
                                                                  {"--listen", "127.0.0.1:0"},
                                                                  {"--agents-command", R"(["sh","-c","a, b"])"},
                                                                  {"--no-such", "x"}};
  CHECK(run.configuration.flags == expected);
}

TEST_CASE("a token is for 8 hours unless --ttl says otherwise") {
  const auto mint = parsed<mint_command>({"townkeeper", "token", "mint", "--town", "t1", "--scope", "container"});
  CHECK(mint.town_id == "t1");
  CHECK(mint.scope == town::token_scope::container);
  CHECK(mint.ttl == std::chrono::hours{8});
  const auto admin =
      parsed<mint_command>({"townkeeper", "token", "mint", "--town", "t1", "--scope", "admin", "--ttl", "30m"});
  CHECK(admin.scope == town::token_scope::admin);
  CHECK(admin.ttl == std::chrono::minutes{30});
}

TEST_CASE("called by the name of an agent's command, townkeeper is that command") {
  CHECK(parsed<put_checkpoint>({"/ws/bin/gt_checkpoint", "step 1 done"}).data == "step 1 done");
  CHECK_FALSE(parsed<put_checkpoint>({"gt_checkpoint"}).data);
  CHECK_FALSE(parsed<put_checkpoint>({"gt_checkpoint", "-"}).data);
  CHECK(parsed<put_checkpoint>({"gt_checkpoint", R"(["a, b",1])"}).data == R"(["a, b",1])");
  CHECK(parsed<put_checkpoint>({"gt_checkpoint", "--text", "5"}).as_text);
  parsed<prime_command>({"gt_prime"});
  CHECK(parsed<acknowledge_mail>({"gt_prime", "--ack", "m1", "m2"}).ids == std::vector<std::string>{"m1", "m2"});
  CHECK(parsed<say_status>({"gt_status", "two words"}).message == "two words");
  CHECK(parsed<say_status>({"gt_status", "two", "words"}).message == "two words");
  const auto finished = parsed<done_command>({"gt_done", "--branch", "b", "--pr-url", "https://x", "--summary", "s"});
  CHECK(finished.branch == "b");
  CHECK(finished.pr_url == "https://x");
  CHECK(finished.summary == "s");
}

TEST_CASE("the commands of agents are there under townkeeper as well") {
  CHECK(parsed<put_checkpoint>({"townkeeper", "checkpoint", "put", "{}"}).data == "{}");
  CHECK_FALSE(parsed<get_checkpoint>({"townkeeper", "checkpoint", "get"}).history);
  CHECK(parsed<get_checkpoint>({"townkeeper", "checkpoint", "get", "--history", "5"}).history == 5U);
  CHECK(refused({"townkeeper", "checkpoint", "get", "--history", "21"}).code == usage);
  CHECK(parsed<credential_command>({"townkeeper", "credential", "get"}).operation == "get");
}

TEST_CASE("each error has the exit code that the documentation gives it") {
  const auto code_of = [](error_code code) { return exit_code_of({code, "x", "y"}); };
  CHECK(code_of(error_code::invalid_argument) == 64);
  CHECK(code_of(error_code::unavailable) == 69);
  CHECK(code_of(error_code::internal) == 70);
  CHECK(code_of(error_code::disk) == 74);
  CHECK(code_of(error_code::fenced) == 75);
  CHECK(code_of(error_code::unauthorized) == 77);
  CHECK(code_of(error_code::invalid_config) == 78);
  CHECK(exit_code_of_configuration({error_code::invalid_config, "--nonsense", "no such flag"}) == 64);
  CHECK(exit_code_of_configuration({error_code::invalid_config, "listen", "is not accepted"}) == 78);
}
