// What an agent may leave in its repository, its worktree and its home: configuration, attributes and hooks that run
// commands, and a .git file that points elsewhere.
#include "security_scenario.hpp"
#include "tests/support/control_stub.hpp"
#include "tests/support/secret_search.hpp"

using namespace townkeeper;
using namespace townkeeper::integration;
namespace fs = std::filesystem;

namespace {

/// Programs that write down that they were run, and configuration that names them wherever git runs a program.
class traps {
public:
  explicit traps(std::string proxy)
      : proxy_{std::move(proxy)} {
    write(program(), "#!/bin/sh\necho \"$0 $*\" >>'" + (dir_.path() / "sprung").string() + "'\n");
    fs::permissions(program(), fs::perms::owner_all);
    write(included(), "[core]\n\tfsmonitor = " + program().string() + "\n");
    hooks_into(dir_.path() / "hooks");
  }

  /// What has been run; empty: nothing.
  std::string sprung() const { return test::bytes_of(dir_.path() / "sprung"); }

  /// `server`: the base URL of the git server, to be sent elsewhere.
  void configure(const fs::path& file, const std::string& server) const {
    const auto trap = program().string();
    std::ofstream out{file, std::ios::app};
    out << "[core]\n\tfsmonitor = " << trap << " fsmonitor\n\thooksPath = " << (dir_.path() / "hooks").string()
        << "\n\tsshCommand = " << trap << " ssh\n\tpager = " << trap << " pager\n\teditor = " << trap
        << " editor\n\tgitProxy = " << trap << " proxy\n\taskPass = " << trap << "\n\talternateRefsCommand = " << trap
        << "\n\tattributesFile = " << (dir_.path() / "attributes").string() << "\n[diff]\n\texternal = " << trap
        << " diff\n[diff \"evil\"]\n\ttextconv = " << trap << "\n\tcommand = " << trap
        << "\n[merge \"evil\"]\n\tdriver = " << trap << "\n[filter \"evil\"]\n\tclean = " << trap
        << " clean\n\tsmudge = " << trap << " smudge\n[filter \"worse\"]\n\tprocess = " << trap
        << " process\n\trequired = true\n[credential]\n\thelper = !" << trap << " credential\n[alias]\n\tstatus = !"
        << trap << "\n[gpg]\n\tprogram = " << trap
        << "\n[commit]\n\tgpgSign = true\n[tag]\n\tgpgSign = true\n[uploadpack]\n\tpackObjectsHook = " << trap
        << "\n[submodule \"sub\"]\n\tupdate = !" << trap << "\n[http]\n\tproxy = " << proxy_
        << "\n\textraHeader = X-Evil: 1\n[remote \"origin\"]\n\tproxy = " << proxy_ << "\n\tpushurl = ext::" << trap
        << " pushurl\n\treceivepack = " << trap << "\n\tuploadpack = " << trap << "\n[url \"ext::" << trap
        << " %S \"]\n\tinsteadOf = " << server << "\n[url \"" << proxy_ << "/\"]\n\tinsteadOf = " << server
        << "\n\tpushInsteadOf = " << server << "\n[include]\n\tpath = " << included().string()
        << "\n[includeIf \"gitdir:/\"]\n\tpath = " << included().string() << "\n";
  }

  /// Every hook git knows of.
  void hooks_into(const fs::path& directory) const {
    for (const auto* name : {"applypatch-msg",     "commit-msg",
                             "fsmonitor-watchman", "post-applypatch",
                             "post-checkout",      "post-commit",
                             "post-index-change",  "post-merge",
                             "post-receive",       "post-rewrite",
                             "post-update",        "pre-applypatch",
                             "pre-auto-gc",        "pre-commit",
                             "pre-merge-commit",   "pre-push",
                             "pre-rebase",         "pre-receive",
                             "prepare-commit-msg", "proc-receive",
                             "push-to-checkout",   "reference-transaction",
                             "sendemail-validate", "update"}) {
      fs::create_directories(directory);
      fs::remove(directory / name);
      fs::copy_file(program(), directory / name);
    }
  }

  fs::path program() const { return dir_.path() / "trap"; }

private:
  fs::path included() const { return dir_.path() / "included"; }

  std::string proxy_;
  test::temp_dir dir_{"traps"};
};

} // namespace

TEST_CASE("configuration, attributes and hooks that would run a command or send the login elsewhere: none is run, and "
          "nothing goes elsewhere, in a save, a drain, a restart and a wake") {
  test::remote server;
  server.make_repository("api");
  server.commit("api", {"work",
                        {{"a", "1\n"},
                         {"dir/b", "1\n"},
                         {".gitattributes", "* filter=evil diff=evil merge=evil\n*.w filter=worse\n"},
                         {"c.w", "1\n"},
                         {".gitmodules", "[submodule \"sub\"]\n\tpath = sub\n\turl = ext::sh\n\tupdate = !sh\n"}},
                        {},
                        "begin",
                        "main"});
  server.demand_token("api", "x-access-token", "git-token-of-api-1a2b");
  test::town town;
  const test::town_admin admin{town, town_id};
  admin.put_rig("api", server.url("api"));
  admin.put_git_token("api", "git-token-of-api-1a2b");
  admin.put_agent("api", "ada", "work", R"(,"headCommit":")" + server.tip("api", "work") + "\"");
  test::control_stub elsewhere;
  elsewhere.answer_with(test::stub_answer{.status = 404});
  const traps set{elsewhere.url()};
  const test::temp_dir home{"home"}, outside{"outside"};
  write(outside.path() / "a", "content-of-outside-5c6d\n");
  const auto base = "http://127.0.0.1:" + std::to_string(server.port()) + "/";
  set.configure(home.path() / ".gitconfig", base);
  fs::create_directories(home.path() / "git");
  set.configure(home.path() / "git" / "config", base);

  auto options = guarded(town, configuration({}, {}, {}, fast_saves));
  options.environment["HOME"] = home.path().string();
  options.environment["XDG_CONFIG_HOME"] = home.path().string();
  for (const auto* name : {"GIT_SSH_COMMAND", "GIT_EXTERNAL_DIFF", "GIT_EDITOR", "GIT_ASKPASS", "SSH_ASKPASS"})
    options.environment[name] = set.program().string();
  options.environment["http_proxy"] = options.environment["ALL_PROXY"] = elsewhere.url();
  test::container box{options};
  wake(box);

  const auto worktree = box.worktree("api", "ada");
  const auto repository = box.workspace() / "rigs" / "api" / "repo.git";
  const auto registration = repository / "worktrees" / "ada";
  set.configure(repository / "config", base);
  set.hooks_into(repository / "hooks");
  set.hooks_into(registration / "hooks");
  write(repository / "info" / "attributes", "* filter=evil diff=evil\n");
  // The worktree's own configuration says that its files are elsewhere.
  write(registration / "config.worktree", "[core]\n\tworktree = " + outside.path().string() + "\n");
  // A repository inside, with traps of its own.
  test::run_git(worktree, {"-c", "core.hooksPath=/dev/null", "init", "-q", "--template=", "inner"});
  set.configure(worktree / "inner" / ".git" / "config", base);
  set.hooks_into(worktree / "inner" / ".git" / "hooks");
  write(worktree / "inner" / "file", "inner\n");
  REQUIRE(set.sprung() == "");

  const auto saved = [&](int epoch, const std::string& path) {
    return test::try_git(server.repository_path("api"), {"cat-file", "blob", ref_of("ada", epoch) + ":" + path}).out;
  };
  write(worktree / "a", "edited\n");
  write(worktree / "c.w", "edited\n");
  write(worktree / "new", "untracked\n");
  save(box);
  CHECK(saved(1, "worktree/a") == "edited\n");
  CHECK(saved(1, "worktree/c.w") == "edited\n");
  CHECK(saved(1, "untracked/new") == "untracked\n");
  write(worktree / "a", "edited again\n");
  sleep(box);
  CHECK(saved(1, "worktree/a") == "edited again\n");
  CHECK(set.sprung() == "");

  wake(box); // on the warm disk
  CHECK(test::bytes_of(worktree / "a") == "edited again\n");
  write(worktree / "dir" / "b", "edited\n");
  save(box);
  sleep(box);
  CHECK(set.sprung() == "");
  CHECK(elsewhere.requests().empty());

  // They are set: git itself walks into one at the first look.
  CHECK(fs::remove(registration / "config.worktree"));
  test::try_git(worktree, {"status"});
  CHECK(set.sprung() != "");
  const auto by_git = set.sprung();

  box.wipe_disk();
  wake(box); // with what the point and the home directory have of them
  CHECK(text(agent_in(box.health(), "ada"), "outcome") == "recovered");
  CHECK(test::bytes_of(worktree / "a") == "edited again\n");
  CHECK(test::bytes_of(worktree / "dir" / "b") == "edited\n");
  CHECK(test::bytes_of(worktree / "new") == "untracked\n");
  sleep(box);
  CHECK(set.sprung() == by_git);
  CHECK(elsewhere.requests().empty());
  test::secret_search words;
  words.add("what lies outside", "content-of-outside-5c6d");
  std::size_t objects = 0;
  CHECK(words.in_objects(server.repository_path("api"), objects) == std::vector<std::string>{});
  CHECK(test::bytes_of(outside.path() / "a") == "content-of-outside-5c6d\n");
}

TEST_CASE("a .git file that points to a repository of somebody else: nothing of it is read into a point, nothing is "
          "written to it, in a save, a drain and a restart") {
  one_agent_town here;
  const test::temp_dir outside{"outside"};
  const auto decoy = outside.path() / "decoy";
  fs::create_directories(decoy);
  test::run_git(decoy, {"init", "-q", "--template="});
  write(decoy / "README", "content-of-decoy-7a8b\n");
  test::run_git(decoy, {"add", "."});
  test::run_git(decoy, {"commit", "-q", "-m", "of somebody else"});
  const auto listing = [&] {
    std::map<std::string, std::string> all;
    for (const auto& entry : fs::recursive_directory_iterator{decoy})
      all[entry.path().string()] = entry.is_regular_file() ? test::bytes_of(entry.path()) : "";
    return all;
  };
  const auto before = listing();

  test::container box{guarded(here.town, configuration({}, {}, {}, fast_saves))};
  wake(box);
  const auto worktree = box.worktree("api", "ada");
  write(worktree / ".git", "gitdir: " + (decoy / ".git").string() + "\n");
  write(worktree / "README", "an edit\n");
  const auto answer = box.post("/snapshot", "{}", control_token);
  box.terminate();
  const auto code = box.wait_for_exit();
  INFO(box.log());
  // Saved by its own registration, or said not to be; nothing in between.
  const auto saved =
      test::try_git(here.server.repository_path("api"), {"cat-file", "blob", ref_of("ada") + ":worktree/README"});
  if (answer.status == 200) CHECK(saved.out == "an edit\n");
  CHECK((code == 0 ? saved.out == "an edit\n" : code == 75));
  CHECK(listing() == before);

  box.start();
  REQUIRE(box.wait_for_phase("ready"));
  CHECK(test::run_git(worktree, {"rev-parse", "--path-format=absolute", "--git-common-dir"}) !=
        (decoy / ".git").string());
  CHECK(test::bytes_of(worktree / "README") == "an edit\n");
  sleep(box);
  CHECK(listing() == before);
  test::secret_search words;
  words.add("what the decoy holds", "content-of-decoy-7a8b");
  std::size_t objects = 0;
  CHECK(words.in_objects(here.server.repository_path("api"), objects) == std::vector<std::string>{});
}
