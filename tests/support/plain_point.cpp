#include "plain_point.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <stdexcept>
#include <vector>

#include "git_cli.hpp"
#include "temp_dir.hpp"
#include "worktree_edits.hpp"

namespace townkeeper::test {

namespace fs = std::filesystem;

namespace {

constexpr const char* no_id = "0000000000000000000000000000000000000000";

std::vector<std::string> parts(const std::string& text, char end) {
  std::vector<std::string> all;
  std::istringstream in{text};
  for (std::string one; std::getline(in, one, end);)
    if (!one.empty()) all.push_back(one);
  return all;
}

struct index_entry {
  char tag = 'H';
  std::string mode, id, stage, path;
};

class plain_snapshot {
public:
  plain_snapshot(fs::path worktree, plain_point_options options)
      : worktree_(std::move(worktree))
      , options_(std::move(options)) {
    const auto lines =
        parts(git({"rev-parse", "--path-format=absolute", "--absolute-git-dir", "--git-common-dir"}), '\n');
    admin_ = lines.at(0);
    common_ = lines.at(1);
    if (!options_.objects.empty()) {
      fs::create_directories(options_.objects);
      environment_["GIT_OBJECT_DIRECTORY"] = options_.objects;
      environment_["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = common_ / "objects";
    }
  }

  std::string make() {
    read_index();
    const auto head = head_commit();
    const auto index_tree = tree_of_index();
    const auto worktree_tree = tree_of_worktree();
    const auto untracked_tree = tree_of_untracked();
    const auto index = commit(index_tree, {head}, "index on a branch");
    const auto untracked = commit(untracked_tree, {}, "untracked files on a branch");
    const auto stash = commit(worktree_tree, {head, index, untracked}, "WIP on a branch");
    extra("meta.json", R"({"format":1})");
    extra("refs.json", "{}");
    std::vector<std::string> parents{stash};
    if (options_.everything) operation(parents);
    const auto extras = mktree(worktree_tree, index_tree, untracked_tree);
    return commit(extras, parents, "recovery point");
  }

private:
  std::string git(const std::vector<std::string>& arguments, std::string_view input = {},
                  const fs::path& index_file = {}) {
    command what;
    what.argv = {"git", "--no-optional-locks"};
    what.argv.insert(what.argv.end(), arguments.begin(), arguments.end());
    what.directory = worktree_;
    what.environment = git_environment();
    what.environment.insert(environment_.begin(), environment_.end());
    if (!index_file.empty()) what.environment["GIT_INDEX_FILE"] = index_file;
    what.unset_prefix = "GIT_";
    what.input = input;
    return run(what);
  }

  std::string commit(const std::string& tree, const std::vector<std::string>& parents, const std::string& message) {
    std::vector<std::string> arguments{"commit-tree", tree, "-m", message};
    for (const auto& parent : parents)
      arguments.insert(arguments.end(), {"-p", parent});
    return git(arguments);
  }

  std::string head_commit() {
    const auto id = try_git(worktree_, {"rev-parse", "--verify", "--quiet", "HEAD"});
    if (id.status == 0) return id.out.substr(0, id.out.find('\n'));
    return commit(git({"mktree"}), {}, "stands in for a HEAD that is not born");
  }

  void read_index() {
    for (const auto& line : parts(git({"ls-files", "-s", "-v", "-z"}), '\0')) {
      // `H 100644 <id> 0\t<path>`
      const auto tab = line.find('\t');
      const auto fields = parts(line.substr(2, tab - 2), ' ');
      entries_.push_back({line[0], fields.at(0), fields.at(1), fields.at(2), line.substr(tab + 1)});
    }
  }

  fs::path copy_of_index(const std::string& name) {
    const auto copy = scratch_.path() / name;
    fs::copy_file(admin_ / "index", copy);
    return copy;
  }

  /// Unmerged paths take one of their stages: 2, else 3, else 1.
  std::string tree_of_index() {
    const auto own = copy_of_index("index");
    std::map<std::string, const index_entry*> chosen;
    const auto rank = [](const index_entry& e) { return e.stage == "2" ? 0 : e.stage == "3" ? 1 : 2; };
    for (const auto& e : entries_) {
      if (e.stage == "0") continue;
      extras_ += e.mode + ' ' + e.id + "\tstages/" + e.stage + '/' + e.path + '\0';
      auto& best = chosen[e.path];
      if (best == nullptr || rank(e) < rank(*best)) best = &e;
    }
    std::string input;
    for (const auto& [path, e] : chosen)
      input += std::string{"0 "} + no_id + '\t' + path + '\0' + e->mode + ' ' + e->id + '\t' + path + '\0';
    if (!input.empty()) git({"update-index", "--replace", "-z", "--index-info"}, input, own);
    const bool flagged = std::any_of(entries_.begin(), entries_.end(),
                                     [](const auto& e) { return e.tag == 'S' || (e.tag >= 'a' && e.tag <= 'z'); });
    if (flagged) extra("raw-index", content_of(admin_ / "index"));
    return git({"write-tree"}, {}, own);
  }

  std::string tree_of_worktree() {
    const auto own = copy_of_index("worktree");
    std::string assumed, skipped;
    for (const auto& e : entries_) {
      if (e.tag == 'S' || e.tag == 's') skipped += e.path + '\0';
      if (e.tag >= 'a' && e.tag <= 'z') assumed += e.path + '\0';
    }
    if (!assumed.empty()) git({"update-index", "--no-assume-unchanged", "-z", "--stdin"}, assumed, own);
    if (!skipped.empty()) git({"update-index", "--no-skip-worktree", "-z", "--stdin"}, skipped, own);
    git({"add", "-u", "--", ":/"}, {}, own);
    return git({"write-tree"}, {}, own);
  }

  std::string tree_of_untracked() {
    std::string paths;
    for (const auto& path : parts(git({"ls-files", "-o", "--exclude-standard", "-z"}), '\0')) {
      if (path.back() == '/')
        nested(path, paths);
      else
        paths += path + '\0';
    }
    const auto own = scratch_.path() / "untracked";
    if (!paths.empty()) git({"update-index", "--add", "-z", "--stdin"}, paths, own);
    return git({"write-tree"}, {}, own);
  }

  /// A repository inside the worktree: its files are untracked ones, its `.git` goes beside.
  void nested(const std::string& directory, std::string& paths) {
    const auto dot_git = worktree_ / directory / ".git";
    for (auto at = fs::recursive_directory_iterator(worktree_ / directory); at != fs::recursive_directory_iterator{};
         ++at) {
      if (at->path() == dot_git)
        at.disable_recursion_pending();
      else if (!fs::is_directory(at->symlink_status()))
        paths += at->path().lexically_relative(worktree_).string() + '\0';
    }
    files_below(dot_git, "nested/" + directory + "dot-git/");
  }

  void operation(std::vector<std::string>& parents) {
    static const std::set<std::string> others{
        "HEAD",        "index", "logs",     "gitdir", "commondir", "locked",      "config",    "hooks",     "objects",
        "packed-refs", "info",  "branches", "refs",   "shallow",   "description", "worktrees", "FETCH_HEAD"};
    for (const auto& found : fs::directory_iterator(admin_)) {
      const auto name = found.path().filename().string();
      if (others.count(name) != 0) continue;
      if (found.is_directory())
        files_below(found.path(), "operation/" + name + '/');
      else
        extra("operation/" + name, content_of(found.path()));
    }
    // Every file may name commits, one of them is enough; and what the remote lacks of the rig.
    std::string names;
    for (const auto& content : texts_)
      for (const auto& word : parts(content, '\n'))
        names += word.substr(0, word.find_first_of(" \t")) + "^{commit}\n";
    for (const auto& line :
         parts(git({"for-each-ref", "--format=%(refname)", "refs/heads", "refs/tags", "refs/stash"}), '\n'))
      names += line + "^{}\n";
    for (const auto& line : parts(git({"stash", "list", "--format=%H"}), '\n'))
      names += line + '\n';
    std::set<std::string> seen;
    for (const auto& line : parts(git({"cat-file", "--batch-check=%(objectname) %(objecttype)"}, names), '\n'))
      if (line.ends_with(" commit") && seen.insert(line).second) parents.push_back(line.substr(0, line.find(' ')));
  }

  void files_below(const fs::path& directory, const std::string& prefix) {
    for (const auto& found : fs::recursive_directory_iterator(directory))
      if (found.is_regular_file())
        extra(prefix + found.path().lexically_relative(directory).string(), content_of(found.path()));
  }

  static std::string content_of(const fs::path& file) {
    std::ifstream in{file, std::ios::binary};
    return {std::istreambuf_iterator<char>{in}, {}};
  }

  void extra(const std::string& path, const std::string& content) {
    if (path.starts_with("operation/")) texts_.push_back(content);
    extras_ += "100644 " + git({"hash-object", "-w", "--stdin"}, content) + '\t' + path + '\0';
  }

  std::string mktree(const std::string& worktree, const std::string& index, const std::string& untracked) {
    const auto own = scratch_.path() / "extras";
    git({"update-index", "--add", "-z", "--index-info"}, extras_, own);
    auto entries = git({"ls-tree", git({"write-tree"}, {}, own)});
    entries += "\n040000 tree " + worktree + "\tworktree\n040000 tree " + index + "\tindex\n040000 tree " + untracked +
               "\tuntracked\n";
    return git({"mktree"}, entries);
  }

  fs::path worktree_, admin_, common_;
  plain_point_options options_;
  std::map<std::string, std::string> environment_;
  temp_dir scratch_{"plain-point"};
  std::vector<index_entry> entries_;
  std::string extras_; ///< for update-index --index-info
  std::vector<std::string> texts_;
};

} // namespace

std::string plain_point(const fs::path& worktree, const plain_point_options& options) {
  return plain_snapshot{worktree, options}.make();
}

} // namespace townkeeper::test
