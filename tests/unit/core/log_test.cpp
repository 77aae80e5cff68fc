#include "core/log.hpp"

#include <catch2/catch_test_macros.hpp>

#include <rapidjson/document.h>
#include <unistd.h>

#include <cstdio>
#include <regex>
#include <thread>
#include <vector>

#include "core/secret.hpp"

using namespace townkeeper;

namespace {

/// What `write` puts on stderr, which points into a file meanwhile.
template <class F>
std::string written(log::format f, log::level least, F write) {
  std::FILE* const file = std::tmpfile();
  REQUIRE(file != nullptr);
  const int before = ::dup(STDERR_FILENO);
  ::dup2(::fileno(file), STDERR_FILENO);
  log::configure(f, least);
  write();
  log::configure(log::format::json, log::level::info);
  std::fflush(stderr);
  ::dup2(before, STDERR_FILENO);
  ::close(before);
  std::string out(static_cast<std::size_t>(std::ftell(file)), '\0');
  std::rewind(file);
  out.resize(std::fread(out.data(), 1, out.size(), file));
  std::fclose(file);
  return out;
}

template <class F>
std::string written_json(F write) {
  return written(log::format::json, log::level::info, write);
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> out;
  for (std::size_t begin = 0; begin < text.size();) {
    const auto end = text.find('\n', begin);
    REQUIRE(end != std::string::npos); // every line is ended
    out.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return out;
}

rapidjson::Document parsed(const std::string& line) {
  rapidjson::Document out;
  out.Parse<rapidjson::kParseValidateEncodingFlag>(line);
  REQUIRE_FALSE(out.HasParseError());
  REQUIRE(out.IsObject());
  return out;
}

std::string text_of(const rapidjson::Document& line, const char* key) {
  REQUIRE(line.HasMember(key));
  REQUIRE(line[key].IsString());
  return {line[key].GetString(), line[key].GetStringLength()};
}

} // namespace

TEST_CASE("a log line is one JSON object: time, level, event, fields in their order") {
  const auto lines = lines_of(written_json([] { log::warn("rig failed", {{"rig", "r1"}, {"attempts", "3"}}); }));
  REQUIRE(lines.size() == 1);
  CHECK(std::regex_match(
      lines[0],
      std::regex(
          R"(\{"time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z","level":"warn","event":"rig failed","rig":"r1","attempts":"3"\})")));
}

TEST_CASE("each function logs at its level, and what is less than the configured one is left out") {
  const auto all = [] {
    log::debug("1");
    log::info("2");
    log::warn("3");
    log::failure("4");
  };
  const auto levels = [&](log::level least) {
    std::string out;
    for (const auto& line : lines_of(written(log::format::json, least, all)))
      out += text_of(parsed(line), "level") + text_of(parsed(line), "event") + " ";
    return out;
  };
  CHECK(levels(log::level::debug) == "debug1 info2 warn3 error4 ");
  CHECK(levels(log::level::info) == "info2 warn3 error4 ");
  CHECK(levels(log::level::warn) == "warn3 error4 ");
  CHECK(levels(log::level::error) == "error4 ");
}

TEST_CASE("text for people has the same parts on one line") {
  const auto text = written(log::format::text, log::level::info, [] {
    log::info("rig ready", {{"rig", "r1"}, {"ms", "12"}});
  });
  CHECK(std::regex_match(
      text, std::regex("\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z info  rig ready rig=r1 ms=12\n")));
}

TEST_CASE("a secret is gone from every part of a line, in both formats") {
  const secret token("log-test-\"secret\"-token");
  const auto write = [&] {
    log::info("event with " + token.reveal(), {{"value", "got " + token.reveal() + "!"},
                                               {"url", "https://user:unregistered@host/p"},
                                               {"base64", "bG9nLXRlc3QtInNlY3JldCItdG9rZW4="}});
  };
  for (const auto format : {log::format::json, log::format::text}) {
    const auto line = written(format, log::level::info, write);
    CHECK(line.find("secret") == std::string::npos);
    CHECK(line.find("unregistered") == std::string::npos);
    CHECK(line.find("bG9n") == std::string::npos);
    CHECK(line.find("got ***!") != std::string::npos);
    CHECK(line.find("https://***@host/p") != std::string::npos);
  }
}

TEST_CASE("no value can break out of its line or its string") {
  const std::string hostile("a\"b\\c\nd\re\tf\x01g\x1b[31mh\0i\x7f{}\x80", 25);
  const auto lines = lines_of(written_json([&] { log::info("e", {{"ke\"y\n", hostile}}); }));
  REQUIRE(lines.size() == 1);
  const auto line = parsed(lines[0]);
  CHECK(line.MemberCount() == 4);
  CHECK(text_of(line, "ke\"y\n") == hostile.substr(0, 24) + "\xEF\xBF\xBD");
}

TEST_CASE("bytes that are not UTF-8 make no invalid JSON") {
  std::string every_byte;
  for (int c = 0; c < 256; ++c)
    every_byte += static_cast<char>(c);
  const auto lines = lines_of(written_json([&] {
    log::info("e", {{"all", every_byte}, {"cut", "\xe2\x82"}, {"ok", "é€"}});
  }));
  REQUIRE(lines.size() == 1);
  const auto line = parsed(lines[0]);
  CHECK(text_of(line, "all").starts_with(every_byte.substr(0, 128)));
  CHECK(text_of(line, "cut") == "\xEF\xBF\xBD\xEF\xBF\xBD");
  CHECK(text_of(line, "ok") == "é€");
}

TEST_CASE("text for people holds nothing a terminal obeys") {
  const auto text = written(log::format::text, log::level::info, [] {
    log::info("e", {{"v", "a\nb\x1b[2Jc\rd\x7f"
                          "e\x9b\x31m"}});
  });
  REQUIRE(lines_of(text).size() == 1);
  CHECK(text.ends_with("v=a b [2Jc d e\xEF\xBF\xBD"
                       "1m\n"));
}

TEST_CASE("braces in a value are no format") {
  const auto lines = lines_of(written_json([] { log::info("{}", {{"v", "{0} %s {{"}}); }));
  REQUIRE(lines.size() == 1);
  CHECK(text_of(parsed(lines[0]), "v") == "{0} %s {{");
  CHECK(text_of(parsed(lines[0]), "event") == "{}");
}

TEST_CASE("lines of many threads do not mix") {
  const auto text = written_json([] {
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([t] {
        for (int i = 0; i < 50; ++i)
          log::info("e", {{"v", std::string(500, static_cast<char>('a' + t))}});
      });
    for (auto& thread : threads)
      thread.join();
  });
  const auto lines = lines_of(text);
  CHECK(lines.size() == 200);
  for (const auto& line : lines) {
    const auto v = text_of(parsed(line), "v");
    CHECK(v == std::string(500, v.front()));
  }
}
