#include "apply_rig.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <set>
#include <sstream>
#include <stdexcept>

#include "git/recovery.hpp"
#include "tests/support/command.hpp"

namespace townkeeper::test {

namespace fs = std::filesystem;

namespace {

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, at);)
    if (!part.empty()) parts.push_back(part);
  return parts;
}

bool is_operation(const std::string& name) {
  static const std::set<std::string> directories{"rebase-merge", "rebase-apply", "sequencer"};
  if (directories.contains(name)) return true;
  return name != "HEAD" &&
         std::all_of(name.begin(), name.end(), [](char c) { return c == '_' || (c >= 'A' && c <= 'Z'); });
}

/// Relative path → absolute, of every file and link below `directory`.
std::map<std::string, fs::path> files_below(const fs::path& directory) {
  std::map<std::string, fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(directory))
    if (entry.is_symlink() || !entry.is_directory())
      files.emplace(entry.path().lexically_relative(directory), entry.path());
  return files;
}

/// The operation's files of a registration, by their path in it.
std::map<std::string, fs::path> operation_files(const fs::path& registration) {
  std::map<std::string, fs::path> files;
  for (const auto& [name, path] : files_below(registration))
    if (is_operation(name.substr(0, name.find('/')))) files.emplace(name, path);
  return files;
}

/// git with an index file of its own.
class scratch_index {
public:
  scratch_index(fs::path worktree, const std::string& name)
      : worktree_(std::move(worktree))
      , file_(dir_.path() / name) {}

  void copy_from(const fs::path& index) const {
    if (fs::exists(index)) fs::copy_file(index, file_);
  }
  std::string run(std::vector<std::string> arguments, std::string_view input = {}) const {
    command what;
    what.argv = {"git"};
    what.argv.insert(what.argv.end(), arguments.begin(), arguments.end());
    what.directory = worktree_;
    what.environment = git_environment();
    what.environment["GIT_INDEX_FILE"] = file_;
    what.environment["GIT_LITERAL_PATHSPECS"] = "1";
    what.unset_prefix = "GIT_";
    what.input = input;
    return test::run(what);
  }
  void add(const std::string& mode, const std::string& id, const std::string& path) const {
    run({"update-index", "--add", "--cacheinfo", mode + "," + id + "," + path});
  }
  std::string tree() const { return run({"write-tree"}); }

private:
  fs::path worktree_;
  temp_dir dir_{"index"};
  fs::path file_;
};

class maker {
public:
  maker(fs::path worktree, fs::path registration, const point_options& options)
      : worktree_(std::move(worktree))
      , registration_(std::move(registration))
      , options_(options) {}

  git::found_recovery run() {
    read_refs();
    const auto index_tree = make_index_tree();
    const auto worktree_tree = make_worktree_tree();
    const auto untracked_tree = make_untracked_tree();
    const auto head = point_.head.commit ? *point_.head.commit : commit(empty_tree, {});
    std::vector<std::string> parents{head, commit(index_tree, {head})};
    if (untracked_tree != empty_tree) parents.push_back(commit(untracked_tree, {}));
    const auto stash = commit(worktree_tree, parents);
    for (const auto& [name, tree] :
         {std::pair{"worktree", worktree_tree}, std::pair{"index", index_tree}, std::pair{"untracked", untracked_tree}})
      if (tree != empty_tree) extras_.run({"read-tree", std::string("--prefix=") + name + '/', tree});
    add_operation();
    for (const auto& [path, bytes] : options_.raw)
      extras_.add("100644", blob(bytes), "raw/" + path);
    extras_.add("100644", blob("{}"), "meta.json");
    extras_.add("100644", blob("{}"), "refs.json");
    std::vector<std::string> all{stash};
    if (point_.branch_commit) all.push_back(*point_.branch_commit);
    all.insert(all.end(), operation_ids_.begin(), operation_ids_.end());
    point_.commit = commit(extras_.tree(), all);
    return {point_, {}};
  }

private:
  static constexpr const char* empty_tree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

  std::string blob(const std::string& bytes) const {
    return run_git(worktree_, {"hash-object", "-w", "--stdin"}, bytes);
  }
  std::string commit(const std::string& tree, const std::vector<std::string>& parents) const {
    std::vector<std::string> arguments{"commit-tree", tree, "-m", "WIP"};
    std::set<std::string> seen;
    for (const auto& parent : parents)
      if (seen.insert(parent).second) arguments.insert(arguments.end(), {"-p", parent});
    return run_git(worktree_, arguments);
  }

  void read_refs() {
    point_.epoch = options_.epoch;
    point_.seq = options_.seq;
    point_.ref = "refs/townkeeper/t1/" + options_.agent + '/' + std::to_string(options_.epoch);
    point_.branch = options_.branch;
    point_.remote_commit = options_.remote_commit;
    point_.kind = "auto";
    const auto ref = try_git(worktree_, {"symbolic-ref", "-q", "HEAD"});
    if (ref.status == 0) point_.head.ref = ref.out.substr(0, ref.out.find('\n'));
    if (const auto id = id_of(worktree_, "HEAD^{commit}"); !id.empty()) point_.head.commit = id;
    if (const auto id = id_of(worktree_, "refs/heads/" + options_.branch); !id.empty()) point_.branch_commit = id;
  }

  std::string make_index_tree() {
    const auto index = registration_ / "index";
    index_.copy_from(index);
    std::map<std::string, std::map<int, std::pair<std::string, std::string>>> unmerged;
    for (const auto& line : split(run_git(worktree_, {"ls-files", "-u", "-z"}), '\0')) {
      const auto mode = line.substr(0, 6), id = line.substr(7, 40), path = line.substr(50);
      unmerged[path][line[48] - '0'] = {mode, id};
      extras_.add(mode, id, std::string("stages/") + line[48] + '/' + path);
    }
    for (const auto& [path, stages] : unmerged) {
      const auto& [mode, id] = stages.contains(2) ? stages.at(2) : stages.contains(3) ? stages.at(3) : stages.at(1);
      index_.run({"update-index", "--force-remove", path});
      index_.add(mode, id, path);
    }
    bool flagged = false;
    for (const auto& line : split(run_git(worktree_, {"ls-files", "-v", "-z"}), '\0')) {
      flagged = flagged || line[0] == 'S' || (line[0] >= 'a' && line[0] <= 'z');
      index_.run({"update-index", "--no-assume-unchanged", line.substr(2)});
      index_.run({"update-index", "--no-skip-worktree", line.substr(2)});
    }
    const auto tree = index_.tree();
    // Entries with intent to add are in the index and not in its tree.
    const auto listed = split(run_git(worktree_, {"ls-files", "-z"}), '\0');
    const auto in_tree = split(run_git(worktree_, {"ls-tree", "-r", "-z", "--name-only", tree}), '\0');
    flagged = flagged || !options_.raw.empty() || std::set(listed.begin(), listed.end()).size() != in_tree.size();
    if (flagged) extras_.add("100644", run_git(worktree_, {"hash-object", "-w", "--no-filters", index}), "raw-index");
    return tree;
  }

  std::string make_worktree_tree() {
    index_.run({"add", "-u"});
    return index_.tree();
  }

  std::string make_untracked_tree() {
    const scratch_index untracked(worktree_, "untracked");
    for (const auto& path : split(run_git(worktree_, {"ls-files", "-o", "--exclude-standard", "-z"}), '\0')) {
      if (!path.ends_with('/')) {
        untracked.run({"update-index", "--add", path});
        continue;
      }
      const auto nested = path.substr(0, path.size() - 1);
      for (const auto& [name, file] : files_below(worktree_ / nested)) {
        const auto id = run_git(worktree_, {"hash-object", "-w", "--no-filters", file});
        const auto mode = ::access(file.c_str(), X_OK) == 0 ? "100755" : "100644";
        if (name.starts_with(".git/")) {
          extras_.add(mode, id, "nested/" + nested + "/dot-git/" + name.substr(5));
        } else {
          untracked.add(mode, id, nested + '/' + name);
        }
      }
    }
    return untracked.tree();
  }

  void add_operation() {
    for (const auto& [name, file] : operation_files(registration_)) {
      const auto content = read(file);
      extras_.add("100644", blob(content), "operation/" + name);
      for (const auto& line : split(content, '\n'))
        if (line.size() == 40 && !id_of(worktree_, line + "^{commit}").empty()) operation_ids_.push_back(line);
    }
  }

  fs::path worktree_, registration_;
  const point_options& options_;
  scratch_index index_{worktree_, "index"}, extras_{worktree_, "extras"};
  std::vector<std::string> operation_ids_;
  town::recovery_point point_;
};

} // namespace

git::found_recovery make_point(const fs::path& worktree, const fs::path& registration, const point_options& options) {
  return maker(worktree, registration, options).run();
}

std::string picture_of(const fs::path& worktree, const fs::path& registration) {
  std::ostringstream out;
  out << "status:\n"
      << run_git(worktree, {"--no-optional-locks", "status", "--porcelain=v2", "--branch", "--untracked-files=all"})
      << "\nindex:\n"
      << run_git(worktree, {"ls-files", "-s", "-v"}) << "\nHEAD: " << read(registration / "HEAD") << "branches:\n"
      << run_git(worktree, {"for-each-ref", "refs/heads/work"}) << "\nfiles:\n";
  for (const auto& [name, path] : files_below(worktree)) {
    if (name == ".git") continue;
    struct stat st {};
    ::lstat(path.c_str(), &st);
    const bool link = S_ISLNK(st.st_mode);
    out << name << ' '
        << (link                          ? "link"
            : (st.st_mode & S_IXUSR) != 0 ? "x"
                                          : "-")
        << ' ' << (link ? fs::read_symlink(path).native() : read(path)) << '\n';
  }
  out << "operation:\n";
  for (const auto& [name, path] : operation_files(registration))
    if (name != "COMMIT_EDITMSG") out << name << ' ' << read(path) << '\n';
  return out.str();
}

apply_rig::apply_rig(const tree_paths& paths) {
  tip_ = commit("work", paths);
  restored();
}

apply_rig::apply_rig() {
  fetch({"work"});
  auto start = job();
  start.base_tip = id_of(remote(), "refs/heads/main");
  start.base_ref = "main";
  start.ever_pushed = false;
  if (auto done = test::restore(start); !done) throw std::runtime_error{to_string(done.error())};
}

std::string apply_rig::git(const std::vector<std::string>& arguments) const {
  return run_git(worktree(), arguments);
}
command_outcome apply_rig::try_to(const std::vector<std::string>& arguments) const {
  return try_git(worktree(), arguments, {{"GIT_EDITOR", "true"}});
}
void apply_rig::put(const std::string& path, const std::string& content) const {
  write(worktree() / path, content);
}

void apply_rig::save(std::int64_t epoch, std::int64_t seq, std::map<std::string, std::string> raw) {
  if (with_our_own) return save_with_our_own(epoch, seq);
  point_options options;
  options.epoch = epoch;
  options.seq = seq;
  options.raw = std::move(raw);
  if (const auto tip = id_of(remote(), "refs/heads/work"); !tip.empty()) options.remote_commit = tip;
  point = make_point(worktree(), registration(), options);
  git({"push", "-q", "--no-verify", "origin", '+' + point.point.commit + ':' + point.point.ref});
}

void apply_rig::save_with_our_own(std::int64_t epoch, std::int64_t seq) {
  git::snapshot_job wanted;
  wanted.rig_id = "r1";
  wanted.agent_id = "a1";
  wanted.repository = repository();
  wanted.worktree = worktree();
  wanted.branch = "work";
  wanted.identity = "An Agent <a1@example.invalid>";
  wanted.agent_branches = {"work"};
  auto taken = git::take_snapshot(wanted);
  if (!taken) throw std::runtime_error{"the snapshot: " + to_string(taken.error())};
  git::push_job push;
  push.rig_id = "r1";
  push.repository = repository();
  push.url = "file://" + remote().string();
  push.urls.allow_file = true;
  push.epoch = epoch;
  push.seq = std::make_shared<std::atomic<std::int64_t>>(seq - 1);
  push.saved_at = "2026-01-01T00:00:00Z";
  push.items.push_back({*taken, "refs/townkeeper/t1/a1/" + std::to_string(epoch), "auto", true});
  auto pushed = git::push_points(push);
  if (!pushed) throw std::runtime_error{"the push: " + to_string(pushed.error())};
  const auto& answer = pushed->at(0).point;
  if (!answer) throw std::runtime_error{"the point: " + to_string(answer.error())};
  point = {answer->value(), taken->left_out};
}

void apply_rig::lose_disk() {
  fs::remove_all(rig());
  look_again();
}

void apply_rig::look_again() {
  fetch({"work"});
  run_git(repository(), {"fetch", "-q", "--no-tags", "origin", point.point.ref});
}

git::worktree_job apply_rig::wake_job() const {
  auto wanted = job();
  wanted.point = point;
  return wanted;
}

git::worktree_restored apply_rig::wake() const {
  auto done = test::restore(wake_job());
  if (!done) throw std::runtime_error{"the wake: " + to_string(done.error())};
  return std::move(*done);
}

} // namespace townkeeper::test
