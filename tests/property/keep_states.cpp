#include "keep_states.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <sstream>
#include <stdexcept>

namespace townkeeper::test {

namespace fs = std::filesystem;

namespace {

/// What git's filters may write in another way than it was.
bool is_converted(const std::string& fact) {
  static constexpr std::array<const char*, 4> suffixes{".crlf", ".auto", ".id", ".u16"};
  // In status: modified for git by its size alone, with the same id.
  const bool may_differ = fact.starts_with("file ") || fact.starts_with("status 1 .M ");
  return may_differ &&
         std::any_of(suffixes.begin(), suffixes.end(), [&](const char* suffix) { return fact.ends_with(suffix); });
}

worktree_picture without_conversions(worktree_picture picture) {
  std::erase_if(picture.facts, [](const auto& fact) { return is_converted(fact.first); });
  return picture;
}

bool has_new_attributes(const worktree_picture& picture) {
  return std::any_of(picture.facts.begin(), picture.facts.end(), [](const auto& fact) {
    return fact.first.starts_with("status ") && fact.first.find(".gitattributes") != std::string::npos;
  });
}

} // namespace

std::vector<std::uint64_t> seeds_of_states(std::size_t count) {
  std::uint64_t first = 1;
  if (const char* text = std::getenv("TOWNKEEPER_STATES"); text != nullptr) {
    char* rest = nullptr;
    count = std::strtoull(text, &rest, 10);
    if (*rest == '@') first = std::strtoull(rest + 1, &rest, 10);
    if (count == 0 || *rest != '\0') throw std::invalid_argument{"TOWNKEEPER_STATES is COUNT or COUNT@SEED"};
  }
  std::vector<std::uint64_t> seeds(count);
  for (std::size_t i = 0; i < count; ++i)
    seeds[i] = first + i;
  return seeds;
}

std::string report_of(std::uint64_t seed, const made_state& done) {
  std::string text = "seed " + std::to_string(seed) + ", again with TOWNKEEPER_STATES=1@" + std::to_string(seed);
  for (const auto& line : done)
    text += "\n  " + line;
  return text;
}

namespace {

/// What git shall add one day is tracked in the agent's worktree; a plain one may have been told to ignore it.
void track_all_of(const fs::path& clone, const std::string& commit) {
  std::vector<std::string> add{"--literal-pathspecs", "add", "-f", "-N", "--"};
  std::istringstream names{run_git(clone, {"ls-tree", "-r", "-z", "--name-only", commit})};
  for (std::string name; std::getline(names, name, '\0');)
    if (fs::is_symlink(clone / name) || fs::is_regular_file(clone / name)) add.push_back(name);
  run_git(clone, add);
}

} // namespace

std::string flaws_of_plain_recovery(const fs::path& remote, const std::string& ref, const worktree_picture& before) {
  const temp_dir dir{"plain"};
  const auto alone = dir.path() / "alone.git", clone = dir.path() / "clone";
  run_git(dir.path(), {"init", "-q", "--bare", "--template=", alone});
  // From the server's side, not by a copy of files: only what the point reaches comes.
  run_git(alone, {"fetch", "-q", "file://" + remote.string(), ref + ":" + ref});
  std::string flaws;
  if (const auto sound = try_git(alone, {"fsck", "--full", "--strict", "--no-dangling"}); sound.status != 0)
    flaws += "fsck of the point alone: " + sound.err + sound.out;

  run_git(dir.path(), {"clone", "-q", "--template=", "-b", "main", "file://" + remote.string(), clone});
  run_git(clone, {"fetch", "-q", "origin", ref});
  run_git(clone, {"checkout", "-q", "--detach", "FETCH_HEAD^1^1"});
  if (const auto applied = try_git(clone, {"stash", "apply", "-q", "--index", "FETCH_HEAD^1"}); applied.status != 0)
    return flaws + "stash apply: " + applied.err + applied.out;
  if (before.has_intent_to_add()) track_all_of(clone, "FETCH_HEAD^1");
  std::vector<std::string> kinds{"file"};
  if (before.is_born() && !before.has_unmerged() && !before.has_intent_to_add() && !before.has_flags())
    kinds.insert(kinds.end(), {"index", "status"});
  // Other attributes than at the last checkout: plain git writes the files by them.
  if (has_new_attributes(before)) kinds.erase(std::remove(kinds.begin(), kinds.end(), "file"), kinds.end());
  return kinds.empty() ? flaws
                       : flaws + differences(without_conversions(before), without_conversions(describe(clone)), kinds);
}

} // namespace townkeeper::test
