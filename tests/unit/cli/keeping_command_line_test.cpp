#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "cli/command_line.hpp"
#include "cli/exit_code.hpp"

using namespace townkeeper;
using namespace townkeeper::cli;

namespace {

using words = std::vector<std::string>;

template <class Command>
Command parsed(words arguments) {
  arguments.insert(arguments.begin(), "townkeeper");
  const auto read = parse_command_line(arguments);
  if (const auto* exit = std::get_if<early_exit>(&read)) FAIL("exit " << exit->code << ": " << exit->err);
  return std::get<Command>(std::get<command>(read));
}

early_exit refused(words arguments) {
  arguments.insert(arguments.begin(), "townkeeper");
  return std::get<early_exit>(parse_command_line(arguments));
}

} // namespace

TEST_CASE("the help of each command for saved work states its promise before its flags") {
  for (const auto& [arguments, promise] :
       std::vector<std::pair<words, std::string>>{{{"snapshot"}, "Saves now what the agents have not committed"},
                                                  {{"drain"}, "without losing anything"},
                                                  {{"recovery"}, "lies on its remote as a recovery point"},
                                                  {{"recovery", "apply"}, "commits and pushes nothing"},
                                                  {{"recovery", "drop"}, "Nothing is dropped by itself"}}) {
    auto asked = arguments;
    asked.emplace_back("--help");
    const auto help = refused(asked);
    CAPTURE(help.out);
    CHECK(help.code == done);
    CHECK(help.out.find(promise) < help.out.find("Usage"));
  }
}

TEST_CASE("a snapshot and a drain name the daemon by its workspace") {
  const auto all = parsed<snapshot_command>({"snapshot", "--workspace", "/w"});
  CHECK(all.configuration.flags == std::vector<std::pair<std::string, std::string>>{{"--workspace", "/w"}});
  CHECK_FALSE(all.agent_id);
  CHECK(parsed<snapshot_command>({"snapshot", "--agent", "a1"}).agent_id == "a1");
  CHECK_FALSE(parsed<drain_command>({"drain"}).wait);
  CHECK(parsed<drain_command>({"drain", "--wait", "--config", "c.json"}).configuration.file == "c.json");
}

TEST_CASE("points are looked for in the clone around, at origin, unless it is said otherwise") {
  const auto here = parsed<list_points>({"recovery", "list"});
  CHECK(here.clone.directory == ".");
  CHECK(here.clone.remote == "origin");
  CHECK(here.agent_id.empty());
  CHECK_FALSE(here.fetch);
  const auto there =
      parsed<list_points>({"recovery", "list", "--repo", "/c", "--remote", "up", "--agent", "a1", "--fetch"});
  CHECK(there.clone.directory == "/c");
  CHECK(there.clone.remote == "up");
  CHECK(there.agent_id == "a1");
  CHECK(there.fetch);
}

TEST_CASE("a point is named when it is shown, applied or written out") {
  CHECK(parsed<show_point>({"recovery", "show", "a1"}).point == "a1");
  CHECK(parsed<apply_point>({"recovery", "apply", "--repo", "/c", "refs/townkeeper/t/a1/3"}).clone.directory == "/c");
  const auto out = parsed<export_point>({"recovery", "export", "a1", "/out"});
  CHECK(out.point == "a1");
  CHECK(out.directory == "/out");
  CHECK(refused({"recovery"}).code == usage);
  CHECK(refused({"recovery", "show"}).code == usage);
  CHECK(refused({"recovery", "export", "a1"}).code == usage);
}

TEST_CASE("what is dropped is said exactly: a kept point, a recovery point, or those of finished agents") {
  const auto kept = parsed<drop_kept>({"recovery", "drop", "--agent", "a1", "--rig", "r1", "0abc"});
  CHECK(kept.rig_id == "r1");
  CHECK(kept.agent_id == "a1");
  CHECK(kept.commit == "0abc");
  const auto lost = parsed<drop_recovery>(
      {"recovery", "drop", "--agent", "a1", "--rig", "r1", "--recovery", "--town-id", "t1", "--repo", "/c"});
  CHECK(lost.agent_id == "a1");
  CHECK(lost.clone.directory == "/c");
  CHECK(lost.configuration.flags == std::vector<std::pair<std::string, std::string>>{{"--town-id", "t1"}});
  const auto finished =
      parsed<drop_finished>({"recovery", "drop", "--done", "--older-than", "7d", "--repo", "/c", "--dry-run"});
  CHECK(finished.older_than == std::chrono::days{7});
  CHECK(finished.clone.directory == "/c");
  CHECK(finished.only_list);
  CHECK(parsed<drop_finished>({"recovery", "drop", "--done", "--older-than", "12h"}).older_than ==
        std::chrono::hours{12});
}

TEST_CASE("a drop that could mean two things, or everything, is refused") {
  const auto arguments = GENERATE(values<words>({
      {},
      {"--agent", "a1", "--rig", "r1"},
      {"--agent", "a1", "0abc"},
      {"--rig", "r1", "0abc"},
      {"0abc"},
      {"--recovery"},
      {"--agent", "a1", "--rig", "r1", "--recovery", "0abc"},
      {"--done"},
      {"--older-than", "7d"},
      {"--dry-run", "--agent", "a1", "--rig", "r1", "0abc"},
      {"--done", "--older-than", "soon"},
      {"--done", "--older-than", "7d", "--agent", "a1", "--rig", "r1"},
      {"--done", "--older-than", "7d", "0abc"},
  }));
  words all{"recovery", "drop"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  CAPTURE(all);
  CHECK(refused(all).code == usage);
}
