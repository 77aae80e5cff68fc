#include "git_cli.hpp"

#include <sstream>

namespace townkeeper::test {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view author = "A Tester <tester@example.invalid>";
constexpr std::string_view date = "1700000000 +0000";

/// A path in fast-import's quoting (git-fast-import(1), "filemodify").
std::string quoted_path(std::string_view path) {
  std::string out = "\"";
  for (const char c : path) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n')
      out += "\\n";
    else
      out += c;
  }
  return out + '"';
}

std::string data_block(std::string_view content) {
  return "data " + std::to_string(content.size()) + '\n' + std::string{content} + '\n';
}

command git_command(const fs::path& directory, const std::vector<std::string>& arguments) {
  command what;
  what.argv = {"git"};
  what.argv.insert(what.argv.end(), arguments.begin(), arguments.end());
  what.directory = directory;
  what.environment = git_environment();
  what.unset_prefix = "GIT_";
  return what;
}

} // namespace

std::map<std::string, std::string> git_environment() {
  return {{"HOME", "/nonexistent"},
          {"XDG_CONFIG_HOME", "/nonexistent"},
          {"GIT_CONFIG_NOSYSTEM", "1"},
          {"GIT_CONFIG_GLOBAL", "/dev/null"},
          {"GIT_TERMINAL_PROMPT", "0"},
          {"GIT_ASKPASS", "true"},
          {"GIT_AUTHOR_NAME", "A Tester"},
          {"GIT_AUTHOR_EMAIL", "tester@example.invalid"},
          {"GIT_AUTHOR_DATE", std::string{date}},
          {"GIT_COMMITTER_NAME", "A Tester"},
          {"GIT_COMMITTER_EMAIL", "tester@example.invalid"},
          {"GIT_COMMITTER_DATE", std::string{date}},
          {"GIT_CONFIG_COUNT", "3"},
          {"GIT_CONFIG_KEY_0", "init.defaultBranch"},
          {"GIT_CONFIG_VALUE_0", "main"},
          {"GIT_CONFIG_KEY_1", "protocol.file.allow"},
          {"GIT_CONFIG_VALUE_1", "always"},
          {"GIT_CONFIG_KEY_2", "advice.detachedHead"},
          {"GIT_CONFIG_VALUE_2", "false"},
          {"LC_ALL", "C"}};
}

std::string run_git(const fs::path& directory, const std::vector<std::string>& arguments, std::string_view input) {
  auto what = git_command(directory, arguments);
  what.input = input;
  return run(what);
}

command_outcome try_git(const fs::path& directory, const std::vector<std::string>& arguments,
                        const std::map<std::string, std::string>& more_environment) {
  auto what = git_command(directory, arguments);
  for (const auto& [name, value] : more_environment)
    what.environment[name] = value;
  return try_run(what);
}

std::string commit_into(const fs::path& repository, const new_commit& commit) {
  const std::string ref = "refs/heads/" + commit.branch;
  std::string parent = id_of(repository, ref);
  if (parent.empty()) parent = id_of(repository, commit.start);
  std::string stream = "feature done\ncommit " + ref + "\nmark :1\ncommitter " + std::string{author} + " " +
                       std::string{date} + '\n' + data_block(commit.message);
  if (!parent.empty()) stream += "from " + parent + '\n';
  for (const auto& path : commit.removed)
    stream += "D " + quoted_path(path) + '\n';
  for (const auto& [path, content] : commit.files)
    stream += "M 100644 inline " + quoted_path(path) + '\n' + data_block(content);
  return run_git(repository, {"fast-import", "--quiet"}, stream + "\nget-mark :1\ndone\n");
}

std::map<std::string, std::string> refs_of(const fs::path& repository) {
  std::istringstream lines{run_git(repository, {"for-each-ref", "--format=%(refname) %(objectname)"})};
  std::map<std::string, std::string> refs;
  for (std::string name, id; lines >> name >> id;)
    refs.emplace(name, id);
  return refs;
}

std::string id_of(const fs::path& repository, const std::string& revision) {
  if (revision.empty()) return {};
  auto found = try_git(repository, {"rev-parse", "--verify", "--quiet", "--end-of-options", revision});
  if (found.status != 0) return {};
  while (!found.out.empty() && found.out.back() == '\n')
    found.out.pop_back();
  return found.out;
}

} // namespace townkeeper::test
