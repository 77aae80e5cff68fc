#include "worktree_rig.hpp"

#include <algorithm>
#include <cstdlib>
#include <sstream>
#include <stdexcept>

namespace townkeeper::test {

namespace fs = std::filesystem;

namespace {

/// libgit2 reads the configuration of the user who runs the tests, unless it finds none.
bool leave_home() {
  ::setenv("HOME", "/nonexistent", 1);
  ::setenv("XDG_CONFIG_HOME", "/nonexistent", 1);
  return true;
}
const bool has_left_home = leave_home();

std::string quoted(const std::string& path) {
  std::ostringstream out;
  out << '"';
  for (const char c : path) {
    const auto u = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out << '\\' << c;
    } else if (u < 0x20 || u >= 0x7F) {
      out << '\\' << static_cast<char>('0' + (u >> 6)) << static_cast<char>('0' + ((u >> 3) & 7))
          << static_cast<char>('0' + (u & 7));
    } else {
      out << c;
    }
  }
  out << '"';
  return out.str();
}

std::string data(const std::string& content) {
  return "data " + std::to_string(content.size()) + '\n' + content + '\n';
}

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

} // namespace

worktree_rig::worktree_rig()
    : remote_(disk_.workspace() / "remote.git") {
  run_git(disk_.workspace(), {"init", "-q", "--bare", "--template=", remote_});
  commit("main", {{"README", tree_path::file("the default branch\n")}});
  fetch({});
}

std::string worktree_rig::commit(const std::string& branch, const tree_paths& paths, const std::string& message) {
  const auto ref = "refs/heads/" + branch;
  std::string stream =
      "feature done\ncommit " + ref + "\nmark :1\ncommitter T <t@example.invalid> 1700000000 +0000\n" + data(message);
  // No process is started to ask: nothing packs the remote's refs.
  if (fs::exists(remote_ / ref)) {
    stream += "from " + ref + "^0\n";
  } else if (fs::exists(remote_ / "refs/heads/main")) {
    stream += "from refs/heads/main^0\n";
  }
  stream += "deleteall\n";
  for (const auto& [path, what] : paths) {
    if (what.mode == "160000") {
      stream += "M 160000 " + what.content + ' ' + quoted(path) + '\n';
    } else {
      stream += "M " + what.mode + " inline " + quoted(path) + '\n' + data(what.content);
    }
  }
  return run_git(remote_, {"fast-import", "--quiet", "--force"}, stream + "\nget-mark :1\ndone\n");
}

void worktree_rig::fetch(std::vector<std::string> branches) {
  auto wanted = disk_.job("file://" + remote_.string(), std::move(branches));
  wanted.urls.allow_file = true;
  auto done = test::restore(wanted);
  if (!done) throw std::runtime_error{"the repository: " + to_string(done.error())};
  repository_ = std::move(*done);
}

git::worktree_job worktree_rig::job(const std::string& branch, const std::string& agent) const {
  git::worktree_job job;
  job.rig_id = "r1";
  job.agent_id = agent;
  job.repository = repository_.repository;
  job.worktree = worktree(agent);
  job.branch = branch;
  if (const auto tip = repository_.tips.find(branch); tip != repository_.tips.end()) job.remote_tip = tip->second;
  job.ever_pushed = true;
  return job;
}

result<git::worktree_restored> worktree_rig::restore(const std::string& branch, const std::string& agent) {
  fetch({branch});
  return test::restore(job(branch, agent));
}

git::worktree_restored worktree_rig::restored(const std::string& branch, const std::string& agent) {
  auto done = restore(branch, agent);
  if (!done) throw std::runtime_error{"the worktree: " + to_string(done.error())};
  return std::move(*done);
}

std::string raw_tree(const fs::path& repository, const std::vector<raw_tree_entry>& entries) {
  std::string bytes;
  for (const auto& e : entries)
    bytes += e.mode + ' ' + e.name + '\0' + from_hex(e.id);
  return run_git(repository, {"hash-object", "-t", "tree", "--literally", "-w", "--stdin"}, bytes);
}

std::string commit_of_tree(const fs::path& repository, const std::string& tree) {
  return run_git(repository, {"commit-tree", tree, "-p", "refs/heads/main", "-m", "a tree"});
}

result<git::worktree_restored> restore(const git::worktree_job& job) {
  return git::restore_worktree(job, {});
}

std::string in(const fs::path& worktree, std::vector<std::string> arguments) {
  return run_git(worktree, arguments);
}

std::string status_of(const fs::path& worktree) {
  return run_git(worktree, {"--no-optional-locks", "status", "--porcelain"});
}

std::string flaws_of(const worktree_rig& rig, const std::string& commit, const std::string& branch,
                     const std::string& agent) {
  const auto tree = rig.worktree(agent);
  std::string flaws;
  const auto expect = [&](bool holds, const std::string& what) {
    if (!holds) flaws += what + "; ";
  };
  const auto status = run_git(tree, {"--no-optional-locks", "status", "--porcelain=v2", "--branch"});
  expect((status + '\n').starts_with("# branch.oid " + commit + "\n# branch.head " + branch + '\n'), "HEAD");
  expect(status.find("\n1 ") == std::string::npos && status.find("\n2 ") == std::string::npos &&
             status.find("\nu ") == std::string::npos && status.find("\n? ") == std::string::npos,
         "status: " + status);
  expect(try_git(tree, {"--no-optional-locks", "diff", "--quiet", "HEAD"}).status == 0, "diff");
  // In the words of ls-files: mode, id, stage 0, path.
  const auto format = "--format=%(objectmode) %(objectname) 0\t%(path)";
  expect(run_git(tree, {"ls-files", "-s"}) == run_git(tree, {"ls-tree", "-r", format, commit}), "index against tree");
  const auto fsck = try_git(tree, {"fsck", "--no-dangling"});
  expect(fsck.status == 0, "fsck: " + fsck.err + fsck.out);
  const auto list = run_git(rig.repository(), {"worktree", "list", "--porcelain"});
  const auto at = list.find("worktree " + fs::canonical(tree).string() + "\nHEAD " + commit + "\nbranch refs/heads/" +
                            branch + "\nlocked ");
  expect(at != std::string::npos, "registration: " + list);
  return flaws;
}

bool mentions(const std::vector<std::string>& lines, const std::string& text) {
  return std::any_of(lines.begin(), lines.end(), [&](const auto& l) { return l.find(text) != std::string::npos; });
}

} // namespace townkeeper::test
