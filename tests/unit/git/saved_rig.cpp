#include "saved_rig.hpp"

#include <sstream>
#include <stdexcept>

#include "git/point_meta.hpp"
#include "tests/support/command.hpp"

namespace townkeeper::test {

namespace fs = std::filesystem;

namespace {

/// git's command line with a private object store, as the real one lies beside the repository.
class plumbing {
public:
  plumbing(fs::path worktree, const fs::path& repository, const std::string& agent)
      : worktree_(std::move(worktree))
      , store_(repository / "townkeeper" / "recovery" / agent / "objects") {
    fs::create_directories(store_ / "info");
    fs::create_directories(store_ / "pack");
    write(store_ / "info" / "alternates", (repository / "objects").string() + "\n");
    environment_ = git_environment();
    environment_["GIT_OBJECT_DIRECTORY"] = store_.string();
    environment_["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = (repository / "objects").string();
  }

  std::string operator()(const std::vector<std::string>& arguments, std::string_view input = {}) const {
    command what;
    what.argv = {"git"};
    what.argv.insert(what.argv.end(), arguments.begin(), arguments.end());
    what.directory = worktree_;
    what.environment = environment_;
    what.unset_prefix = "GIT_";
    what.input = input;
    return run(what);
  }

  void use_index(const fs::path& index) { environment_["GIT_INDEX_FILE"] = index.string(); }

private:
  fs::path worktree_, store_;
  std::map<std::string, std::string> environment_;
};

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in{text};
  for (std::string line; std::getline(in, line);)
    lines.push_back(line);
  return lines;
}

} // namespace

saved_rig::saved_rig(std::vector<std::string> of, const std::string& repository_name)
    : name(repository_name)
    , agents(std::move(of)) {
  server.make_repository(name);
  std::vector<std::string> branches;
  for (const auto& agent : agents) {
    branches.push_back("gt/" + agent);
    server.commit(name,
                  {.branch = branches.back(), .files = {{"a.txt", "one\n"}, {"b.txt", "two\n"}}, .start = "main"});
  }
  const auto restored = restore(disk.job(server.url(name), branches));
  if (!restored) throw std::runtime_error{to_string(restored.error())};
  for (const auto& agent : agents)
    run_git(repository(), {"worktree", "add", "--quiet", "-b", "gt/" + agent, worktree(agent).string(),
                           "refs/remotes/origin/gt/" + agent});
}

std::string saved_rig::ref(const std::string& agent, std::int64_t epoch) const {
  return "refs/townkeeper/t1/" + agent + "/" + std::to_string(epoch);
}

std::string saved_rig::git(const std::vector<std::string>& arguments, const std::string& agent) const {
  return run_git(worktree(agent), arguments);
}

void saved_rig::put(const std::string& path, const std::string& content, const std::string& agent) const {
  write(worktree(agent) / path, content);
}

git::snapshot saved_rig::take(const std::string& agent) const {
  const auto tree = worktree(agent);
  plumbing git_in(tree, repository(), agent);
  const temp_dir scratch{"index"};
  git::snapshot s;
  s.agent_id = agent;
  s.branch = "gt/" + agent;
  s.identity = "An Agent <agent@example.invalid>";
  s.repository = repository();
  const auto head = git_in({"rev-parse", "HEAD"});
  s.head = {git_in({"rev-parse", "--symbolic-full-name", "HEAD"}), head};
  if (s.head.ref == "HEAD") s.head.ref.reset();
  if (const auto tip = id_of(tree, "refs/heads/" + s.branch); !tip.empty()) s.branch_commit = tip;
  s.uncommitted = !git_in({"status", "--porcelain"}).empty();
  const auto index_tree = git_in({"write-tree"});
  const auto index_file = git_in({"rev-parse", "--git-path", "index"});
  const auto others = lines_of(git_in({"ls-files", "--others", "--exclude-standard"}));
  fs::copy_file(fs::path(index_file).is_absolute() ? fs::path(index_file) : tree / index_file, scratch.path() / "all");
  git_in.use_index(scratch.path() / "all");
  git_in({"add", "--update"});
  const auto work_tree = git_in({"write-tree"});
  git_in.use_index(scratch.path() / "untracked");
  git_in({"read-tree", "--empty"});
  for (const auto& path : others)
    git_in({"update-index", "--add", path});
  const auto untracked_tree = git_in({"write-tree"});
  const auto index_commit = git_in({"commit-tree", index_tree, "-p", head, "-m", "index on " + s.branch});
  const auto untracked = git_in({"commit-tree", untracked_tree, "-m", "untracked files on " + s.branch});
  s.stash_commit =
      git_in({"commit-tree", work_tree, "-p", head, "-p", index_commit, "-p", untracked, "-m", "WIP on " + s.branch});

  git::point_refs refs;
  for (const auto& line :
       lines_of(git_in({"for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", "refs/tags"}))) {
    const auto space = line.find(' ');
    const auto ref_name = line.substr(0, space);
    if (ref_name.starts_with("refs/heads/gt/")) continue;
    refs.refs[ref_name] = line.substr(space + 1);
  }
  if (!id_of(tree, "refs/stash").empty()) refs.stash = lines_of(git_in({"reflog", "--format=%H", "refs/stash"}));
  s.rig_refs = refs.refs;
  s.stash = refs.stash;
  const auto document = git_in({"hash-object", "-w", "--stdin"}, git::encode_refs(refs));
  git_in.use_index(scratch.path() / "extras");
  git_in({"read-tree", "--empty"});
  git_in({"update-index", "--add", "--cacheinfo", "100644," + document + ",refs.json"});
  for (const auto& [entry, id] :
       {std::pair{"worktree/", work_tree}, {"index/", index_tree}, {"untracked/", untracked_tree}})
    git_in({"read-tree", std::string{"--prefix="} + entry, id});
  s.extras_tree = git_in({"write-tree"});
  return s;
}

git::push_job saved_rig::push_job(const std::vector<std::string>& of, std::int64_t epoch) const {
  const auto base = disk.job(server.url(name));
  git::push_job job;
  job.rig_id = base.rig_id;
  job.repository = repository();
  job.url = base.url;
  job.epoch = epoch;
  job.seq = seq;
  job.saved_at = "2026-11-25T00:00:00Z";
  job.limits = base.limits;
  for (const auto& agent : of)
    job.items.push_back({take(agent), ref(agent, epoch), "auto", false});
  return job;
}

town::recovery_point saved_rig::save(const std::string& agent, std::int64_t epoch) const {
  const auto pushed = git::push_points(push_job({agent}, epoch));
  if (!pushed) throw std::runtime_error{to_string(pushed.error())};
  const auto& point = pushed->front().point;
  if (!point) throw std::runtime_error{to_string(point.error())};
  if (!*point) throw std::runtime_error{"no point was made"};
  return **point;
}

git::delete_job saved_rig::delete_job(const std::map<std::string, std::string>& refs) const {
  git::delete_job job;
  job.rig_id = "r1";
  job.repository = repository();
  job.url = server.url(name);
  job.refs = refs;
  job.limits = disk.job(job.url).limits;
  return job;
}

git::repository_job saved_rig::wake_job(const std::map<std::string, town::recovery_point>& recorded) const {
  std::vector<std::string> branches;
  for (const auto& agent : agents)
    branches.push_back("gt/" + agent);
  auto job = disk.job(server.url(name), branches);
  job.agent_branches = {branches.begin(), branches.end()};
  for (const auto& agent : agents) {
    git::wanted_point wanted{agent, "refs/townkeeper/t1/" + agent + "/", {}};
    if (const auto known = recorded.find(agent); known != recorded.end()) wanted.recorded = known->second;
    job.points.push_back(std::move(wanted));
  }
  return job;
}

void saved_rig::lose_disk() const {
  fs::remove_all(disk.rig());
}

void install_hook(const fs::path& repository, const std::string& name, const std::string& script) {
  const auto file = repository / "hooks" / name;
  write(file, "#!/bin/sh\n" + script + "\n");
  fs::permissions(file, fs::perms::owner_all);
}

fs::path clone_of_ref(const fs::path& into, const fs::path& from, const std::string& ref) {
  fs::create_directories(into);
  run_git(into, {"init", "--quiet"});
  run_git(into, {"fetch", "--quiet", "--no-tags", from.string(), ref + ":refs/points/one"});
  return into;
}

} // namespace townkeeper::test
