#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <rapidjson/document.h>

#include <fstream>
#include <iterator>
#include <set>

#include "config/settings.hpp"
#include "tests/unit/core/result_printer.hpp"

using namespace townkeeper;
using namespace townkeeper::config;
using Catch::Matchers::ContainsSubstring;

namespace {

const std::filesystem::path repository = TK_REPOSITORY;

std::string contents(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The file in the repository must be what the table makes; what it makes now is left in the build directory, to be
/// copied.
void check_generated(const std::filesystem::path& file, const std::string& made) {
  const auto beside = std::filesystem::path(TK_GENERATED) / file.filename();
  std::ofstream(beside, std::ios::binary) << made;
  INFO("cp " << beside.string() << " " << (repository / file).string());
  CHECK(contents(repository / file) == made);
}

} // namespace

TEST_CASE("the schema in the repository is the table's") {
  check_generated("config/schema/townkeeper.schema.json", schema_text());
}

TEST_CASE("config/townkeeper.json holds every default, and loads") {
  check_generated("config/townkeeper.json", defaults_text());
  const auto loaded = load({repository / "config/townkeeper.json", {}, {}});
  REQUIRE(loaded);
  for (const auto& s : settings()) {
    CAPTURE(s.key);
    CHECK(s.show(*loaded) == s.default_text);
    CHECK(loaded->origins.contains(s.key) == !s.default_text.empty());
  }
}

TEST_CASE("the README's configuration table is the table's") {
  const auto table = std::filesystem::path(TK_GENERATED) / "configuration.md";
  std::ofstream(table, std::ios::binary) << markdown_table();
  if (!std::filesystem::exists(repository / "README.md")) SKIP("no README.md");
  INFO("paste " << table.string());
  CHECK_THAT(contents(repository / "README.md"), ContainsSubstring(markdown_table()));
}

TEST_CASE("every setting can be told apart and is explained") {
  std::set<std::string> names;
  for (const auto& s : settings()) {
    CAPTURE(s.key);
    CHECK(names.insert(s.key).second);
    CHECK(names.insert(s.variable).second);
    CHECK(s.flag.empty() == s.is_secret);
    if (!s.is_secret) CHECK(names.insert(s.flag).second);
    CHECK_FALSE(s.accepted.empty());
    CHECK(s.meaning.ends_with('.'));
    rapidjson::Document schema;
    CHECK_FALSE(schema.Parse(s.schema.c_str()).HasParseError());
  }
}

TEST_CASE("every default is itself a value that is accepted") {
  for (const auto& s : settings()) {
    if (s.default_text.empty()) continue;
    CAPTURE(s.key, s.default_text);
    ::townkeeper::config::config c;
    CHECK(s.set(c, s.default_text));
    CHECK(s.show(c) == s.default_text);
  }
}

TEST_CASE("a described configuration tells each value and where it came from") {
  const auto c = load({{}, {{"TOWNKEEPER_RESTORE_ATTEMPTS", "9"}}, {{"--log-format", "text"}}}).value();
  rapidjson::Document shown;
  shown.Parse(describe(c));
  REQUIRE(shown.IsObject());
  CHECK(shown.MemberCount() == settings().size());
  CHECK(shown["restore.attempts"]["value"].GetInt() == 9);
  CHECK(std::string(shown["restore.attempts"]["origin"].GetString()) == "environment TOWNKEEPER_RESTORE_ATTEMPTS");
  CHECK(std::string(shown["log.format"]["value"].GetString()) == "text");
  CHECK(std::string(shown["log.level"]["origin"].GetString()) == "default");
  CHECK(shown["town.api_url"]["value"].IsNull());
  CHECK(shown["agents.command"]["value"].IsArray());
}

TEST_CASE("a described configuration shows of a secret only that it is set") {
  const auto c = load({{}, {{"GIT_TOKEN", "hunter2-hunter2"}}, {}}).value();
  const auto text = describe(c);
  CHECK_THAT(text, !ContainsSubstring("hunter2"));
  rapidjson::Document shown;
  shown.Parse(text);
  CHECK(std::string(shown["git.token"]["value"].GetString()) == "***");
  CHECK(shown["control.token"]["value"].IsNull());
}
