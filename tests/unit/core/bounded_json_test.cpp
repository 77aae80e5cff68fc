#include "core/bounded_json.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

using namespace townkeeper;

namespace {
std::string nested(std::size_t depth) {
  return std::string(depth, '[') + std::string(depth, ']');
}
} // namespace

TEST_CASE("a JSON text is parsed whole") {
  rapidjson::Document document;
  REQUIRE_FALSE(parse_bounded(R"( {"a":[1,-2,3.5,true,null,"ä\u0000b"],"b":{}} )", document));
  REQUIRE(document.IsObject());
  CHECK(document["a"].Size() == 6);
  CHECK(document["a"][5].GetStringLength() == 4);
}

TEST_CASE("what is not one JSON text is refused with the offset of the fault") {
  const auto [text, offset] = GENERATE(table<std::string, std::size_t>({{"", 0},
                                                                        {"{", 1},
                                                                        {"{} x", 3},
                                                                        {"[1,]", 3},
                                                                        {"// c\n{}", 0},
                                                                        {"[\"\xff\"]", 2},
                                                                        {"[NaN]", 1},
                                                                        {"\xef\xbb\xbf{}", 0},
                                                                        {"\xef{}", 0},
                                                                        {"\xbf   0", 0},
                                                                        {std::string("{}\0{}", 5), 2}}));
  CAPTURE(text);
  rapidjson::Document document;
  const auto fault = parse_bounded(text, document);
  REQUIRE(fault);
  CHECK(fault->offset == offset);
  CHECK_FALSE(fault->message.empty());
}

TEST_CASE("nesting is limited, so that no text can exhaust the stack") {
  rapidjson::Document document;
  CHECK_FALSE(parse_bounded(nested(max_json_depth), document));
  const auto fault = parse_bounded(nested(max_json_depth + 1), document);
  REQUIRE(fault);
  CHECK(fault->message.find("192 levels") != std::string::npos);
  CHECK(parse_bounded(std::string(5'000'000, '['), document));
}

TEST_CASE("arrays and objects side by side do not count as depth") {
  std::string text = "[";
  for (int i = 0; i < 1000; ++i)
    text += "{\"a\":[]},";
  text += "0]";
  rapidjson::Document document;
  CHECK_FALSE(parse_bounded(text, document));
}
