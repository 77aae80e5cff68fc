// What git ignores, by git's own word: what is taken for ignored by mistake is lost with the disk.
#include "git/gitignore.hpp"

#include <git2.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <random>

#include "git/handle.hpp"
#include "snapshot_rig.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
namespace fs = std::filesystem;

namespace {

/// A repository with a worktree of its own.
class ignoring_repository {
public:
  ignoring_repository() {
    run_git(disk_.workspace(), {"init", "-q", root()});
    run_git(root(), {"config", "core.excludesFile", disk_.workspace() / "user-ignore"});
  }

  fs::path root() const { return disk_.workspace() / "repository"; }
  fs::path user_file() const { return disk_.workspace() / "user-ignore"; }
  void put(const std::string& path, const std::string& content) const { write(root() / path, content); }

  /// For each path, whether git ignores it. Directories end in a slash here and must exist: git looks at the disk, and
  /// takes a slash at the end for a path inside.
  std::map<std::string, bool> by_git(const std::vector<std::string>& paths) const {
    std::string input;
    for (const auto& path : paths)
      input += path.substr(0, path.find_last_not_of('/') + 1) + '\0';
    // 1 says that it ignores none of them.
    const std::string ask = "alias.ask=!git check-ignore --no-index --stdin -z -v -n || test $? = 1";
    const auto said = run_git(root(), {"-c", ask, "ask"}, input);
    std::vector<std::string> fields;
    for (std::size_t at = 0; at < said.size();) {
      const auto end = std::min(said.find('\0', at), said.size());
      fields.push_back(said.substr(at, end - at));
      at = end + 1;
    }
    if (fields.size() != paths.size() * 4) throw std::runtime_error{"check-ignore said too little"};
    std::map<std::string, bool> out;
    for (std::size_t i = 0; i < paths.size(); ++i) // each: file, line, pattern, path
      out[paths[i]] = !fields[i * 4].empty() && !fields[i * 4 + 2].starts_with('!');
    return out;
  }

  std::map<std::string, bool> by_us(const std::vector<std::string>& paths) const {
    git::repository_handle repository;
    REQUIRE(git_repository_open(git::out(repository), root().c_str()) == 0);
    git::gitignore rules(repository.get());
    std::map<std::string, bool> out;
    for (const auto& path : paths)
      out[path] = rules.is_ignored(path);
    return out;
  }

private:
  rig_disk disk_;
};

std::string differences(const std::map<std::string, bool>& git, const std::map<std::string, bool>& ours) {
  std::string out;
  for (const auto& [path, ignored] : git)
    if (ours.at(path) != ignored) out += path + (ignored ? ": git ignores it\n" : ": git does not ignore it\n");
  return out;
}

/// Random pattern files, made of pieces that mean something to git.
class pattern_maker {
public:
  explicit pattern_maker(std::uint64_t seed)
      : random_(seed) {}

  std::size_t below(std::size_t n) { return static_cast<std::size_t>(random_()) % n; }

  std::string file() {
    std::string out = below(8) == 0 ? "\xef\xbb\xbf" : "";
    for (auto lines = below(6) + 1; lines > 0; --lines)
      out += line() + (below(10) == 0 ? "\r\n" : "\n");
    if (below(4) == 0) out.pop_back();
    return out;
  }

  std::string path() {
    std::string out = name();
    for (auto levels = below(4); levels > 0; --levels)
      out += '/' + name();
    return out;
  }

private:
  std::string name() {
    static const std::vector<std::string> names = {"a",  "b",    "ab",  "b.o",      "A",  "aB.o", "d",
                                                   "d1", "dir ", "!a",  "#a",       "a-", "]",    "[",
                                                   "*",  "\\",   "a b", "\xc3\xa4", "^"};
    return names[below(below(2) == 0 ? 5 : names.size())];
  }
  std::string piece() {
    static const std::vector<std::string> pieces = {"a",
                                                    "b",
                                                    ".o",
                                                    "d",
                                                    "1",
                                                    "*",
                                                    "?",
                                                    "**",
                                                    "/",
                                                    "/",
                                                    "/**/",
                                                    "**/",
                                                    "/**",
                                                    "[ab]",
                                                    "[!a]",
                                                    "[^b.]",
                                                    "[a-d]",
                                                    "[A-C]",
                                                    "[]a]",
                                                    "[[]",
                                                    "[a",
                                                    "[[:alpha:]]",
                                                    "[[:upper:]b]",
                                                    "[![:digit:]]",
                                                    "[[:nope:]]",
                                                    "[[:a]",
                                                    "\\",
                                                    "\\*",
                                                    "\\a",
                                                    "\\[",
                                                    " ",
                                                    "\\ ",
                                                    "#",
                                                    "!",
                                                    "A",
                                                    "[\\]]",
                                                    "[a\\-d]",
                                                    "[--d]",
                                                    "[a-]",
                                                    "***",
                                                    "[[:punct:]]",
                                                    "\xc3\xa4",
                                                    "[\xc3-\xff]",
                                                    "[a-d1-]",
                                                    "\\!",
                                                    "*/"};
    return pieces[below(below(2) == 0 ? 10 : pieces.size())];
  }
  std::string line() {
    std::string out = below(3) == 0 ? "!" : "";
    if (below(4) == 0) out += '/';
    const bool plain = below(3) == 0;
    if (plain) out += below(2) == 0 ? path() : name();
    if (!plain)
      for (auto pieces = below(4) + 1; pieces > 0; --pieces)
        out += piece();
    if (below(4) == 0) out += '/';
    if (below(10) == 0) out += "  ";
    return out;
  }

  std::mt19937_64 random_;
};

} // namespace

TEST_CASE("a table of patterns means what it means to git") {
  ignoring_repository rig;
  rig.put(".gitignore",
          "\xef\xbb\xbf*.log\n# none\n\\#hash\n\\!bang\nspace\\ \ntrailing  \nreturn\r\nslash/\n/top\nin/side\n"
          "**/deep\nall/**\nx/**/y\nz**/end\n[[:digit:]]*\n[!a-y]q\n[]-]r\nopen[\n!keep.log\nlast\\\n*.tmp");
  rig.put("dir/.gitignore", "!x.log\n*.c\n!/top\nsub/*\n!sub/kept\n");
  rig.put("slash/.gitignore", "!*\n");
  fs::create_directories(rig.root() / "linked");
  fs::create_symlink("../dir/.gitignore", rig.root() / "linked/.gitignore");
  write(rig.root() / ".git/info/exclude", "excluded\n!user-kept\n");
  write(rig.user_file(), "user\nuser-kept\n");
  std::vector<std::string> asked = {
      "a.log",   "keep.log", "dir/x.log",  "dir/y.log",    "dir/sub/a", "dir/sub/kept", "#hash",       "!bang",
      "space ",  "trailing", "trailing  ", "return",       "return\r",  "slash/",       "slash/x.log", "slash/x",
      "top",     "dir/top",  "in/side",    "dir/in/side",  "deep",      "dir/sub/",     "all",         "all/x",
      "all/x/y", "x/y",      "x/1/y",      "x/b/c/y",      "zend",      "za/end",       "za/b/end",    "7",
      "7up",     "zq",       "aq",         "]r",           "-r",        "ar",           "open[",       "last\\",
      "last",    "a.tmp",    "excluded",   "dir/excluded", "user",      "user-kept",    "linked/a.c",  "dir/a.c",
      "# none",  "A.LOG",    "TOP",        "Dir/Sub/a"};
  const auto git = rig.by_git(asked);
  CHECK(!git.at("dir/x.log"));
  CHECK(git.at("slash/x"));
  CHECK(git.at("return"));
  for (const auto* folds : {"false", "true"}) {
    INFO("core.ignoreCase " << folds);
    run_git(rig.root(), {"config", "core.ignoreCase", folds});
    CHECK(differences(rig.by_git(asked), rig.by_us(asked)) == "");
  }
}

TEST_CASE("random pattern files at several depths mean what they mean to git") {
  ignoring_repository rig;
  std::size_t ignored = 0, asked = 0;
  for (std::uint64_t seed = 1; seed <= 120; ++seed) {
    INFO("seed " << seed);
    pattern_maker make(seed);
    if (seed % 30 == 1) run_git(rig.root(), {"config", "core.ignoreCase", seed % 60 == 1 ? "true" : "false"});
    for (const auto& old : fs::directory_iterator(rig.root()))
      if (old.path().filename() != ".git") fs::remove_all(old.path());
    rig.put(".gitignore", make.file());
    for (const auto* file : {"a/.gitignore", "b/.gitignore", "a/b/.gitignore", "a/b/d/.gitignore", "d/a/.gitignore"})
      if (make.below(2) == 0) rig.put(file, make.file());
    write(rig.root() / ".git/info/exclude", make.below(2) == 0 ? make.file() : "");
    write(rig.user_file(), make.below(2) == 0 ? make.file() : "");
    std::vector<std::string> paths;
    for (int i = 0; i < 120; ++i) {
      paths.push_back(make.path());
      if (make.below(3) == 0) fs::create_directories(rig.root() / paths.back());
    }
    for (auto& path : paths)
      if (fs::is_directory(rig.root() / path)) path += '/';
    std::sort(paths.begin(), paths.end());
    paths.erase(std::unique(paths.begin(), paths.end()), paths.end());
    const auto git = rig.by_git(paths);
    for (const auto& [path, is] : git)
      ++asked, ignored += is ? 1 : 0;
    INFO(read(rig.root() / ".gitignore"));
    REQUIRE(differences(git, rig.by_us(paths)) == "");
  }
  CHECK(ignored > asked / 10);
  CHECK(ignored < asked / 10 * 9);
}

TEST_CASE("patterns made to take forever do not") {
  ignoring_repository rig;
  std::string stars, directories;
  for (int i = 0; i < 200; ++i)
    stars += "*a", directories += "**/*/";
  rig.put(".gitignore", stars + "b\n" + directories + "x\n");
  std::string path(200, 'a');
  for (int i = 0; i < 100; ++i)
    path += "/a";
  CHECK(!rig.by_us({path}).at(path));
}

TEST_CASE("what a directory takes out of the rules above it is saved, and keeps the worktree from being removed") {
  snapshot_rig rig({{".gitignore", tree_path::file("*.log\n")}, {"dir/.gitignore", tree_path::file("!x.log\n")}});
  auto job = rig.job();
  write(rig.worktree() / "dir/y.log", "ignored\n");
  write(rig.worktree() / "dir/x.log", "mine\n");
  REQUIRE(status_of(rig.worktree()).find("dir/x.log") != std::string::npos);
  const auto saved = rig.taken();
  CHECK(rig.tree(saved.stash_commit + "^3").contains("dir/x.log"));
  CHECK(!rig.tree(saved.stash_commit + "^3").contains("dir/y.log"));
  const auto kept = git::remove_worktree(job);
  REQUIRE(kept);
  CHECK(!kept->removed);
  fs::remove(rig.worktree() / "dir/x.log");
  const auto removed = git::remove_worktree(job);
  REQUIRE(removed);
  CHECK(removed->removed);
}

TEST_CASE("asked afresh after a reload") {
  ignoring_repository rig;
  rig.put(".gitignore", "a\n");
  git::repository_handle repository;
  REQUIRE(git_repository_open(git::out(repository), rig.root().c_str()) == 0);
  git::gitignore rules(repository.get());
  CHECK(rules.is_ignored("a"));
  rig.put(".gitignore", "b\n");
  CHECK(rules.is_ignored("a"));
  rules.reload();
  CHECK(!rules.is_ignored("a"));
  CHECK(rules.is_ignored("b/"));
}
