// What a person does with recovery points in a clone of their own.
#include "git/recovery_tools.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "apply_rig.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
namespace fs = std::filesystem;

namespace {

const tree_paths start{{"a", tree_path::file("a\n")},
                       {"b", tree_path::file("b\n")},
                       {"dir/c", tree_path::executable("c\n")},
                       {".gitignore", tree_path::file("*.o\n")}};

/// The user's clone, and a linked worktree of it on `work`.
struct user {
  explicit user(const apply_rig& rig)
      : clone(rig.workspace() / "clone")
      , worktree(rig.workspace() / "by-hand") {
    run_git(rig.workspace(), {"clone", "-q", "--no-local", "--template=", rig.remote(), clone});
    run_git(clone, {"worktree", "add", "-q", "--track", "-b", "work", worktree, "origin/work"});
  }
  git::clone_location here() const { return {worktree, "origin"}; }
  std::string picture() const { return picture_of(worktree, clone / ".git/worktrees/by-hand"); }

  fs::path clone, worktree;
};

/// Work of every kind, and a merge with conflicts in progress. The point is on the remote.
void save_work(apply_rig& rig) {
  rig.git({"checkout", "-q", "-b", "other"});
  rig.put("b", "theirs\n");
  rig.git({"commit", "-qam", "theirs"});
  rig.git({"checkout", "-q", "work"});
  rig.put("b", "ours\n");
  rig.git({"commit", "-qam", "ours"});
  CHECK(rig.try_to({"merge", "other"}).status == 1);
  rig.put("a", "staged\n");
  rig.git({"add", "a"});
  fs::remove(rig.worktree() / "dir/c");
  rig.put("new/file", "untracked\n");
  rig.put("later", "intent\n");
  rig.git({"add", "-N", "later"});
  rig.save(3, 7);
}

/// meta.json as the daemon writes it, in place of the stand-in of `make_point`.
void with_meta(apply_rig& rig) {
  const auto& p = rig.point.point;
  const auto quoted = [](const std::string& text) { return '"' + text + '"'; };
  const auto or_null = [&](const std::optional<std::string>& text) { return text ? quoted(*text) : "null"; };
  const auto meta =
      "{\"format\":1,\"point\":{\"epoch\":" + std::to_string(p.epoch) + ",\"seq\":" + std::to_string(p.seq) +
      ",\"ref\":" + quoted(p.ref) + ",\"gitUrl\":\"https://example.invalid/r.git\",\"branch\":\"work\"," +
      "\"remoteCommit\":" + or_null(p.remote_commit) + ",\"branchCommit\":" + or_null(p.branch_commit) +
      ",\"head\":{\"ref\":" + or_null(p.head.ref) + ",\"commit\":" + or_null(p.head.commit) +
      "},\"clean\":false,\"savedAt\":\"2026-01-01T00:00:00Z\",\"kind\":\"drain\"," +
      "\"files\":{\"staged\":1,\"modified\":2,\"untracked\":1,\"leftOut\":1}}," +
      "\"identity\":\"An Agent <a1@example.invalid>\",\"leftOut\":[{\"path\":\"big\",\"reason\":\"too large\"}]}";
  const auto in_git = [&](const std::vector<std::string>& arguments, const std::string& input = {}) {
    return run_git(rig.repository(), arguments, input);
  };
  std::string tree;
  const auto listing = in_git({"ls-tree", p.commit});
  for (std::size_t at = 0; at < listing.size();) {
    const auto end = std::min(listing.find('\n', at), listing.size());
    const auto line = listing.substr(at, end - at);
    if (!line.ends_with("\tmeta.json") && !line.ends_with("\trefs.json")) tree += line + '\n';
    at = end + 1;
  }
  tree += "100644 blob " + in_git({"hash-object", "-w", "--stdin"}, meta) + "\tmeta.json\n";
  std::vector<std::string> commit{"commit-tree", in_git({"mktree"}, tree), "-m", "R"};
  const auto parents = in_git({"log", "-1", "--format=%P", p.commit});
  for (std::size_t at = 0; at < parents.size(); at += 41)
    commit.insert(commit.end(), {"-p", parents.substr(at, 40)});
  rig.point.point.commit = in_git(commit);
  in_git({"push", "-q", "origin", '+' + rig.point.point.commit + ':' + p.ref});
}

struct saved_rig : apply_rig {
  saved_rig()
      : apply_rig(start) {
    save_work(*this);
    with_meta(*this);
  }
};

} // namespace

TEST_CASE("points are listed by agent and age, and say what they hold once they are here") {
  saved_rig rig;
  const user me(rig);
  run_git(rig.remote(), {"update-ref", "refs/townkeeper/t1/a1/kept/2-4", "refs/heads/main"});
  run_git(rig.remote(), {"update-ref", "refs/townkeeper/t1/zz/1", "refs/heads/main"});
  run_git(rig.remote(), {"update-ref", "refs/townkeeper/t1/not-a-point", "refs/heads/main"});
  const auto points = git::list_points(me.here());
  REQUIRE(points);
  REQUIRE(points->size() == 3);
  CHECK(points->at(0).ref == "refs/townkeeper/t1/a1/3");
  CHECK(points->at(0).commit == rig.point.point.commit);
  CHECK(points->at(0).epoch == 3);
  CHECK_FALSE(points->at(0).details);
  CHECK(points->at(1).kept);
  CHECK(points->at(1).epoch == 2);
  CHECK(points->at(2).agent_id == "zz");
  const auto fetched = git::list_points(me.here(), "a1", true);
  REQUIRE(fetched);
  REQUIRE(fetched->size() == 2);
  REQUIRE(fetched->at(0).details);
  CHECK(fetched->at(0).details->point.seq == 7);
  CHECK_FALSE(fetched->at(1).details); // no point of ours
}

TEST_CASE("a point is shown by ref, by commit and by agent") {
  saved_rig rig;
  const user me(rig);
  const std::string name = GENERATE(std::string("a1"), std::string("refs/townkeeper/t1/a1/3"), std::string("commit"));
  const auto shown = git::show_point(me.here(), name == "commit" ? rig.point.point.commit : name);
  REQUIRE(shown);
  CHECK(shown->found.point.commit == rig.point.point.commit);
  CHECK(shown->identity == "An Agent <a1@example.invalid>");
  CHECK(shown->staged == std::vector<std::string>{"a"});
  CHECK(shown->modified == std::vector<std::string>{"b", "later"});
  CHECK(shown->deleted == std::vector<std::string>{"dir/c"});
  CHECK(shown->untracked == std::vector<std::string>{"new/file"});
  CHECK(shown->conflicted == std::vector<std::string>{"b"});
  CHECK(std::find(shown->operation.begin(), shown->operation.end(), "MERGE_HEAD") != shown->operation.end());
  REQUIRE(shown->found.left_out.size() == 1);
  CHECK(shown->found.left_out[0].path == "big");
}

TEST_CASE("a point is applied in a clone: files, index, HEAD and the merge in progress are the agent's") {
  saved_rig rig;
  const user me(rig);
  const auto agents = rig.picture();
  const auto done = git::apply_point(me.here(), "a1");
  REQUIRE(done);
  CHECK(me.picture() == agents);
  CHECK(done->head == "work");
  CHECK(done->files == 5);
  CHECK(done->reported.empty());
  CHECK(try_git(me.clone, {"fsck", "--no-dangling"}).status == 0);
  SECTION("and a second time it is refused, for the worktree is not clean") {
    const auto again = git::apply_point(me.here(), "a1");
    REQUIRE_FALSE(again);
    CHECK(again.error().code == error_code::dirty);
    CHECK(me.picture() == agents);
  }
}

TEST_CASE("a main worktree does as well as a linked one") {
  saved_rig rig;
  const auto clone = rig.workspace() / "clone";
  run_git(rig.workspace(), {"clone", "-q", "--no-local", "--template=", rig.remote(), clone});
  const auto done = git::apply_point({clone, "origin"}, "a1");
  REQUIRE(done);
  CHECK(done->head == "work");
  CHECK(run_git(clone, {"ls-files", "-s", "-v"}) == rig.git({"ls-files", "-s", "-v"}));
  CHECK(status_of(clone) == status_of(rig.worktree()));
  CHECK(read(clone / "new/file") == "untracked\n");
  CHECK_FALSE(fs::exists(clone / "dir/c"));
}

TEST_CASE("nothing of the user's is lost by applying a point") {
  saved_rig rig;
  const user me(rig);
  auto expected = error_code::dirty;
  std::string names;
  git::clone_location where = me.here();
  SECTION("an uncommitted change") {
    write(me.worktree / "a", "mine\n");
    names = " M a";
  }
  SECTION("an untracked file") {
    write(me.worktree / "mine", "mine\n");
    names = "?? mine";
  }
  SECTION("an ignored file in the way") {
    rig.put("x.o", "agent's\n");
    rig.git({"add", "-f", "x.o"});
    rig.save(3, 8);
    with_meta(rig);
    write(me.worktree / "x.o", "mine\n");
    names = "x.o";
  }
  SECTION("a merge in progress") {
    run_git(me.worktree, {"merge", "-q", "--no-ff", "--no-commit", "-s", "ours", "--allow-unrelated-histories",
                          run_git(me.clone, {"commit-tree", "HEAD^{tree}", "-m", "x"})});
    names = "in progress";
  }
  SECTION("another git at work") {
    write(me.clone / ".git/worktrees/by-hand/index.lock", "");
    expected = error_code::conflict;
    names = "index.lock";
  }
  SECTION("no worktree at all") {
    where.directory = rig.remote();
    where.remote = ".";
    expected = error_code::invalid_argument;
    names = "bare";
  }
  const auto before = traces(me.worktree);
  const auto done = git::apply_point(where, "a1");
  REQUIRE_FALSE(done);
  CHECK(done.error().code == expected);
  CHECK(to_string(done.error()).find(names) != std::string::npos);
  CHECK(changes_since(before, me.worktree) == "");
}

TEST_CASE("a branch of the user's own is not moved: HEAD is detached") {
  saved_rig rig;
  const user me(rig);
  run_git(me.worktree, {"commit", "-q", "--allow-empty", "-m", "the user's"});
  const auto mine = id_of(me.clone, "refs/heads/work");
  const auto done = git::apply_point(me.here(), "a1");
  REQUIRE(done);
  CHECK(done->head == *rig.point.point.head.commit);
  CHECK(mentions(done->reported, "HEAD is detached"));
  CHECK(id_of(me.clone, "refs/heads/work") == mine);
  CHECK(run_git(me.worktree, {"ls-files", "-s"}) == rig.git({"ls-files", "-s"}));
}

TEST_CASE("what is not there is named") {
  apply_rig rig(start);
  rig.save();
  const user me(rig);
  const auto code_of = [&](const git::clone_location& clone, const std::string& point) {
    return git::show_point(clone, point).error().code;
  };
  CHECK(code_of(me.here(), "nobody") == error_code::recovery_point_missing);
  CHECK(code_of(me.here(), std::string(40, '1')) == error_code::recovery_point_missing);
  CHECK(code_of(me.here(), "refs/townkeeper/t1/a1/9") == error_code::recovery_point_missing);
  CHECK(code_of(me.here(), "refs/heads/../x") == error_code::invalid_argument);
  CHECK(code_of({me.worktree, "--upload-pack=touch x"}, "a1") == error_code::invalid_argument);
  CHECK(code_of({me.worktree, "/nowhere"}, "a1") == error_code::unavailable);
  CHECK(code_of({fs::path("/"), "origin"}, "a1") == error_code::not_found);
  CHECK(code_of(me.here(), "a1") == error_code::corrupt); // meta.json is a stand-in
}

TEST_CASE("an exported point is a bundle that git reads, and the files as they were") {
  saved_rig rig;
  const user me(rig);
  const auto to = rig.workspace() / "export";
  const auto done = git::export_point(me.here(), "a1", to);
  REQUIRE(done);
  CHECK(done->file_count == 5);
  CHECK(read(done->files / "a") == "staged\n");
  CHECK(read(done->files / "new/file") == "untracked\n");
  CHECK(read(done->files / "b") == read(rig.worktree() / "b"));
  CHECK_FALSE(fs::exists(done->files / "dir"));
  const auto elsewhere = rig.workspace() / "elsewhere.git";
  run_git(rig.workspace(), {"init", "-q", "--bare", "--template=", elsewhere});
  run_git(elsewhere, {"bundle", "verify", "-q", done->bundle});
  run_git(elsewhere, {"fetch", "-q", done->bundle, rig.point.point.ref + ":refs/heads/r"});
  CHECK(id_of(elsewhere, "refs/heads/r") == rig.point.point.commit);
  CHECK(is_sound(elsewhere));
  const auto again = git::export_point(me.here(), "a1", to);
  REQUIRE_FALSE(again);
  CHECK(again.error().code == error_code::conflict);
  CHECK(read(done->files / "a") == "staged\n");
}
