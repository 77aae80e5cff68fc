#include "git/path_rules.hpp"

#include <catch2/catch_test_macros.hpp>

#include "tests/unit/core/result_printer.hpp"

using namespace townkeeper;
using namespace townkeeper::git;

TEST_CASE("every spelling of .git that some file system would open is known") {
  for (const std::string_view name : {".git",
                                      ".GIT",
                                      ".Git",
                                      ".git ",
                                      ".git.",
                                      ".git.. .",
                                      "git~1",
                                      "GIT~1",
                                      "Git~1 ",
                                      ".git:",
                                      ".git::$INDEX_ALLOCATION",
                                      ".git . :x",
                                      "git~1:x",
                                      ".g\xe2\x80\x8cit",
                                      "\xe2\x80\x8f.git",
                                      ".gi\xe2\x80\xaat",
                                      ".g\xe2\x80\x8c\xe2\x80\x8dit",
                                      ".gi\xe2\x81\xaet",
                                      ".git\xef\xbb\xbf",
                                      ".G\xe2\x80\x8dI\xe2\x80\x8dT",
                                      ".git\x80",
                                      "x\\.git",
                                      ".git\\x",
                                      "x\\git~1\\y",
                                      "\\.git"}) {
    INFO(name);
    CHECK(is_dot_git(name));
  }
}

TEST_CASE("names that only look like .git are left alone") {
  for (const std::string_view name :
       {".gitignore", ".gitattributes", ".github", "git", "a.git", ".git2", ".gitx", "git~2", "git~10", "git~", ".g",
        "", ".git-", ".gi\xc3\xa4t", ".g\xe2\x80\x90it", "x.git", "x git~1", "\xe2\x80\x8c"}) {
    INFO(name);
    CHECK_FALSE(is_dot_git(name));
  }
}

TEST_CASE("every spelling of .gitmodules is known, short names of NTFS too") {
  for (const std::string_view name :
       {".gitmodules", ".GitModules", ".gitmodules ", ".gitmodules.", ".gitmodules:x", "gitmod~1", "GITMOD~4",
        "gi7eba~1", "GI7EBA~9", "gi7eb~10", "g~123456", "~1234567", ".gitmod\xe2\x80\x8cules", "x\\.gitmodules"}) {
    INFO(name);
    CHECK(is_dot_gitmodules(name));
  }
  for (const std::string_view name : {"gitmodules", ".gitmodule", ".gitmodulesx", "gitmod~5", "gitmod~0", "gi7eba~0",
                                      "gi7ebax1", "gi7eba~1x", "gi7d29~1", "~12345678x"}) {
    INFO(name);
    CHECK_FALSE(is_dot_gitmodules(name));
  }
}

TEST_CASE("a name is checked for its kind") {
  using enum entry_kind;
  CHECK(check_entry_name(".gitmodules", file, ".gitmodules"));
  CHECK_FALSE(check_entry_name(".gitmodules", symlink, ".gitmodules"));
  for (const auto kind : {file, symlink, directory, submodule}) {
    CHECK(check_entry_name("name", kind, "dir/name"));
    CHECK(check_entry_name("...", kind, "..."));
    CHECK(check_entry_name("-rf", kind, "-rf"));
    CHECK(check_entry_name("\xff", kind, "\xff"));
    for (const std::string_view odd : {"a\tb", "a\nb", "\x01", "\x1b[31m", "\x7f", ".git\t", ".git\n"})
      CHECK(check_entry_name(odd, kind, odd));
    for (const std::string_view bad : {std::string_view(""), std::string_view("."), std::string_view(".."),
                                       std::string_view("a/b"), std::string_view("a\0b", 3), std::string_view(".git")})
      CHECK_FALSE(check_entry_name(bad, kind, bad));
  }
}

TEST_CASE("a path longer than Linux takes is refused") {
  CHECK(check_entry_name("x", entry_kind::file, std::string(max_path_length, 'x')));
  CHECK_FALSE(check_entry_name("x", entry_kind::file, std::string(max_path_length + 1, 'x')));
}

TEST_CASE("a hostile name cannot forge a line") {
  CHECK(printable("a\nb\x1b[0m\x7f") == "a\\x0ab\\x1b[0m\\x7f");
  CHECK(printable("gr\xc3\xbc\xc3\x9f") == "gr\xc3\xbc\xc3\x9f");
}
