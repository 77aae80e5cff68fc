// Loose objects that are not compressed: git reads them as any other.
#include <catch2/catch_test_macros.hpp>

#include "git/private_objects.hpp"
#include "git/stored_object.hpp"
#include "rig_disk.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
namespace fs = std::filesystem;

namespace {

fs::path file_of(const fs::path& objects, const std::string& id) {
  return objects / id.substr(0, 2) / id.substr(2);
}

} // namespace

TEST_CASE("noise is stored as it is, text is compressed, and git reads both") {
  const rig_disk initialised;
  const temp_dir dir;
  run_git(dir.path(), {"init", "--quiet", "--bare", "repo.git"});
  const auto repository = dir.path() / "repo.git";
  auto store = git::private_store::open(repository, "a1");
  REQUIRE(store);
  const auto objects = git::private_objects_path(repository, "a1");
  std::string text;
  while (text.size() < 300'000)
    text += "line " + std::to_string(text.size()) + " of a file\n";
  // Around the sizes of samples (4096) and blocks (65535).
  for (const std::size_t size :
       std::initializer_list<std::size_t>{0, 1, 4095, 4096, 5000, 65534, 65535, 65536, 131070, 131071, 300'000})
    for (const bool is_text : {false, true}) {
      CAPTURE(size, is_text);
      const auto bytes = is_text ? text.substr(0, size) : noise(size);
      const auto id = store->put(bytes, GIT_OBJECT_BLOB);
      REQUIRE(id);
      std::string hex(40, '0');
      git_oid_fmt(hex.data(), &*id);
      const std::map<std::string, std::string> environment{{"GIT_OBJECT_DIRECTORY", objects.string()}};
      const auto shown = try_git(repository, {"cat-file", "blob", hex}, environment);
      CHECK(shown.status == 0);
      CHECK(shown.out == bytes);
      const auto again = store->read(*id);
      REQUIRE(again);
      CHECK(git_odb_object_size(again->get()) == size);
      CHECK(git::looks_compressed(bytes) == (!is_text && size >= 4096));
      const auto on_disk = fs::file_size(file_of(objects, hex));
      if (is_text && size > 100)
        CHECK(on_disk < size / 2);
      else
        CHECK(on_disk < size + size / 1000 + 100);
    }
  const auto checked =
      try_git(repository, {"fsck", "--full", "--no-dangling"}, {{"GIT_OBJECT_DIRECTORY", objects.string()}});
  CHECK(checked.status == 0);
}

TEST_CASE("what cannot be written is a fault of the disk, and leaves nothing behind") {
  const temp_dir dir;
  git_oid id{};
  REQUIRE(git_oid_fromstr(&id, "0123456789abcdef0123456789abcdef01234567") == 0);
  const auto bytes = noise(10'000);
  const auto nowhere = git::write_stored_object(dir.path() / "absent", id, bytes, GIT_OBJECT_BLOB);
  REQUIRE_FALSE(nowhere);
  CHECK(nowhere.error().code == error_code::disk);
  fs::create_directories(dir.path() / "01" / "23456789abcdef0123456789abcdef01234567"); // a directory in its place
  const auto in_the_way = git::write_stored_object(dir.path(), id, bytes, GIT_OBJECT_BLOB);
  REQUIRE_FALSE(in_the_way);
  CHECK(in_the_way.error().code == error_code::disk);
  CHECK(std::distance(fs::directory_iterator(dir.path() / "01"), fs::directory_iterator()) == 1);
}
