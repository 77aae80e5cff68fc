// Trees no honest git writes: refused with the path named, before anything reaches the disk.
#include <catch2/catch_test_macros.hpp>
#include <fmt/core.h>

#include "git/handle.hpp"
#include "git/object_id.hpp"
#include "git/tree_reader.hpp"
#include "worktree_rig.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
namespace fs = std::filesystem;

namespace {

class hostile_rig : public worktree_rig {
public:
  std::string blob = run_git(repository(), {"hash-object", "-w", "--stdin"}, "/etc");

  std::string tree(const std::vector<raw_tree_entry>& entries) const { return raw_tree(repository(), entries); }

  /// What restoring a commit of this tree ends with; nothing may have been written, by whichever way.
  error refusal(const std::string& tree) const {
    auto job = this->job();
    job.remote_tip = commit_of_tree(repository(), tree);
    const auto done = test::restore(job);
    CHECK_FALSE(fs::exists(worktree()));
    CHECK_FALSE(fs::exists(registration()));
    CHECK(id_of(repository(), "refs/heads/work").empty());
    const auto staging = rig() / "worktrees/.new";
    CHECK((!fs::exists(staging) || fs::is_empty(staging)));
    return done ? error{error_code::internal, "", "it was written"} : done.error();
  }
};

} // namespace

TEST_CASE("a name that must not reach the disk is refused, as a file, a link or a directory, at any depth") {
  const hostile_rig rig;
  const std::vector<std::string> names{".git",
                                       ".GIT",
                                       ".gIt",
                                       ".git ",
                                       ".git.",
                                       ".git . .",
                                       "git~1",
                                       "GIT~1",
                                       "git~1.",
                                       ".git::$INDEX_ALLOCATION",
                                       ".git:stream",
                                       ".g\xe2\x80\x8cit",
                                       "\xe2\x80\x8e.git",
                                       ".git\xef\xbb\xbf",
                                       "a\\.git\\b",
                                       ".git\\hooks",
                                       ".",
                                       "..",
                                       "a/b",
                                       "../x",
                                       "/etc/passwd",
                                       "line\nbreak\\.git"};
  const auto harmless = rig.tree({{"100644", "x", rig.blob}});
  for (const auto& name : names) {
    INFO("name: " << name);
    for (const auto& tree : {rig.tree({{"100644", name, rig.blob}}), rig.tree({{"120000", name, rig.blob}}),
                             rig.tree({{"40000", name, harmless}}), rig.tree({{"160000", name, rig.blob}})}) {
      const auto top = rig.refusal(tree);
      CHECK(top.code == error_code::invalid_argument);
      CHECK(top.object.find('\n') == std::string::npos);
    }
    const auto deep = rig.refusal(rig.tree({{"40000", "dir", rig.tree({{"100644", name, rig.blob}})}}));
    CHECK(deep.code == error_code::invalid_argument);
    CHECK(deep.object.starts_with("dir/"));
  }
  CHECK(rig.refusal(rig.tree({{"100644", "", rig.blob}})).code == error_code::invalid_argument);
}

TEST_CASE("the refusal names the path, with control characters made visible") {
  const hostile_rig rig;
  CHECK(rig.refusal(rig.tree({{"40000", "dir", rig.tree({{"100644", ".GIT", rig.blob}})}})).object == "dir/.GIT");
  CHECK(rig.refusal(rig.tree({{"40000", "a\nb", rig.tree({{"100644", ".GIT", rig.blob}})}})).object == "a\\x0ab/.GIT");
}

TEST_CASE(".gitmodules may be a file, and no link under any spelling") {
  const hostile_rig rig;
  for (const std::string name : {".gitmodules", ".GITMODULES", "gitmod~1", "gi7eba~1", ".gitmodules "})
    CHECK(rig.refusal(rig.tree({{"120000", name, rig.blob}})).code == error_code::invalid_argument);
}

TEST_CASE("one path named twice is refused: no file is written through a link of its own tree") {
  const hostile_rig rig;
  const auto dir = rig.tree({{"100644", "passwd", rig.blob}});
  for (const auto& tree : {rig.tree({{"120000", "a", rig.blob}, {"40000", "a", dir}}),
                           rig.tree({{"40000", "a", dir}, {"120000", "a", rig.blob}}),
                           rig.tree({{"100644", "a", rig.blob}, {"120000", "a", rig.blob}}),
                           rig.tree({{"120000", "a", rig.blob}, {"100644", "a-b", rig.blob}, {"40000", "a", dir}}),
                           rig.tree({{"40000", "a", dir}, {"40000", "a", dir}})})
    CHECK(rig.refusal(tree).code == error_code::corrupt);
  // Not neighbours in the order of a tree, and yet found before the first file is written.
  CHECK(rig.refusal(rig.tree({{"120000", "a", rig.blob}, {"100644", "a-b", rig.blob}, {"40000", "a", dir}}))
            .message.find("alike") != std::string::npos);
}

TEST_CASE("malformed trees are refused as corrupt") {
  const hostile_rig rig;
  const auto code = [&](const std::vector<raw_tree_entry>& entries) { return rig.refusal(rig.tree(entries)).code; };
  CHECK(code({{"100644", "b", rig.blob}, {"100644", "a", rig.blob}}) == error_code::corrupt);
  CHECK(code({{"999999", "a", rig.blob}}) == error_code::corrupt);
  CHECK(code({{"", "a", rig.blob}}) == error_code::corrupt);
  CHECK(code({{"140000", "a", rig.blob}}) == error_code::corrupt);
  CHECK(code({{"100644", "a", rig.blob.substr(0, 20)}}) == error_code::corrupt);
  CHECK(code({{"40000", "a", rig.blob}}) == error_code::corrupt);
  CHECK(code({{"100644", "a", rig.tree({})}}) == error_code::corrupt);
}

TEST_CASE("a link to an empty name or with a NUL in it is refused by name") {
  const hostile_rig rig;
  const auto empty = run_git(rig.repository(), {"hash-object", "-w", "--stdin"}, "");
  const auto nul = run_git(rig.repository(), {"hash-object", "-w", "--stdin"}, std::string_view("a\0b", 3));
  CHECK(rig.refusal(rig.tree({{"120000", "link", empty}})).object == "link");
  CHECK(rig.refusal(rig.tree({{"120000", "link", nul}})).object == "link");
}

TEST_CASE("a tree that names billions of paths in a few objects is refused, and soon") {
  const hostile_rig rig;
  std::string tree;
  SECTION("files") {
    tree = rig.tree({{"100644", "x", rig.blob}});
  }
  SECTION("empty directories") {
    tree = rig.tree({});
  }
  for (int level = 0; level < 8; ++level) {
    std::vector<raw_tree_entry> entries;
    for (char c = 'a'; c <= 'z'; ++c)
      entries.push_back({"40000", std::string(1, c), tree});
    tree = rig.tree(entries);
  }
  CHECK(rig.refusal(tree).code == error_code::too_large);
}

TEST_CASE("a tree of more paths than are remembered before they are counted is taken") {
  const hostile_rig rig;
  std::vector<raw_tree_entry> leaf;
  for (int i = 0; i < 300; ++i)
    leaf.push_back({"100644", fmt::format("{:03}", i), rig.blob});
  const auto directory = rig.tree(leaf);
  std::vector<raw_tree_entry> entries;
  for (int i = 0; i < 200; ++i)
    entries.push_back({"40000", fmt::format("{:03}", i), directory});
  const auto root = git::parse_oid(rig.tree(entries));
  REQUIRE(root);
  git::repository_handle repository;
  REQUIRE(git_repository_open_bare(git::out(repository), rig.repository().c_str()) == 0);
  auto objects = git::object_store::open(repository.get());
  REQUIRE(objects);
  const auto files = git::read_manifest(*objects, *root, {});
  REQUIRE(files);
  CHECK(files->entries.size() == 60'000);
  CHECK(files->trees.size() == 201);
}

TEST_CASE("modes that old gits wrote are read as what they mean") {
  hostile_rig rig;
  auto job = rig.job();
  job.remote_tip =
      commit_of_tree(rig.repository(), rig.tree({{"100664", "group", rig.blob},
                                                 {"100775", "run", rig.blob},
                                                 {"040000", "sub", rig.tree({{"100600", "x", rig.blob}})}}));
  REQUIRE(test::restore(job));
  CHECK(status_of(rig.worktree()) == "");
  CHECK(run_git(rig.worktree(), {"ls-files", "-s", "group"}).starts_with("100644"));
  CHECK(run_git(rig.worktree(), {"ls-files", "-s", "run"}).starts_with("100755"));
  CHECK(read(rig.worktree() / "sub/x") == "/etc");
}

TEST_CASE("a tree with an empty directory in it gives the rest of its files, clean") {
  hostile_rig rig;
  auto job = rig.job();
  job.remote_tip =
      commit_of_tree(rig.repository(), rig.tree({{"100644", "a", rig.blob}, {"40000", "empty", rig.tree({})}}));
  const auto done = test::restore(job);
  REQUIRE(done);
  CHECK(done->files_written == 1);
  CHECK(status_of(rig.worktree()) == "");
}
