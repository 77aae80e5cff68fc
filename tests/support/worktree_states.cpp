#include "worktree_states.hpp"

#include <algorithm>
#include <filesystem>
#include <sstream>
#include <stdexcept>

#include "git_cli.hpp"
#include "worktree_edits.hpp"

namespace townkeeper::test {

namespace fs = std::filesystem;

namespace {

std::vector<std::string> split_at_nul(const std::string& text) {
  std::vector<std::string> all;
  std::istringstream in{text};
  for (std::string one; std::getline(in, one, '\0');)
    if (!one.empty()) all.push_back(one);
  return all;
}

std::string joined_with_nul(const std::vector<std::string>& all) {
  std::string text;
  for (const auto& one : all)
    text += one + '\0';
  return text;
}

class state_maker {
public:
  state_maker(fs::path worktree, std::uint64_t seed, const state_options& options)
      : worktree_(std::move(worktree))
      , options_(options)
      , random_(seed)
      , tag_("s" + std::to_string(seed)) {}

  made_state make() {
    try {
      if (random_.one_in(3)) stashes();
      history();
      if (random_.one_in(3)) rig_refs();
      if (is_clean_ && random_.below(5) < 3) operation();
      edits();
      if (random_.one_in(6)) nested_repository();
      if (random_.one_in(2)) index_tricks();
    } catch (const std::exception& failure) {
      std::string text = failure.what();
      for (const auto& line : done_)
        text += "\n  after: " + line;
      throw std::runtime_error{text};
    }
    return std::move(done_);
  }

private:
  std::string git(const std::vector<std::string>& arguments, std::string_view input = {}) {
    say(arguments);
    return run_git(worktree_, arguments, input);
  }

  /// Where stopping in the middle is what we are after.
  void git_stops(const std::vector<std::string>& arguments,
                 const std::map<std::string, std::string>& environment = {}) {
    say(arguments);
    const auto outcome = try_git(worktree_, arguments, environment);
    if (outcome.status > 1) throw std::runtime_error{"git " + arguments[0] + ": " + outcome.err + outcome.out};
  }

  void say(const std::vector<std::string>& arguments) {
    std::string line = "git";
    for (const auto& one : arguments)
      line += " " + printable(one);
    done_.push_back(std::move(line));
  }

  std::vector<std::string> tracked() { return split_at_nul(run_git(worktree_, {"ls-files", "-z", "--deduplicate"})); }

  void change(const std::string& path) {
    random_edits files{worktree_, {}, random_, done_};
    if (!files.append(path)) throw std::runtime_error{path + " is no file"};
  }

  // -- before the edits -------------------------------------------------------------------------------------------

  void stashes() {
    for (std::size_t i = 0, count = 1 + random_.below(3); i < count; ++i) {
      change("a.txt");
      std::vector<std::string> push{"stash", "push", "-q", "-m", tag_ + " stash " + std::to_string(i)};
      if (random_.one_in(2)) {
        random_edits{worktree_, {}, random_, done_}.add_file();
        push.emplace_back("-u");
      }
      git(push);
    }
  }

  void commit(const std::string& message, const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments{"commit", "-q", "-a", "-m", message};
    arguments.insert(arguments.end(), more.begin(), more.end());
    git(arguments);
  }

  void history() {
    switch (random_.below(12)) {
    case 0:
    case 1:
      for (std::size_t i = 0, count = 1 + random_.below(2); i < count; ++i) {
        change("dir/b.txt");
        commit(tag_ + " unpushed " + std::to_string(i));
      }
      return;
    case 2:
      change("a.txt");
      return commit("amended", {"--amend"});
    case 3:
      is_clean_ = false;
      git({"reset", "-q", random_.one_in(2) ? "--soft" : "--mixed", "HEAD~2"});
      return;
    case 4:
      git({"reset", "-q", "--hard", "HEAD~1"});
      return;
    case 5:
      git({"checkout", "-q", "--detach", random_.one_in(2) ? "HEAD~1" : "origin/main"});
      if (random_.one_in(2)) {
        change("a.txt");
        commit(tag_ + " on no branch");
      }
      return;
    case 6:
      return unborn();
    case 7:
      git({"checkout", "-q", "-b", "side/" + tag_});
      change("dir/b.txt");
      return commit(tag_ + " on a side branch");
    default:
      return;
    }
  }

  void unborn() {
    is_clean_ = false;
    if (random_.one_in(2))
      git({"checkout", "-q", "--orphan", "orphan/" + tag_});
    else
      git({"update-ref", "-d", git({"symbolic-ref", "HEAD"})});
    if (random_.one_in(2)) git({"rm", "-rq", "--cached", "."});
  }

  /// Branches, tags and an annotated tag that the remote lacks, in one process.
  void rig_refs() {
    const std::string who = "A Tester <tester@example.invalid> 1700000000 +0000\n";
    git({"fast-import", "--quiet", "--done"}, "commit refs/heads/other/" + tag_ + "\ncommitter " + who +
                                                  "data 5\nlocal\nfrom refs/remotes/origin/main\nM 100644 inline "
                                                  "local.txt\ndata 6\n" +
                                                  std::to_string(random_.below(90'000) + 10'000) +
                                                  "\n\nreset refs/tags/light-" + tag_ + "\nfrom refs/heads/other/" +
                                                  tag_ + "\n\ntag annotated-" + tag_ + "\nfrom refs/heads/other/" +
                                                  tag_ + "\ntagger " + who + "data 4\nsaid\ndone\n");
  }

  // -- an operation that stops in the middle ----------------------------------------------------------------------

  void operation() {
    switch (random_.below(12)) {
    case 0:
    case 1:
      git_stops({"merge", "origin/main"});
      break;
    case 2:
      change("dir/b.txt");
      git_stops({"merge", "--autostash", "origin/main"});
      break;
    case 3:
      git_stops({"rebase", random_.one_in(2) ? "--merge" : "--apply", "origin/main"});
      break;
    case 4:
      change("dir/b.txt");
      git_stops({"rebase", "--autostash", "origin/main"});
      break;
    case 5:
    case 6:
      git_stops({"rebase", "-i", "HEAD~2"},
                {{"GIT_SEQUENCE_EDITOR",
                  random_.one_in(2) ? "sed -i s/^pick/edit/" : "sed -i -e '1s/^pick/reword/' -e '1a break'"},
                 {"GIT_EDITOR", "true"}});
      break;
    case 7:
      git_stops({"cherry-pick", "origin/main~1", "origin/main"});
      break;
    case 8:
      git_stops({"revert", "--no-edit", "HEAD~1", "HEAD"});
      break;
    case 9:
      git({"bisect", "start", "HEAD", "HEAD~3"});
      break;
    case 10:
      git_stops({"merge", "--no-commit", "--no-ff", "-s", "ours", "origin/main"});
      break;
    default:
      change("a.txt");
      git({"stash", "push", "-q"});
      change("a.txt");
      commit("before a stash is applied");
      git_stops({"stash", "apply", "-q"});
    }
    if (random_.one_in(2)) resolve();
  }

  /// Some of what is in conflict, as if the agent had got so far.
  void resolve() {
    const random_edits files{worktree_, {}, random_, done_};
    std::vector<std::string> chosen;
    for (const auto& path : split_at_nul(run_git(worktree_, {"diff", "--name-only", "--diff-filter=U", "-z"})))
      if (random_.one_in(2) && files.is_regular(path)) chosen.push_back(path);
    stage(chosen);
  }

  // -- edits ----------------------------------------------------------------------------------------------------

  void stage(const std::vector<std::string>& paths) {
    if (paths.empty()) return;
    for (const auto& path : paths)
      done_.push_back("stage " + printable(path));
    run_git(worktree_, {"update-index", "--add", "--remove", "--replace", "-z", "--stdin"}, joined_with_nul(paths));
  }

  bool can_be_staged(const random_edits& files, const std::string& path) const {
    return files.is_reachable(path) && !fs::is_directory(fs::symlink_status(worktree_ / path));
  }

  void edits() {
    random_edits files{worktree_, tracked(), random_, done_, options_.control_characters};
    for (std::size_t i = 0, count = random_.below(14); i < count; ++i)
      files.once();
    std::vector<std::string> chosen;
    for (const auto& path : files.touched())
      if (random_.below(5) < 2 && can_be_staged(files, path)) chosen.push_back(path);
    stage(chosen);
    for (const auto& path : chosen)
      if (random_.one_in(4)) files.append(path);
  }

  void nested_repository() {
    const auto place = worktree_ / "nested repo";
    if (fs::exists(fs::symlink_status(place))) return;
    fs::create_directories(place);
    done_.emplace_back("a repository at nested repo");
    run_git(place, {"init", "-q", "--template="});
    random_edits files{place, {}, random_, done_};
    files.write("inner/file.txt", "in the nested one\n");
    if (random_.one_in(3)) return;
    run_git(place, {"add", "."});
    run_git(place, {"commit", "-q", "-m", "nested"});
    files.write("inner/later.txt", "not committed\n");
    fs::remove(place / ".git/COMMIT_EDITMSG");
  }

  // -- what only an index can hold ------------------------------------------------------------------------------

  void index_tricks() {
    random_edits files{worktree_, tracked(), random_, done_, options_.control_characters};
    if (random_.one_in(3)) remove_from_index(files);
    if (random_.one_in(3)) submodule();
    if (random_.one_in(4))
      if (const auto path = files.add_file(); !path.empty())
        git({"--literal-pathspecs", "add", "-f", "-N", "--", path});
    if (random_.one_in(4)) flag("--assume-unchanged", files);
    if (random_.one_in(4)) flag("--skip-worktree", files);
  }

  void remove_from_index(const random_edits& files) {
    std::vector<std::string> chosen;
    for (const auto* path : {"a.txt", "dir/sub/c.txt", "run.sh", "link", "data.bin"})
      if (files.exists(path) && random_.one_in(2)) chosen.emplace_back(path);
    for (const auto& path : chosen)
      done_.push_back("remove from the index alone " + path);
    run_git(worktree_, {"update-index", "--force-remove", "-z", "--stdin"}, joined_with_nul(chosen));
  }

  void submodule() {
    std::error_code ignored;
    if (random_.one_in(2)) {
      git({"update-index", "--add", "--cacheinfo", "160000,2222222222222222222222222222222222222222,sub"});
    } else if (fs::remove(worktree_ / "sub", ignored)) {
      done_.emplace_back("remove the directory of the submodule");
    }
  }

  void flag(const std::string& which, random_edits& files) {
    const std::string path = random_.one_of<std::string>({"deep/1/f.txt", "dir/sub/d.txt", "caf\xc3\xa9"});
    // As an entry of its own, not as a directory that took the file's place.
    if (run_git(worktree_, {"ls-files", "-s", "-z", "--", path}).find(" 0\t" + path + '\0') == std::string::npos)
      return;
    git({"update-index", which, path});
    if (!files.is_regular(path)) return;
    if (random_.one_in(3))
      files.append(path);
    else if (random_.one_in(2))
      fs::remove(worktree_ / path);
  }

  fs::path worktree_;
  state_options options_;
  dice random_;
  std::string tag_;
  made_state done_;
  bool is_clean_ = true; ///< an operation can begin
};

} // namespace

made_state make_state(const fs::path& worktree, std::uint64_t seed, const state_options& options) {
  return state_maker{worktree, seed, options}.make();
}

} // namespace townkeeper::test
