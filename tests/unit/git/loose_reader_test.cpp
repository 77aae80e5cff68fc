// Loose objects that ended early or say less than they hold: libgit2 alone reads the one forever (its issue 7342), and
// writes past its buffer at the other (7177).
#include "git/loose_reader.hpp"

#include <zlib.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "git/git_error.hpp"
#include "git/handle.hpp"
#include "git/jobs.hpp"
#include "git/object_cache.hpp"
#include "git/object_id.hpp"
#include "git/private_objects.hpp"
#include "tests/support/command.hpp"
#include "tests/support/files.hpp"
#include "tests/support/git_cli.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/core/result_printer.hpp"

using namespace townkeeper;
using namespace townkeeper::git;
namespace fs = std::filesystem;

namespace {

void write(const fs::path& file, const std::string& bytes) {
  std::error_code ignored;
  fs::remove(file, ignored); // git makes objects read-only
  fs::create_directories(file.parent_path());
  std::ofstream{file, std::ios::binary} << bytes;
}

/// A bare repository with loose objects, and what our library reads in it.
struct loose_objects {
  test::temp_dir dir;
  fs::path repository = dir.path() / "r.git";

  loose_objects() {
    REQUIRE(initialise_library({}));
    test::run_git(dir.path(), {"init", "-q", "--bare", repository.string()});
  }

  std::string make(const std::string& bytes) const {
    write(dir.path() / "content", bytes);
    return test::run_git(repository, {"hash-object", "-w", (dir.path() / "content").string()});
  }
  fs::path file_of(const std::string& hex) const { return repository / "objects" / hex.substr(0, 2) / hex.substr(2); }

  result<std::string> read(const std::string& hex) const {
    repository_handle opened;
    REQUIRE(open_bare_repository(out(opened), repository.c_str()) == 0);
    return read(opened.get(), hex);
  }
  /// As a worktree's writer reads it, and as libgit2 does for everybody else.
  static result<std::string> read(git_repository* opened, const std::string& hex) {
    const auto id = parse_oid(hex).value();
    auto store = object_store::open(opened);
    REQUIRE(store);
    const auto for_writer = store->read(id, GIT_OBJECT_BLOB);
    odb_handle odb;
    REQUIRE(git_repository_odb(out(odb), opened) == 0);
    odb_object_handle object;
    const int code = git_odb_read(out(object), odb.get(), &id);
    CHECK(for_writer.has_value() == (code == 0));
    if (code != 0) return object_error(code, hex);
    CHECK((*for_writer)->bytes == std::string_view(static_cast<const char*>(git_odb_object_data(object.get())),
                                                   git_odb_object_size(object.get())));
    return std::string(static_cast<const char*>(git_odb_object_data(object.get())), git_odb_object_size(object.get()));
  }
};

std::string noise(std::size_t size) {
  std::mt19937 random{7};
  std::string bytes(size, '\0');
  for (auto& each : bytes)
    each = static_cast<char>(random());
  return bytes;
}

std::string deflated(const std::string& bytes) {
  auto size = compressBound(static_cast<uLong>(bytes.size()));
  std::string packed(size, '\0');
  REQUIRE(compress(reinterpret_cast<Bytef*>(packed.data()), &size, reinterpret_cast<const Bytef*>(bytes.data()),
                   static_cast<uLong>(bytes.size())) == Z_OK);
  packed.resize(size);
  return packed;
}

} // namespace

TEST_CASE("a loose object is read as git wrote it") {
  const loose_objects store;
  const auto content =
      GENERATE(std::string{}, std::string{"short\n"}, std::string(200'000, 'x'), noise(10), noise(70'000));
  CHECK(store.read(store.make(content)).value() == content);
}

TEST_CASE("a loose object that ends early is damaged, wherever it ends") {
  const loose_objects store;
  const auto size = GENERATE(10U, 300U, 20'000U);
  const auto hex = store.make(noise(size));
  const auto whole = test::bytes_of(store.file_of(hex));
  for (std::size_t cut = 0; cut < whole.size(); cut += 1 + cut / 10) {
    write(store.file_of(hex), whole.substr(0, cut));
    CAPTURE(size, cut);
    CHECK(store.read(hex).error().code == error_code::corrupt);
  }
}

TEST_CASE("a loose object that holds more or less than it says, or something else, is damaged") {
  const loose_objects store;
  const auto hex = store.make("the right content\n");
  const std::string zero(1, '\0');
  const auto body = GENERATE_COPY(
      "blob 4" + zero + std::string(500, 'x'), "blob 12" + zero + std::string(40, 'x'), "blob 900" + zero + "few",
      "blob 99999999999999999" + zero + "few", "blob 99999999999999999999999" + zero + "few", "blob -1" + zero + "few",
      "blub 3" + zero + "few", std::string{"no header at all, and long enough for one"}, std::string{});
  write(store.file_of(hex), deflated(body));
  CHECK(store.read(hex).error().code == error_code::corrupt);
}

TEST_CASE("a loose object that is damaged does not hide the whole one in a pack") {
  const loose_objects store;
  const auto hex = store.make("content\n");
  const auto bytes = test::bytes_of(store.file_of(hex));
  const auto name = hex + "\n";
  REQUIRE(test::try_run({.argv = {"git", "-C", store.repository.string(), "pack-objects", "-q",
                                  (store.repository / "objects/pack/pack").string()},
                         .input = name})
              .status == 0);
  write(store.file_of(hex), bytes.substr(0, bytes.size() / 2));
  CHECK(store.read(hex).value() == "content\n");
  for (const auto& agents : {std::vector<std::string>{"ada"}, {"ada", "bob"}}) {
    const auto opened = open_with_private_objects(store.repository, agents);
    REQUIRE(opened);
    CHECK(loose_objects::read(opened->get(), hex).value() == "content\n");
  }
}

TEST_CASE("through a private store the repository's loose objects are read with the same care") {
  const loose_objects store;
  const auto hex = store.make(noise(300));
  const auto opened = open_with_private_objects(store.repository, {"ada", "bob"});
  REQUIRE(opened);
  write(store.file_of(hex), test::bytes_of(store.file_of(hex)).substr(0, 100));
  CHECK(loose_objects::read(opened->get(), hex).error().code == error_code::corrupt);
}

TEST_CASE("a damaged loose object of a private store goes: the repository's is read, or it is written again") {
  const loose_objects store;
  const auto content = noise(300);
  const auto hex = store.make(content);
  const auto id = parse_oid(hex).value();
  const auto file = private_objects_path(store.repository, "bob") / hex.substr(0, 2) / hex.substr(2);
  auto own = private_store::open(store.repository, "bob");
  REQUIRE(own);
  REQUIRE(own->put(content, GIT_OBJECT_BLOB));
  write(file, test::bytes_of(file).substr(0, GENERATE(0U, 100U)));
  SECTION("the repository has it") {
    const auto opened = open_with_private_objects(store.repository, {"ada", "bob"});
    REQUIRE(opened);
    CHECK(loose_objects::read(opened->get(), hex).value() == content);
  }
  SECTION("nobody has it") {
    CHECK_FALSE(own->read(id));
  }
  CHECK_FALSE(fs::exists(file));
  CHECK_FALSE(own->contains(id));
  REQUIRE(own->put(content, GIT_OBJECT_BLOB));
  CHECK(own->read(id));
}
