// The parts a worktree is made with: directories by descriptor, the object cache, registrations, locks, the index
// format.
#include <catch2/catch_test_macros.hpp>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <set>
#include <thread>

#include "git/descriptor.hpp"
#include "git/directory_stack.hpp"
#include "git/index_writer.hpp"
#include "git/lock_file.hpp"
#include "git/manifest_difference.hpp"
#include "git/object_cache.hpp"
#include "git/object_id.hpp"
#include "git/registration.hpp"
#include "git/text_conversion.hpp"
#include "rig_disk.hpp"

using namespace townkeeper;
using namespace townkeeper::git;
using townkeeper::test::read;
using townkeeper::test::temp_dir;
using townkeeper::test::write;
namespace fs = std::filesystem;

namespace {

descriptor open_path(const fs::path& path) {
  descriptor fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  REQUIRE(fd);
  return fd;
}

git_oid id_number(unsigned char n) {
  git_oid id{};
  id.id[0] = n;
  id.id[19] = n;
  return id;
}

object_ref object_of(std::size_t bytes) {
  auto object = std::make_shared<object_bytes>();
  object->type = GIT_OBJECT_BLOB;
  object->bytes.assign(bytes, 'x');
  return object;
}

std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator("/proc/self/fd"))
    ++count;
  return count;
}

} // namespace

// -- files ----------------------------------------------------------------------

TEST_CASE("a write that is cut short is an error, not a short file that counts as whole") {
  // A process's files may not grow beyond this: write(2) then takes what fits, and only the next one fails.
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto old_handler = ::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{100, before.rlim_max};
  const temp_dir dir("short");
  const auto directory = open_path(dir.path());
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
  const auto created = create_file(directory.get(), "created", std::string(150, 'x'));
  const auto replaced = replace_file(directory.get(), "replaced", std::string(150, 'x'));
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, old_handler);
  REQUIRE_FALSE(created);
  CHECK(created.error().code == error_code::disk);
  REQUIRE_FALSE(replaced);
  CHECK(replaced.error().code == error_code::disk);
  CHECK_FALSE(fs::exists(dir.path() / "replaced"));
}

// -- directories ----------------------------------------------------------------

TEST_CASE("a batch closes what it was given, and nothing of others that lies between") {
  const temp_dir dir;
  const auto is_open = [](int fd) { return ::fcntl(fd, F_GETFD) != -1; };
  std::vector<descriptor> others;
  std::set<int> given; // a number that became free may be given again, or be another's
  {
    closing_batch batch;
    batch.close_all();
    batch.add(descriptor());
    for (std::size_t i = 0; i < 3 * closing_batch::capacity; ++i) {
      auto fd = open_path(dir.path());
      if (i % 7 == 3) {
        given.erase(fd.get());
        others.push_back(std::move(fd));
        continue;
      }
      const auto number = *given.insert(fd.get()).first;
      batch.add(std::move(fd));
      CHECK(is_open(number));
      const auto waiting = std::count_if(given.begin(), given.end(), is_open);
      CHECK(static_cast<std::size_t>(waiting) <= closing_batch::capacity);
    }
  }
  CHECK(std::all_of(others.begin(), others.end(), [&](const auto& other) { return is_open(other.get()); }));
  CHECK(std::none_of(given.begin(), given.end(), is_open));
}

TEST_CASE("a directory stack never goes through a link, wherever it stands") {
  const temp_dir dir, elsewhere;
  fs::create_directories(dir.path() / "a/b");
  fs::create_directory_symlink(elsewhere.path(), dir.path() / "a/link");
  const auto root = open_path(dir.path());
  directory_stack stack(root.get());
  CHECK(stack.enter("a/b", directory_stack::on_missing::fail));
  for (const auto policy : {directory_stack::on_missing::fail, directory_stack::on_missing::create}) {
    CHECK(stack.enter("a/link", policy).error().code == error_code::invalid_argument);
    CHECK(stack.enter("a/link/x", policy).error().code == error_code::invalid_argument);
  }
  CHECK(stack.enter("a/link/x", directory_stack::on_missing::must_be_new).error().code == error_code::corrupt);
  CHECK(fs::is_empty(elsewhere.path()));
  CHECK(stack.enter("a/b/none", directory_stack::on_missing::fail).error().code == error_code::not_found);
  CHECK(stack.enter("a/b/new/er", directory_stack::on_missing::create));
  CHECK(fs::is_directory(dir.path() / "a/b/new/er"));
}

TEST_CASE("however deep the tree, few directories are held open") {
  const temp_dir dir;
  const auto root = open_path(dir.path());
  directory_stack stack(root.get());
  std::string path = "d";
  for (int depth = 0; depth < 500; ++depth)
    path += "/d";
  const auto before = open_descriptors();
  REQUIRE(stack.enter(path, directory_stack::on_missing::create));
  CHECK(open_descriptors() - before <= directory_stack::max_open_levels);
  CHECK(stack.enter("d/d", directory_stack::on_missing::fail));
}

TEST_CASE("a tree of any depth is removed with few open descriptors, and nothing behind its links") {
  const temp_dir dir, elsewhere;
  write(elsewhere.path() / "precious", "x");
  const auto root = open_path(dir.path());
  {
    directory_stack stack(root.get());
    std::string path = "top";
    for (int depth = 0; depth < 500; ++depth)
      path += "/d";
    REQUIRE(stack.enter(path, directory_stack::on_missing::create));
  }
  fs::create_directory_symlink(elsewhere.path(), dir.path() / "top/link");
  write(dir.path() / "top/d/file", "x");
  REQUIRE(remove_recursively(root.get(), "top"));
  CHECK(fs::is_empty(dir.path()));
  CHECK(fs::exists(elsewhere.path() / "precious"));
  CHECK(remove_recursively(root.get(), "top"));
}

TEST_CASE("small files are read whole, and neither links, FIFOs nor large ones are") {
  const temp_dir dir;
  const auto root = open_path(dir.path());
  write(dir.path() / "file", "content");
  fs::create_symlink("file", dir.path() / "link");
  REQUIRE(::mkfifo((dir.path() / "fifo").c_str(), 0600) == 0);
  CHECK(read_small_file(root.get(), "file", 100).value() == "content");
  CHECK(read_small_file(root.get(), "file", 6).error().code == error_code::too_large);
  CHECK_FALSE(read_small_file(root.get(), "link", 100));
  CHECK(read_small_file(root.get(), "fifo", 100).error().code == error_code::corrupt);
  CHECK(read_small_file(root.get(), "none", 100).error().code == error_code::not_found);
}

TEST_CASE("a rename to a new name replaces nothing") {
  const temp_dir dir;
  const auto root = open_path(dir.path());
  fs::create_directory(dir.path() / "a");
  fs::create_directory(dir.path() / "b");
  CHECK(rename_new(root.get(), "a", root.get(), "b") == EEXIST);
  CHECK(rename_new(root.get(), "a", root.get(), "c") == 0);
  CHECK(fs::exists(dir.path() / "c"));
}

// -- the object cache -------------------------------------------------------------

TEST_CASE("an object that many threads want at once is inflated once") {
  object_cache cache;
  std::atomic<int> loads{0};
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i)
      threads.emplace_back([&] {
        for (unsigned char n = 0; n < 50; ++n)
          cache
              .get({1, 1, 1}, id_number(n),
                   [&]() -> result<object_ref> {
                     ++loads;
                     return object_of(10);
                   })
              .value();
      });
  }
  CHECK(loads == 50);
}

TEST_CASE("the cache keeps to its capacity, and does not keep what is too large for it") {
  object_cache cache;
  const std::size_t each = object_cache::max_cached_object_bytes;
  for (unsigned char n = 0; n < 100; ++n)
    cache.get({1, 1, 1}, id_number(n), [&]() -> result<object_ref> { return object_of(each); }).value();
  CHECK(cache.size_bytes() <= object_cache::capacity_bytes);
  CHECK(cache.size_bytes() > object_cache::capacity_bytes / 2);
  object_cache other;
  other.get({1, 1, 1}, id_number(1), [&]() -> result<object_ref> { return object_of(each + 1); }).value();
  CHECK(other.size_bytes() == 0);
}

TEST_CASE("a failed load is not remembered, and another state of the disk is another store") {
  object_cache cache;
  int loads = 0;
  const auto failing = [&]() -> result<object_ref> {
    ++loads;
    return error{error_code::corrupt, "x", "unreadable"};
  };
  const auto fine = [&]() -> result<object_ref> {
    ++loads;
    return object_of(1);
  };
  CHECK_FALSE(cache.get({1, 1, 1}, id_number(1), failing));
  CHECK(cache.get({1, 1, 1}, id_number(1), fine));
  CHECK(cache.get({1, 1, 1}, id_number(1), fine));
  CHECK(loads == 2);
  CHECK(cache.get({1, 1, 2}, id_number(1), fine));
  CHECK(loads == 3);
}

// -- registrations and locks -------------------------------------------------------

TEST_CASE("a registration says which branch is taken, also while it is rebased") {
  const temp_dir dir;
  const auto root = open_path(dir.path());
  const auto r = [&] { return read_registration(root.get(), "a1"); };
  CHECK_FALSE(r());
  write(dir.path() / "a1/HEAD", "ref: refs/heads/gt/x\n");
  write(dir.path() / "a1/gitdir", "/somewhere/a1/.git\n");
  REQUIRE(r());
  CHECK(r()->head_branch() == "gt/x");
  CHECK(r()->worktree == "/somewhere/a1");
  CHECK(r()->is_on("gt/x"));
  CHECK_FALSE(r()->is_on("gt"));
  CHECK_FALSE(r()->is_locked);
  CHECK_FALSE(r()->has_commondir);
  write(dir.path() / "a1/HEAD", "0123456789012345678901234567890123456789\n");
  write(dir.path() / "a1/rebase-merge/head-name", "refs/heads/gt/x\n");
  CHECK_FALSE(r()->head_branch());
  CHECK(r()->is_on("gt/x"));
  fs::create_symlink("HEAD", dir.path() / "a1/locked");
  CHECK(r()->is_locked);
}

TEST_CASE("a reflog is appended to, whatever stands in it; where it cannot be, nothing fails") {
  const temp_dir dir;
  const auto root = open_path(dir.path());
  note_in_reflog(root.get(), "logs/refs/heads/a/b", "first\n");
  note_in_reflog(root.get(), "logs/refs/heads/a/b", "second\n");
  CHECK(read(dir.path() / "logs/refs/heads/a/b") == "first\nsecond\n");
  note_in_reflog(root.get(), "logs/refs/heads/a", "a directory\n");
  note_in_reflog(root.get(), "logs/refs/heads/a/b/c", "below a file\n");
  fs::create_symlink(dir.path() / "elsewhere", dir.path() / "logs/HEAD");
  note_in_reflog(root.get(), "logs/HEAD", "through a link\n");
  CHECK_FALSE(fs::exists(dir.path() / "elsewhere"));
  CHECK(read(dir.path() / "logs/refs/heads/a/b") == "first\nsecond\n");
}

TEST_CASE("a lock whose file a living process holds open stays; without one it goes") {
  const temp_dir dir, worktree;
  const auto lock = dir.path() / "index.lock";
  CHECK_FALSE(remove_dead_lock(lock, worktree.path()).value());
  write(lock, "");
  CHECK(remove_dead_lock(lock, worktree.path()).value());
  CHECK_FALSE(fs::exists(lock));
}

// -- bytes --------------------------------------------------------------------------

TEST_CASE("the index file ends in the SHA-1 of what stands before, and its entries are padded as git pads them") {
  const git_oid id = id_number(7);
  const std::string long_path(5000, 'p');
  const std::vector<index_record> records{
      {"a", id, 0100644, {}}, {"abcdefg", id, 0100755, {}}, {long_path, id, 0120000, {}}};
  const auto bytes = serialise_index(records, {});
  REQUIRE(bytes);
  CHECK(bytes->substr(0, 12) == std::string("DIRC\0\0\0\2\0\0\0\3", 12));
  CHECK(bytes->size() == 12 + 64 + 72 + (62 + 5000 + 8 - (62 + 5000) % 8) + 20);
  const temp_dir dir;
  write(dir.path() / "index", *bytes);
  index_handle index;
  const test::rig_disk ready;
  REQUIRE(git_index_open(out(index), (dir.path() / "index").c_str()) == 0);
  CHECK(git_index_entrycount(index.get()) == 3);
  CHECK(git_index_get_bypath(index.get(), long_path.c_str(), 0) != nullptr);
}

TEST_CASE("the difference of two trees names what goes and what comes") {
  const auto one = id_number(1);
  const auto two = id_number(2);
  manifest from, to;
  from.entries = {{"a", one, mode_file}, {"b", one, mode_file}, {"c", one, mode_submodule}, {"d", one, mode_file}};
  to.entries = {{"a", one, mode_file}, {"b", two, mode_file}, {"c", one, mode_file}, {"e", one, mode_file}};
  const auto d = difference(from, to);
  REQUIRE(d.removed.size() == 2);
  CHECK(d.removed[0]->path == "c");
  CHECK(d.removed[1]->path == "d");
  REQUIRE(d.written.size() == 3);
  CHECK(d.written[0].entry->path == "b");
  CHECK(d.written[0].replaced == &from.entries[1]);
  CHECK(d.written[1].entry->path == "c");
  CHECK(d.written[2].entry->path == "e");
  CHECK(d.written[2].replaced == nullptr);
}

TEST_CASE("text is told from binary as git tells it") {
  CHECK_FALSE(profile_of("").binary);
  CHECK_FALSE(profile_of("text\n").binary);
  CHECK(profile_of(std::string_view("a\0b", 3)).binary);
  CHECK(profile_of("a\rb").binary);
  CHECK_FALSE(profile_of(std::string(200, 'x') + "\x01").binary);
  CHECK(profile_of(std::string(100, 'x') + "\x01").binary);
  const auto p = profile_of("1\n2\r\n3\r4\n");
  CHECK(p.lone_lf == 2);
  CHECK(p.crlf == 1);
  CHECK(p.lone_cr == 1);
  CHECK(with_crlf("\n1\r\n2\n") == "\r\n1\r\n2\r\n");
}
