#include "worktree_picture.hpp"

#include <openssl/evp.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <stdexcept>

#include "git_cli.hpp"
#include "worktree_edits.hpp"

namespace townkeeper::test {

namespace fs = std::filesystem;

namespace {

std::string content_of(const fs::path& file) {
  std::ifstream in{file, std::ios::binary};
  if (!in) throw std::runtime_error{"cannot read " + file.string()};
  return {std::istreambuf_iterator<char>{in}, {}};
}

std::string digest_of(const std::string& content) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  EVP_Digest(content.data(), content.size(), digest.data(), nullptr, EVP_sha256(), nullptr);
  std::string out;
  constexpr std::size_t enough = 16;
  for (std::size_t i = 0; i < enough; ++i) {
    constexpr const char* hex = "0123456789abcdef";
    out += hex[digest[i] >> 4U];
    out += hex[digest[i] & 15U];
  }
  return out;
}

/// What is at a path that is no directory.
std::string entry_of(const fs::path& path) {
  struct stat s {};
  if (lstat(path.c_str(), &s) != 0) throw std::runtime_error{"cannot see " + path.string()};
  if (S_ISLNK(s.st_mode)) return "link to " + printable(fs::read_symlink(path).string());
  if (!S_ISREG(s.st_mode)) return "neither file nor link";
  const auto content = content_of(path);
  return ((s.st_mode & S_IXUSR) != 0 ? "0755 " : "0644 ") + std::to_string(content.size()) + ' ' + digest_of(content);
}

std::vector<std::string> parts(const std::string& text, char end) {
  std::vector<std::string> all;
  std::istringstream in{text};
  for (std::string one; std::getline(in, one, end);)
    all.push_back(one);
  return all;
}

std::string numbered(const std::string& kind, std::size_t number) {
  auto text = std::to_string(number);
  return kind + ' ' + std::string(text.size() < 3 ? 3 - text.size() : 0, '0') + text;
}

class look {
public:
  explicit look(fs::path worktree)
      : worktree_(std::move(worktree))
      , admin_(admin_directory(worktree_)) {}

  worktree_picture all() {
    facts_["head"] = content_of(admin_ / "HEAD");
    status();
    index();
    for (const auto& path : parts(git({"ls-files", "-o", "-i", "--exclude-standard", "-z"}), '\0'))
      ignored_.insert(path);
    files("", false);
    refs();
    history();
    operation();
    return {std::move(facts_)};
  }

private:
  static fs::path admin_directory(const fs::path& worktree) {
    const auto dot_git = worktree / ".git";
    if (fs::is_directory(dot_git)) return dot_git;
    auto text = content_of(dot_git);
    text.erase(0, std::string{"gitdir: "}.size());
    while (!text.empty() && text.back() == '\n')
      text.pop_back();
    return text;
  }

  std::string git(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "--no-optional-locks");
    return run_git(worktree_, arguments);
  }

  void status() {
    const auto entries = parts(git({"status", "--porcelain=v2", "-z", "--branch"}), '\0');
    for (std::size_t i = 0; i < entries.size(); ++i) {
      auto entry = entries[i];
      if (entry.starts_with("# branch.upstream") || entry.starts_with("# branch.ab")) continue;
      if (entry.starts_with("# ")) {
        facts_["branch"] += printable(entry) + ' ';
        continue;
      }
      if (entry.starts_with("2 ") && i + 1 < entries.size()) entry += " <- " + entries[++i];
      facts_["status " + printable(entry)];
    }
    std::size_t number = 0;
    for (const auto& line : parts(git({"status"}), '\n')) {
      // How far the remote is away is no part of the state.
      if (line.starts_with("Your branch") || line.starts_with("and have") || line.starts_with("  (use \"git pu"))
        continue;
      // Where it was detached stands in the reflog alone, which is no part of a point.
      const bool detached = line.starts_with("HEAD detached ") || line == "Not currently on any branch.";
      facts_[numbered("says", number++)] = detached ? "detached" : line;
    }
  }

  /// `H 100644 <id> 0\t<path>`, then five lines on the file of which the last ends in `flags: <hex>`.
  void index() {
    std::string entry;
    for (const auto& line : parts(git({"ls-files", "-s", "-v", "--debug"}), '\n')) {
      if (!line.starts_with("  ")) entry = line;
      if (const auto at = line.find("\tflags: "); line.starts_with("  size: ") && at != std::string::npos) {
        // Without the length of the name and the stage, which are said already (read-cache.h).
        const auto flags = std::stoul(line.substr(at + 8), nullptr, 16) & 0x60008000UL;
        std::ostringstream text;
        text << "flags " << std::hex << flags;
        facts_["index " + printable(entry)] = text.str();
      }
    }
  }

  bool is_ignored(const std::string& path) const {
    return ignored_.count(path) != 0 || ignored_.count(path + '/') != 0;
  }

  void files(const std::string& below, bool in_nested_git) {
    for (const auto& found : fs::directory_iterator(worktree_ / below)) {
      const auto path = below + found.path().filename().string();
      if (path == ".git" || (!in_nested_git && is_ignored(path))) continue;
      if (fs::is_directory(found.symlink_status()))
        files(path + '/', in_nested_git || found.path().filename() == ".git");
      else
        facts_[(in_nested_git ? "nested " : "file ") + printable(path)] = entry_of(found.path());
    }
  }

  void refs() {
    const auto format = "--format=%(refname)%00%(objectname) %(objecttype) %(symref)";
    for (const auto& line : parts(
             git({"for-each-ref", format, "refs/heads", "refs/tags", "refs/bisect", "refs/worktree", "refs/rewritten"}),
             '\n')) {
      const auto nul = line.find('\0');
      facts_["ref " + printable(line.substr(0, nul))] = line.substr(nul + 1);
    }
  }

  void history() {
    const auto number = [&](const std::string& kind, const std::string& text) {
      std::size_t n = 0;
      for (const auto& line : parts(text, '\n'))
        facts_[numbered(kind, n++)] = line;
    };
    number("stash", git({"stash", "list", "--format=%H %gs %P"}));
    if (facts_["branch"].find("(initial)") == std::string::npos)
      number("log", git({"log", "--format=%H %T %s", "HEAD", "--"}));
  }

  void operation() {
    // What every worktree has, what is compared by other means, and what git and we write down for other purposes.
    static const std::set<std::string> others{"HEAD",
                                              "index",
                                              "logs",
                                              "gitdir",
                                              "commondir",
                                              "locked",
                                              "config.worktree",
                                              "FETCH_HEAD",
                                              "config",
                                              "hooks",
                                              "refs",
                                              "objects",
                                              "packed-refs",
                                              "description",
                                              "info",
                                              "branches",
                                              "shallow",
                                              "gc.log",
                                              "worktrees",
                                              "COMMIT_EDITMSG",
                                              "townkeeper-point",
                                              "townkeeper-point.lock",
                                              "townkeeper"};
    for (const auto& found : fs::directory_iterator(admin_)) {
      const auto name = found.path().filename().string();
      if (others.count(name) != 0) continue;
      if (!found.is_directory()) {
        facts_["operation " + printable(name)] = printable(content_of(found.path()));
        continue;
      }
      for (const auto& inner : fs::recursive_directory_iterator(found.path()))
        if (inner.is_regular_file())
          facts_["operation " + printable(inner.path().lexically_relative(admin_).string())] =
              printable(content_of(inner.path()));
    }
  }

  fs::path worktree_, admin_;
  std::set<std::string> ignored_;
  std::map<std::string, std::string> facts_;
};

bool is_of(const std::string& key, const std::vector<std::string>& kinds) {
  if (kinds.empty()) return true;
  return std::find(kinds.begin(), kinds.end(), key.substr(0, key.find(' '))) != kinds.end();
}

template <class F>
bool any_index_entry(const worktree_picture& picture, F&& holds) {
  return std::any_of(picture.facts.begin(), picture.facts.end(),
                     [&](const auto& fact) { return fact.first.starts_with("index ") && holds(fact); });
}

} // namespace

bool worktree_picture::is_born() const {
  const auto found = facts.find("branch");
  return found != facts.end() && found->second.find("(initial)") == std::string::npos;
}

bool worktree_picture::has_unmerged() const {
  return std::any_of(facts.begin(), facts.end(), [](const auto& fact) { return fact.first.starts_with("status u "); });
}

bool worktree_picture::has_intent_to_add() const {
  return any_index_entry(
      *this, [](const auto& fact) { return (std::stoul(fact.second.substr(6), nullptr, 16) & 0x20000000UL) != 0; });
}

bool worktree_picture::has_flags() const {
  return any_index_entry(*this, [](const auto& fact) {
    const char c = fact.first[sizeof("index")];
    return c == 'S' || (c >= 'a' && c <= 'z');
  });
}

worktree_picture describe(const fs::path& worktree) {
  return look{worktree}.all();
}

std::string differences(const worktree_picture& before, const worktree_picture& after,
                        const std::vector<std::string>& kinds) {
  std::string text;
  const auto missing = [&](const worktree_picture& from, const worktree_picture& in, const char* sign) {
    for (const auto& [key, value] : from.facts) {
      if (!is_of(key, kinds)) continue;
      const auto other = in.facts.find(key);
      if (other == in.facts.end() || other->second != value)
        text += sign + key + (value.empty() ? "" : ": " + value) + '\n';
    }
  };
  missing(before, after, "-");
  missing(after, before, "+");
  return text;
}

} // namespace townkeeper::test
