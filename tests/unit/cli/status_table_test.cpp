#include "cli/status_table.hpp"

#include "tests/unit/core/result_printer.hpp"
#include <catch2/catch_test_macros.hpp>

using namespace townkeeper::cli;

TEST_CASE("the status shows the phase, each rig and each agent with what is wrong") {
  const auto table = status_table(R"({
    "agents":[{"agentId":"a1","rigId":"r1","status":"running"}],"uptime":12.4,
    "recovery":{"phase":"degraded","epoch":3,"progress":1,"trouble":{"code":"unavailable","error":"the town is away"},
      "rigs":[{"rigId":"r1","phase":"ready","receivedBytes":1048576,"agents":[
                {"agentId":"a1","branch":"work/a1","phase":"done","outcome":"restored","commit":"0123456789abcdef"},
                {"agentId":"a2","branch":"work/a2","phase":"files"}]},
              {"rigId":"r2","phase":"failed","error":"not \u001b[31mfound","agents":[]}],
      "setAside":[{"rigId":"r3","reason":"hostile url"}]}})")
                         .value();
  const auto holds = [&](const char* text) { return table.find(text) != std::string::npos; };
  CHECK(holds("degraded  100 %  epoch 3  up 12 s"));
  CHECK(holds("held up by the town is away"));
  CHECK(holds("1.0 MiB"));
  CHECK(holds("restored       running"));
  CHECK(holds("0123456789ab\n"));
  CHECK(holds("files "));
  CHECK(holds("not  [31mfound"));
  CHECK(holds("set aside: r3"));
}

TEST_CASE("what is no health document is not shown as one") {
  CHECK(status_table("<html>").has_error());
  CHECK(status_table("{}").has_error());
}
