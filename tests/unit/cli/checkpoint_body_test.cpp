#include "cli/checkpoint_body.hpp"

#include "tests/unit/core/result_printer.hpp"
#include <catch2/catch_test_macros.hpp>

using namespace townkeeper;
using namespace townkeeper::cli;

TEST_CASE("a checkpoint that is JSON is saved as it stands") {
  CHECK(checkpoint_body(R"( {"step": 1} )", false).value() == R"({"data":{"step": 1}})");
  CHECK(checkpoint_body("null\n", false).value() == R"({"data":null})");
  CHECK(checkpoint_body("12345678901234567890123", false).value() == R"({"data":12345678901234567890123})");
}

TEST_CASE("a checkpoint that is text is saved as a JSON string") {
  CHECK(checkpoint_body("done: \"parser\"\nnext: lexer\n", false).value() ==
        R"({"data":"done: \"parser\"\nnext: lexer"})");
  CHECK(checkpoint_body(R"({"step": 1})", true).value() == R"({"data":"{\"step\": 1}"})");
  CHECK(checkpoint_body("5", true).value() == R"({"data":"5"})");
}

TEST_CASE("a checkpoint that is empty, or a slip in JSON, is refused") {
  CHECK(checkpoint_body(" \n", false).error().code == error_code::invalid_argument);
  CHECK(checkpoint_body(R"({"step": )", false).error().message.find("--text") != std::string::npos);
  CHECK(checkpoint_body("[1, 2", false).has_error());
  CHECK(checkpoint_body("caf\xe9", false).has_error());
}

TEST_CASE("the newest checkpoint's data comes out byte for byte") {
  CHECK(newest_checkpoint(
            R"([{"seq":2,"data":{"n": 12345678901234567890123, "data":[1]} ,"epoch":1},{"seq":1,"data":"old"}])")
            .value() == R"({"n": 12345678901234567890123, "data":[1]})");
  CHECK(newest_checkpoint(R"([{"data":"a : b","seq":2}])").value() == R"("a : b")");
  CHECK(newest_checkpoint(R"([{"seq":2,"data":null}])").value() == "null");
  CHECK(newest_checkpoint("[]").value() == "null");
  CHECK(newest_checkpoint(R"({"data":1})").error().code == error_code::corrupt);
  CHECK(newest_checkpoint(R"([{"data":)").error().code == error_code::corrupt);
}
