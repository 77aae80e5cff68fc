#include <catch2/catch_test_macros.hpp>

#include <deque>
#include <filesystem>
#include <regex>
#include <set>

#include "suite/files.hpp"
#include "suite/json.hpp"

// That the two ways of running the town, workerd and Cloudflare, run the same files.

using namespace townkeeper::contract;

namespace {

std::string capnp() {
  return read_file("town/town.capnp");
}

/// Capture groups of every match, joined by a space.
std::set<std::string> matches(const std::string& text, const std::string& pattern) {
  const std::regex regex{pattern};
  std::set<std::string> out;
  for (std::sregex_iterator at{text.begin(), text.end(), regex}, end; at != end; ++at) {
    std::string found;
    for (std::size_t group = 1; group < at->size(); ++group)
      found += (group > 1 ? " " : "") + (*at)[group].str();
    out.insert(found);
  }
  return out;
}

/// Every file that the entry imports, directly or not, as paths from the repository's root.
std::set<std::string> imported() {
  std::set<std::string> seen{"town/src/worker.js"};
  std::deque<std::string> open{seen.begin(), seen.end()};
  for (; !open.empty(); open.pop_front()) {
    const std::filesystem::path file{open.front()};
    if (file.extension() != ".js") continue;
    for (const auto& name : matches(read_file(file.string()), R"rx((?:\bfrom|^import)\s+"(\.[^"]+)";)rx")) {
      const auto target = (file.parent_path() / name).lexically_normal().string();
      if (seen.insert(target).second) open.push_back(target);
    }
  }
  return seen;
}

json wrangler() {
  return json::parse(read_file("town/wrangler.jsonc"), true);
}

/// The one match of a group in town.capnp.
std::string in_capnp(const std::string& pattern) {
  const auto found = matches(capnp(), pattern);
  REQUIRE(found.size() == 1);
  return *found.begin();
}

} // namespace

TEST_CASE("town.capnp lists exactly the files that the town imports, each under the path it lies at") {
  std::set<std::string> listed;
  for (const auto& entry : matches(capnp(), R"rx(name = "([^"]+)", (esModule|text) = embed "([^"]+)")rx")) {
    std::istringstream in{entry};
    std::string name, kind, file;
    in >> name >> kind >> file;
    CAPTURE(entry);
    CHECK((std::filesystem::path{"town"} / file).lexically_normal().string() == name);
    CHECK(kind == (std::filesystem::path{name}.extension() == ".md" ? "text" : "esModule"));
    listed.insert(name);
  }
  CHECK(listed == imported());
}

TEST_CASE("no source of the town lies unused") {
  std::set<std::string> sources;
  for (const auto& entry : std::filesystem::directory_iterator{source_dir() / "town/src"})
    if (entry.path().extension() == ".js") sources.insert("town/src/" + entry.path().filename().string());
  // Types only: nothing to run.
  sources.erase("town/src/types.js");
  auto used = imported();
  std::erase_if(used, [](const auto& file) { return file.rfind("config/", 0) == 0; });
  CHECK(sources == used);
}

TEST_CASE("every binding that the town reads is bound on workerd") {
  std::set<std::string> read;
  for (const auto& file : imported())
    if (std::filesystem::path{file}.extension() == ".js") read.merge(matches(read_file(file), R"(\benv\.([A-Z_]+)\b)"));
  CHECK(read.count("TOWN_SECRET") == 1);
  CHECK(matches(capnp(), R"rx(name = "([A-Z_]+)", (?:durableObjectNamespace|fromEnvironment))rx") == read);
}

TEST_CASE("wrangler.jsonc deploys the same entry with the same compatibility date") {
  const auto config = wrangler();
  CHECK(config["main"] == "src/worker.js");
  CHECK(config["compatibility_date"] == in_capnp(R"rx(compatibilityDate = "([^"]+)")rx"));
  const auto rule = config["rules"][0];
  CHECK(rule["type"] == "Text");
  CHECK(rule["globs"] == json::parse(R"(["**/*.md"])"));
}

TEST_CASE("wrangler.jsonc binds the same Durable Object class, with SQLite and a container") {
  const auto config = wrangler();
  const auto class_name = in_capnp(R"rx(className = "([^"]+)")rx");
  const auto binding = config["durable_objects"]["bindings"][0];
  CHECK(config["durable_objects"]["bindings"].size() == 1);
  CHECK(binding["name"] == in_capnp(R"rx(name = "([^"]+)", durableObjectNamespace)rx"));
  CHECK(binding["class_name"] == class_name);
  CHECK(config["migrations"][0]["new_sqlite_classes"][0] == class_name);
  CHECK(config["containers"][0]["class_name"] == class_name);
  CHECK_FALSE(config["containers"][0]["image"].string().empty());
}

TEST_CASE("wrangler.jsonc holds no secret and no test clock") {
  const auto config = wrangler();
  for (const auto* name : {"TOWN_SECRET", "TOWN_TIME_SCALE", "CONTROL_URL_ALLOW"})
    CHECK(config["vars"][name].missing());
}
