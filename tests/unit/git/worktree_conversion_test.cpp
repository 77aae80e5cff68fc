// What checkout does to a file's bytes, compared with git's own checkout of the same commit under the same settings.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "worktree_rig.hpp"

using namespace townkeeper;
using namespace townkeeper::test;
namespace fs = std::filesystem;

namespace {

const std::vector<std::pair<std::string, std::string>> contents{
    {"lf", "one\ntwo\n"},
    {"crlf", "one\r\ntwo\r\n"},
    {"mixed", "one\ntwo\r\nthree\n"},
    {"cr", "one\rtwo\n"},
    {"no-end", "one\ntwo"},
    {"empty", ""},
    {"newline", "\n"},
    {"nul", std::string("one\n\0two\n", 9)},
    {"odd-bytes", "\x01\x02\x03\x04 one\n"},
    {"one-odd-byte", std::string(300, 'x') + "\x01\n"},
    {"dos-end", "one\n\x1a"},
    {"utf8", "gr\xc3\xbc\xc3\x9f\n\xe2\x82\xac\n"},
    {"latin1", "gr\xfc\xdf\n"},
    {"ident", "$Id$\nx $Id$ y $Id: 0123 $\n$Id: a b c $ $Id: \n$ $Id:$ $Id\n$"},
    {"ident-crlf", "$Id$\r\n"},
    {"ident-open", "$Id: never closed"}};

const std::vector<std::pair<std::string, std::string>> attributes{{"none", ""},
                                                                  {"text", "text"},
                                                                  {"auto", "text=auto"},
                                                                  {"bin", "-text"},
                                                                  {"crlf", "eol=crlf"},
                                                                  {"lf", "eol=lf"},
                                                                  {"textcrlf", "text eol=crlf"},
                                                                  {"textlf", "text eol=lf"},
                                                                  {"autocrlf", "text=auto eol=crlf"},
                                                                  {"autolf", "text=auto eol=lf"},
                                                                  {"bincrlf", "-text eol=crlf"},
                                                                  {"oldtext", "crlf"},
                                                                  {"oldbin", "-crlf"},
                                                                  {"oldinput", "crlf=input"},
                                                                  {"binary", "binary"},
                                                                  {"macro", "dos"},
                                                                  {"unmacro", "-dos"},
                                                                  {"ident", "ident"},
                                                                  {"identcrlf", "ident text eol=crlf"},
                                                                  {"nonsense", "text=perhaps eol=sometimes ident=x"}};

/// Every content under every attribute.
tree_paths matrix() {
  tree_paths paths;
  std::string rules = "[attr]dos text eol=crlf\n";
  for (const auto& [suffix, rule] : attributes) {
    if (!rule.empty()) rules += "*." + suffix + ' ' + rule + '\n';
    for (const auto& [name, content] : contents)
      paths[name + '.' + suffix] = tree_path::file(content);
  }
  paths[".gitattributes"] = tree_path::file(rules);
  // The nearer file wins, and of two lines the later one.
  paths["nested/.gitattributes"] =
      tree_path::file("*.lf eol=crlf\n*.bin text eol=crlf\n*.crlf eol=lf\n*.crlf eol=crlf\n");
  paths["nested/deeper/.gitattributes"] = tree_path::file("/only.here eol=crlf\nsub/*.there eol=crlf\n*.lf -text\n");
  for (const auto* path : {"nested/a.lf", "nested/a.bin", "nested/a.crlf", "nested/a.text", "nested/deeper/only.here",
                           "nested/deeper/x/only.here", "nested/deeper/sub/a.there", "nested/deeper/a.lf"})
    paths[path] = tree_path::file("one\ntwo\n");
  return paths;
}

std::map<std::string, std::string> bytes_of(const fs::path& directory) {
  std::map<std::string, std::string> all;
  for (const auto& entry : fs::recursive_directory_iterator(directory))
    if (entry.is_regular_file() && entry.path().filename() != ".git")
      all[entry.path().lexically_relative(directory).string()] = read(entry.path());
  return all;
}

/// The paths whose bytes differ from git's own checkout of the commit.
std::string differences(const worktree_rig& rig, const std::string& commit) {
  const auto reference = rig.workspace() / "reference";
  run_git(rig.repository(), {"worktree", "add", "-q", "--detach", reference, commit});
  const auto theirs = bytes_of(reference);
  const auto ours = bytes_of(rig.worktree());
  std::string differing;
  for (const auto& [path, bytes] : theirs)
    if (!ours.contains(path) || ours.at(path) != bytes) differing += path + ' ';
  CHECK(ours.size() == theirs.size());
  return differing;
}

} // namespace

TEST_CASE("line ends and ident come out as git's checkout writes them, under every setting") {
  const auto autocrlf = GENERATE(as<std::string>(), "", "true", "input", "false");
  const auto eol = GENERATE(as<std::string>(), "", "crlf", "lf");
  INFO("core.autocrlf=" << autocrlf << " core.eol=" << eol);
  worktree_rig rig;
  if (!autocrlf.empty()) run_git(rig.repository(), {"config", "core.autocrlf", autocrlf});
  if (!eol.empty()) run_git(rig.repository(), {"config", "core.eol", eol});
  const auto commit = rig.commit("work", matrix());
  rig.restored();
  CHECK(differences(rig, commit) == "");
}

TEST_CASE("attributes of info/attributes apply before those of the tree") {
  worktree_rig rig;
  const auto commit = rig.commit("work", {{".gitattributes", tree_path::file("* eol=lf\n")},
                                          {"a.txt", tree_path::file("1\n")},
                                          {"b", tree_path::file("1\n")}});
  write(rig.repository() / "info/attributes", "*.txt eol=crlf\n");
  rig.restored();
  CHECK(read(rig.worktree() / "a.txt") == "1\r\n");
  CHECK(differences(rig, commit) == "");
}

TEST_CASE("a worktree with conversions is clean, stays clean when git looks again, and is intact at the next restore") {
  worktree_rig rig;
  const auto tip = rig.commit(
      "work", {{".gitattributes", tree_path::file("*.dos text eol=crlf\n*.id ident\n"
                                                  "*.w16 text working-tree-encoding=UTF-16\n"
                                                  "*.w16le text working-tree-encoding=UTF-16LE-BOM eol=crlf\n"
                                                  "*.l1 text working-tree-encoding=ISO-8859-1\n")},
               {"a.dos", tree_path::file("1\n2\n")},
               {"b.id", tree_path::file("$Id$ and $Id$\n")},
               {"c.w16", tree_path::file("gr\xc3\xbc\xc3\x9f\n")},
               {"d.w16le", tree_path::file("gr\xc3\xbc\xc3\x9f\n")},
               {"e.l1", tree_path::file("gr\xc3\xbc\xc3\x9f\n")},
               {"empty.w16", tree_path::file("")}});
  rig.restored();
  CHECK(flaws_of(rig, tip) == "");
  CHECK(read(rig.worktree() / "e.l1") == "gr\xfc\xdf\n");
  CHECK(read(rig.worktree() / "d.w16le").starts_with("\xff\xfeg"));
  CHECK(differences(rig, tip) == "");
  const auto files = traces(rig.worktree());
  const auto again = rig.restored();
  CHECK_FALSE(again.left_dirty);
  CHECK(again.files_written == 0);
  CHECK(traces(rig.worktree()) == files);
  // Without any stamp git must read each file, and convert it back to the very blob.
  fs::remove(rig.registration() / "index");
  CHECK_FALSE(rig.restored().left_dirty);
  for (const auto& entry : fs::directory_iterator(rig.worktree()))
    fs::last_write_time(entry.path(), fs::file_time_type::clock::now() - std::chrono::hours(1));
  CHECK(status_of(rig.worktree()) == "");
  CHECK_FALSE(rig.restored().left_dirty);
}

TEST_CASE("LFS pointers stay pointers, and are counted and said") {
  worktree_rig rig;
  const std::string pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:"
                              "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";
  const auto tip =
      rig.commit("work", {{".gitattributes", tree_path::file("*.bin filter=lfs diff=lfs merge=lfs -text\n")},
                          {"a.bin", tree_path::file(pointer)},
                          {"b.bin", tree_path::file(pointer)},
                          {"c.txt", tree_path::file("text\n")}});
  const auto done = rig.restored();
  CHECK(read(rig.worktree() / "a.bin") == pointer);
  CHECK(mentions(done.reported, "2 paths kept as Git LFS pointers"));
  CHECK(mentions(done.reported, "a.bin"));
  CHECK(flaws_of(rig, tip) == "");
  SECTION("also when a move writes one") {
    rig.commit("work", {{".gitattributes", tree_path::file("*.bin filter=lfs diff=lfs merge=lfs -text\n")},
                        {"a.bin", tree_path::file(pointer + "x")}});
    CHECK(mentions(rig.restored().reported, "1 path kept as Git LFS pointers"));
  }
}

TEST_CASE("a filter with a command is never run, and its paths are said") {
  worktree_rig rig;
  const auto proof = rig.workspace() / "ran";
  run_git(rig.repository(), {"config", "filter.evil.smudge", "touch " + proof.string() + "; cat"});
  rig.commit("work", {{".gitattributes", tree_path::file("*.x filter=evil\n*.y filter=unknown\n")},
                      {"a.x", tree_path::file("1\n")},
                      {"b.y", tree_path::file("1\n")}});
  const auto done = rig.restored();
  CHECK_FALSE(fs::exists(proof));
  CHECK(read(rig.worktree() / "a.x") == "1\n");
  REQUIRE(done.reported.size() == 1);
  CHECK(done.reported.front().find("evil") != std::string::npos);
  CHECK(done.reported.front().find("a.x") != std::string::npos);
  static_cast<void>(rig.restored());
  CHECK_FALSE(fs::exists(proof));
}

TEST_CASE("an encoding that is not known leaves the file in UTF-8, and says which") {
  worktree_rig rig;
  rig.commit("work", {{".gitattributes",
                       tree_path::file("*.x working-tree-encoding=KLINGON\n*.l1 working-tree-encoding=ISO-8859-1\n")},
                      {"a.x", tree_path::file("gr\xc3\xbc\xc3\x9f\n")},
                      {"euro.l1", tree_path::file("\xe2\x82\xac\n")}});
  const auto done = rig.restored();
  CHECK(read(rig.worktree() / "a.x") == "gr\xc3\xbc\xc3\x9f\n");
  CHECK(mentions(done.reported, "KLINGON"));
  CHECK(mentions(done.reported, "euro.l1"));
}

TEST_CASE("a .gitattributes that is a link is not followed") {
  worktree_rig rig;
  const auto commit = rig.commit("work", {{".gitattributes", tree_path::link("rules")},
                                          {"rules", tree_path::file("* eol=crlf\n")},
                                          {"a", tree_path::file("1\n")}});
  rig.restored();
  CHECK(differences(rig, commit) == "");
}
