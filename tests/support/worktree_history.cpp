#include <array>
#include <sstream>

#include "git_cli.hpp"
#include "worktree_states.hpp"

namespace townkeeper::test {

namespace {

/// A stream for git-fast-import(1).
class history {
public:
  void commit(const std::string& branch, const std::string& message, const std::string& from = {}) {
    stream_ << "commit refs/heads/" << branch << "\ncommitter A Tester <tester@example.invalid> "
            << 1'700'000'000 + commits_++ << " +0000\n";
    data(message);
    if (!from.empty()) stream_ << "from " << from << '\n';
  }
  void file(const std::string& path, const std::string& content, const char* mode = "100644") {
    stream_ << "M " << mode << " inline " << quoted(path) << '\n';
    data(content);
  }
  void submodule(const std::string& path, const std::string& id) {
    stream_ << "M 160000 " << id << ' ' << quoted(path) << '\n';
  }
  void remove(const std::string& path) { stream_ << "D " << quoted(path) << '\n'; }
  std::string text() const { return stream_.str() + "done\n"; }

private:
  void data(const std::string& bytes) { stream_ << "data " << bytes.size() << '\n' << bytes << '\n'; }
  static std::string quoted(const std::string& path) {
    std::string out = "\"";
    for (const char c : path)
      out += c == '\n' ? "\\n" : (c == '"' || c == '\\') ? std::string{'\\', c} : std::string{c};
    return out + '"';
  }

  std::ostringstream stream_;
  long commits_ = 0;
};

std::string lines(const std::string& second) {
  return "first\n" + second + "\nthird\nfourth\nfifth\n";
}

void write_first(history& h) {
  dice d{1};
  h.commit("main", "first");
  h.file(".gitignore", "*.log\nbuild/\n");
  h.file(".gitattributes", "*.crlf text eol=crlf\n*.auto text=auto\n*.id ident\n*.u16 text "
                           "working-tree-encoding=UTF-16\n*.bin -text\n");
  for (const auto* path :
       {"a.txt", "dir/b.txt", "dir/sub/c.txt", "dir/sub/d.txt", "deep/1/2/3/4/e.txt", "deep/1/f.txt", "spa ce.txt",
        "-dash", "qu\"ote", "back\\slash", "caf\xc3\xa9", "latin-\xe4", "*.glob", ":(top)magic", "%41"})
    h.file(path, lines(path));
  h.file("empty", "");
  h.file("dir/empty", "");
  h.file("forced.log", "tracked although ignored\n");
  h.file("data.bin", d.bytes(3000));
  h.file("big.bin", d.bytes(300'000));
  h.file("run.sh", "#!/bin/sh\necho hello\n", "100755");
  h.file("dir/tool", "#!/bin/sh\necho tool\n", "100755");
  h.file("link", "a.txt", "120000");
  h.file("dir/up", "../dir", "120000");
  h.file("dangling", "no/such/file", "120000");
  h.file("conv/a.crlf", "one\ntwo\nthree\n");
  h.file("conv/b.auto", "one\ntwo\nthree\n");
  h.file("conv/c.id", "$Id$\nbelow\n");
  h.file("conv/d.u16", "one\nz\xc3\xbcrich\n");
  h.submodule("sub", "1111111111111111111111111111111111111111");
  for (const auto* path : {"c/text.txt", "c/ours-deleted.txt", "c/theirs-deleted.txt", "c/old.txt", "c/mode.sh"})
    h.file(path, lines("second of " + std::string{path}));
  h.file("c/both.bin", d.bytes(500));
  h.file("c/lines.crlf", "one\ntwo\nthree\n");
}

/// `main` goes its way: what the branches will conflict with, and one more commit that conflicts with nothing.
void write_theirs(history& h) {
  h.commit("main", "theirs");
  h.file("c/text.txt", lines("theirs"));
  h.file("c/ours-deleted.txt", lines("theirs"));
  h.remove("c/theirs-deleted.txt");
  h.remove("c/old.txt");
  h.file("c/new-theirs.txt", lines("second of c/old.txt"));
  h.file("c/mode.sh", lines("theirs"), "100755");
  h.file("c/both.bin", dice{2}.bytes(500));
  h.file("c/lines.crlf", "one\ntheirs\nthree\n");
  h.file("c/both-added.txt", "theirs\n");
  h.file("c/swap/inside.txt", "theirs\n");
  h.commit("main", "theirs, elsewhere");
  h.file("theirs.txt", "theirs\n");
}

void write_ours(history& h, const std::string& branch, const std::string& first) {
  h.commit(branch, "ours of " + branch, first);
  h.file("c/text.txt", lines("ours"));
  h.remove("c/ours-deleted.txt");
  h.file("c/theirs-deleted.txt", lines("ours"));
  h.remove("c/old.txt");
  h.file("c/new-ours.txt", lines("second of c/old.txt"));
  h.file("c/mode.sh", lines("ours"));
  h.file("c/both.bin", dice{3}.bytes(500));
  h.file("c/lines.crlf", "one\nours\nthree\n");
  h.file("c/both-added.txt", "ours\n");
  h.file("c/swap", "ours\n");
  h.commit(branch, "ours again");
  h.file("c/text.txt", lines("ours again"));
  h.file("c/both-added.txt", "ours again\n");
  h.commit(branch, "ours, elsewhere");
  h.file("ours.txt", lines(branch));
}

} // namespace

std::uint64_t dice::roll() {
  // splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators)
  std::uint64_t z = (state_ += 0x9E3779B97F4A7C15ULL);
  z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27U)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31U);
}

std::size_t dice::below(std::size_t limit) {
  return static_cast<std::size_t>(roll() % limit);
}

std::string dice::bytes(std::size_t count) {
  std::string out(count, '\0');
  for (char& c : out)
    c = static_cast<char>(roll() >> 56U);
  return out;
}

void seed_history(const std::filesystem::path& bare_repository, const std::vector<std::string>& branches) {
  history first;
  write_first(first);
  run_git(bare_repository, {"fast-import", "--quiet", "--force", "--done"}, first.text());
  const auto id = run_git(bare_repository, {"rev-parse", "refs/heads/main"});
  history rest;
  rest.commit("main", "nothing yet", id);
  write_theirs(rest);
  for (const auto& branch : branches)
    write_ours(rest, branch, id);
  run_git(bare_repository, {"fast-import", "--quiet", "--force", "--done"}, rest.text());
}

} // namespace townkeeper::test
