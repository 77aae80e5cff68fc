#include <sys/stat.h>

#include "process/rotated_log.hpp"
#include "tests/unit/process/process_fixture.hpp"

using namespace townkeeper;
using namespace townkeeper::test;

namespace {

struct log_files {
  temp_dir directory{"log"};
  std::filesystem::path path(int n = 0) const {
    return directory.path() / "logs" / (n == 0 ? "log" : "log." + std::to_string(n));
  }
  rotated_log open(std::uint64_t max_bytes, std::uint32_t files) const {
    return rotated_log::open(path(), max_bytes, files).value();
  }
};

std::string now() {
  // The same form and the same clock as the runner's, so that the texts can be compared.
  const auto ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
          .count();
  const auto seconds = static_cast<std::time_t>(ms / 1000);
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  char text[64], out[80];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
  std::snprintf(out, sizeof out, "%s.%03dZ", text, static_cast<int>(ms % 1000));
  return out;
}

} // namespace

TEST_CASE("a log is cut after whole lines and the oldest file is dropped") {
  const log_files f;
  auto log = f.open(10, 3);
  for (const auto* line : {"one\n", "two\n", "three\n", "four\n", "five\n", "six\n", "seven\n"})
    REQUIRE(log.append(line) == 0);
  CHECK(read_text(f.path()) == "six\nseven\n");
  CHECK(read_text(f.path(1)) == "four\nfive\n");
  CHECK(read_text(f.path(2)) == "three\n");
  CHECK_FALSE(std::filesystem::exists(f.path(3)));
}

TEST_CASE("one large piece of output is spread over files of whole lines") {
  const log_files f;
  auto log = f.open(8, 4);
  REQUIRE(log.append("aa\nbb\ncc\ndd\nee") == 0);
  CHECK(read_text(f.path(1)) == "aa\nbb\n");
  CHECK(read_text(f.path()) == "cc\ndd\nee");
}

TEST_CASE("a line longer than a file is cut at the limit") {
  const log_files f;
  auto log = f.open(4, 9);
  REQUIRE(log.append("0123456789\nx") == 0);
  CHECK(read_text(f.path(2)) == "0123");
  CHECK(read_text(f.path(1)) == "4567");
  CHECK(read_text(f.path()) == "89\nx");
}

TEST_CASE("a log of one file begins anew at the limit") {
  const log_files f;
  auto log = f.open(4, 1);
  REQUIRE(log.append("abc\ndef\n") == 0);
  CHECK(read_text(f.path()) == "def\n");
  CHECK_FALSE(std::filesystem::exists(f.path(1)));
}

TEST_CASE("a log goes on where it ended, and files beyond the number are removed") {
  const log_files f;
  {
    auto log = f.open(4, 5);
    REQUIRE(log.append("aaa\nbbb\nccc\nddd\n") == 0);
    REQUIRE(std::filesystem::exists(f.path(3)));
  }
  auto log = f.open(8, 2);
  CHECK_FALSE(std::filesystem::exists(f.path(2)));
  CHECK_FALSE(std::filesystem::exists(f.path(3)));
  REQUIRE(log.append("eee\n") == 0);
  CHECK(read_text(f.path()) == "ddd\neee\n");
  CHECK(read_text(f.path(1)) == "ccc\n");
}

TEST_CASE("a log is never written through a link") {
  const log_files f;
  const auto victim = f.directory.path() / "victim";
  std::ofstream(victim) << "untouched";
  std::filesystem::create_directory(f.path().parent_path());
  std::filesystem::create_symlink(victim, f.path());
  const auto log = rotated_log::open(f.path(), 100, 2);
  REQUIRE_FALSE(log);
  CHECK(log.error().code == error_code::invalid_argument);
  CHECK(read_text(victim) == "untouched");
}

TEST_CASE("output that cannot be written is dropped with its reason, and the next is written again") {
  const log_files f;
  auto log = f.open(4, 2);
  REQUIRE(log.append("aaa\n") == 0);
  std::filesystem::create_directories(f.path(1) / "in the way");
  CHECK(log.append("bbb\n") == EISDIR);
  std::filesystem::remove_all(f.path(1));
  CHECK(log.append("ccc\n") == 0);
  CHECK(read_text(f.path()) == "ccc\n");
  CHECK(read_text(f.path(1)) == "aaa\n");
}

TEST_CASE("the log of a process keeps its limits, and the newest output is kept") {
  const process_fixture f(4096, 3);
  CHECK(f.run(f.shell("seq 1 20000")).exit_code == 0);
  std::string kept;
  for (const auto* suffix : {".2", ".1", ""}) {
    const auto file = f.log().string() + suffix;
    CHECK(std::filesystem::file_size(file) <= 4096);
    struct stat st {};
    REQUIRE(::stat(file.c_str(), &st) == 0);
    CHECK((st.st_mode & 0777U) == 0600);
    kept += read_text(file);
  }
  CHECK_FALSE(std::filesystem::exists(f.log().string() + ".3"));
  std::string all;
  for (int i = 1; i <= 20000; ++i)
    all += std::to_string(i) + "\n";
  CHECK(kept.size() > 2 * 4096);
  CHECK(all.ends_with(kept));
}

TEST_CASE("a process whose log cannot be written is not held up") {
  const process_fixture f(4096, 2);
  std::filesystem::create_directories(f.log().string() + ".1/in the way");
  CHECK(f.run(f.shell("seq 1 100000")).exit_code == 0);
}

TEST_CASE("the last activity of a process is its start, then its last output") {
  const process_fixture f;
  heard h;
  const auto before = now();
  h.start(f.runner, f.shell("until test -e go; do sleep 0.01; done; echo output; exec sleep 300"));
  const int pid = h.started().value();
  const auto start = f.runner.last_activity_at(pid);
  CHECK(start >= before);
  CHECK(start <= now());
  REQUIRE(eventually([&] { return now() > start; }));
  const auto let_go = now();
  std::ofstream(f.worktree() / "go") << "go";
  REQUIRE(eventually([&] { return f.runner.last_activity_at(pid) != start; }));
  const auto last = f.runner.last_activity_at(pid);
  CHECK(last >= let_go);
  f.runner.stop(pid, std::chrono::milliseconds{0});
  CHECK(h.ended().last_activity_at == last);
  CHECK(f.runner.last_activity_at(pid).empty());
}
