// What a remote, a point on it, or a town may say that no honest one says.
#include <catch2/generators/catch_generators_adapters.hpp>
#include <catch2/generators/catch_generators_range.hpp>

#include <algorithm>
#include <functional>
#include <sstream>

#include "security_scenario.hpp"
#include "tests/support/http_fault_proxy.hpp"

using namespace townkeeper;
using namespace townkeeper::integration;
namespace fs = std::filesystem;

namespace {

struct tree_entry {
  std::string mode, name, id;
};

/// As it is given, however wrong.
std::string raw_tree(const fs::path& repository, const std::vector<tree_entry>& entries) {
  std::string bytes;
  for (const auto& e : entries) {
    bytes += e.mode + ' ' + e.name + '\0';
    for (std::size_t i = 0; i < e.id.size(); i += 2)
      bytes += static_cast<char>(std::stoi(e.id.substr(i, 2), nullptr, 16));
  }
  return test::run_git(repository, {"hash-object", "-t", "tree", "--literally", "-w", "--stdin"}, bytes);
}

std::string blob(const fs::path& repository, const std::string& content) {
  return test::run_git(repository, {"hash-object", "-w", "--stdin"}, content);
}

/// Paths of this name outside of what is given, links not followed.
std::vector<std::string> escaped(const fs::path& root, const std::string& name,
                                 const std::vector<fs::path>& inside = {}) {
  std::vector<std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator{root}) {
    if (entry.path().filename() != name) continue;
    const auto is_below = [&](const fs::path& directory) {
      return entry.path().string().starts_with(directory.string() + "/");
    };
    if (std::none_of(inside.begin(), inside.end(), is_below)) found.push_back(entry.path().string());
  }
  return found;
}

} // namespace

TEST_CASE("trees no honest git writes, on a real remote: each agent's refusal names the path, nothing of them is "
          "written, and the agent beside them works") {
  test::remote server;
  server.make_repository("api");
  test::town town;
  const test::town_admin admin{town, town_id};
  admin.put_rig("api", server.url("api"));
  const auto repository = server.repository_path("api");
  const test::temp_dir outside{"outside"};
  const auto file = blob(repository, "escaped\n"), link = blob(repository, outside.path().string());
  const auto inner = raw_tree(repository, {{"100644", "escaped", file}});
  const auto below = [&](const std::string& name) { return raw_tree(repository, {{"40000", name, inner}}); };
  const struct {
    std::string tree, named;
  } hostile[]{
      {below(".git"), ".git"},
      {below(".GIT"), ".GIT"},
      {below("git~1"), "git~1"},
      {below(".git "), ".git"},
      {below(".g\xe2\x80\x8cit"), ".g"},
      {below(".."), ".."},
      {below("../../escaped"), ".."},
      {below("/tmp"), "/tmp"},
      {raw_tree(repository, {{"40000", "deep", below(".git")}}), "deep/.git"},
      {raw_tree(repository, {{"120000", "link", link}, {"40000", "link", inner}}), "alike"},
      {raw_tree(repository, {{"120000", ".gitmodules", link}}), ".gitmodules"},
  };
  const auto add = [&](const std::string& agent, const std::string& tree) {
    const auto tip = test::run_git(repository, {"commit-tree", tree, "-p", "main", "-m", "a tree"});
    test::run_git(repository, {"update-ref", "refs/heads/of-" + agent, tip});
    admin.put_agent("api", agent, "of-" + agent, R"(,"headCommit":")" + tip + "\"");
    return tip;
  };
  for (std::size_t i = 0; i < std::size(hostile); ++i)
    add("hostile-" + std::to_string(i), hostile[i].tree);
  // What only looks dangerous is written: options, and a link to anywhere, as git does.
  const auto tip =
      add("good", raw_tree(repository,
                           {{"100644", "--upload-pack=x", file}, {"100644", "-rf", file}, {"120000", "link", link}}));
  for (const auto* name :
       {"refs/heads/-x", "refs/heads/--upload-pack=touch", "refs/tags/--exec=x", "refs/townkeeper/riverside/good/-1",
        "refs/townkeeper/riverside/good/kept/--x", "refs/townkeeper/riverside/good/99999999999999999999"})
    test::run_git(repository, {"update-ref", name, tip});

  test::container box{guarded(town, configuration())};
  box.start();
  INFO(box.log());
  REQUIRE(box.wait_for_phase("degraded"));
  const auto health = box.health();
  for (std::size_t i = 0; i < std::size(hostile); ++i) {
    const auto agent = "hostile-" + std::to_string(i);
    const auto error = text(agent_in(health, agent), "error");
    CAPTURE(agent, hostile[i].named, error);
    CHECK(text(agent_in(health, agent), "outcome") == "failed");
    CHECK(error.find(hostile[i].named) != std::string::npos);
    CHECK_FALSE(fs::exists(box.worktree("api", agent)));
  }
  CHECK(text(agent_in(health, "good"), "outcome") == "restored");
  check_restored(box.worktree("api", "good"), "of-good", tip);
  CHECK(escaped(box.directory(), "escaped") == std::vector<std::string>{});
  CHECK(fs::is_empty(outside.path()));
  sleep(box);
}

TEST_CASE(
    "URLs, branches and ids no honest town says: set aside or failed by name, nothing is run or connected to, and "
    "the rig beside them is ready") {
  one_agent_town here;
  test::http_fault_proxy wire{here.town.port()};
  const test::temp_dir outside{"outside"};
  const auto touch = "touch " + (outside.path() / "escaped").string();
  // A rig for each; the proxy puts what is hostile in the place of something the town takes.
  const std::vector<std::string> urls{"ext::sh -c '" + touch + "'",
                                      "file://" + here.server.repository_path("api").string(),
                                      here.server.repository_path("api").string(),
                                      "http://169.254.169.254/latest.git",
                                      "http://2852039166/latest.git",
                                      "http://[::ffff:169.254.169.254]/latest.git",
                                      "ssh://-oProxyCommand=" + touch + "/x",
                                      "--upload-pack=" + touch,
                                      "-u",
                                      "http://127.0.0.1:1/../../x\\ny",
                                      "git://127.0.0.1/x"};
  std::vector<std::pair<std::string, std::string>> replaced;
  for (std::size_t i = 0; i < urls.size(); ++i) {
    const auto rig = "url-" + std::to_string(i), harmless = "https://harmless-" + std::to_string(i) + ".invalid/x.git";
    here.admin.put_rig(rig, harmless);
    here.admin.put_agent(rig, "agent-" + rig, "main");
    replaced.emplace_back(harmless, urls[i]);
  }
  const std::vector<std::string> branches{"--upload-pack=x", "-x", "../x", "a/../b", "x.lock", "/x", "a b", "@{-1}"};
  for (std::size_t i = 0; i < branches.size(); ++i) {
    here.admin.put_agent("api", "branch-" + std::to_string(i), "harmless-branch-" + std::to_string(i) + "-end");
    replaced.emplace_back("harmless-branch-" + std::to_string(i) + "-end", branches[i]);
  }
  here.admin.put_agent("api", "id-dot-dot", "of-no-id");
  replaced.emplace_back("\"id-dot-dot\"", "\"../../escaped\"");
  here.admin.put_rig("rig-dot-dot", here.server.url("api"));
  replaced.emplace_back("\"rig-dot-dot\"", "\"../escaped\"");
  const auto rewrite = [replaced](const std::string& body) {
    auto text = body;
    for (const auto& [from, to] : replaced)
      for (auto at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
        text.replace(at, from.size(), to);
    return text;
  };
  wire.set({{.path = "*/container-boot", .rewrite = rewrite}, {.path = "*/desired-state", .rewrite = rewrite}});
  auto options = guarded(here.town, configuration());
  options.api_url = wire.base_url();
  test::container box{options};
  box.start();
  INFO(box.log());
  REQUIRE(wait_until_settled(box));
  const auto health = box.health();
  CHECK(text(agent_in(health, "ada"), "outcome") == "restored");
  std::string aside;
  REQUIRE(health["recovery"].HasMember("setAside"));
  for (const auto& entry : health["recovery"]["setAside"].GetArray())
    aside += text(&entry, "rigId") + "/" + text(&entry, "agentId") + ": " + text(&entry, "reason") + "\n";
  INFO(aside);
  const auto is_refused = [&](const std::string& rig, const std::string& agent) {
    const auto* found = agent_in(health, agent);
    return aside.find(rig) != std::string::npos || aside.find(agent) != std::string::npos ||
           (text(found, "outcome") == "failed" && !text(found, "error").empty());
  };
  for (std::size_t i = 0; i < urls.size(); ++i) {
    const auto rig = "url-" + std::to_string(i);
    CAPTURE(rig, urls[i]);
    CHECK(is_refused(rig, "agent-" + rig));
    CHECK_FALSE(fs::exists(box.worktree(rig, "agent-" + rig)));
  }
  for (std::size_t i = 0; i < branches.size(); ++i) {
    CAPTURE(branches[i]);
    const auto agent = "branch-" + std::to_string(i);
    CHECK(aside.find(agent) != std::string::npos);
    CHECK_FALSE(fs::exists(box.worktree("api", agent)));
  }
  // Where the id itself is hostile the entry is named by its place, and the id not repeated.
  CHECK(aside.find("api/: rigs[0].agents[") != std::string::npos);
  CHECK(aside.find("\n/: rigs[") != std::string::npos);
  CHECK(aside.find("escaped") == std::string::npos);
  CHECK(escaped(box.directory(), "escaped") == std::vector<std::string>{});
  CHECK(fs::is_empty(outside.path()));
  sleep(box);
}

namespace {

/// One agent with a point on the remote, drained and wiped, whose point is then made again with other contents.
class forged_point : public one_agent_town {
public:
  test::temp_dir outside{"outside"};
  test::container box;
  fs::path repository = server.repository_path("api");

  forged_point()
      : box{guarded(town, configuration({}, {}, {}, fast_saves))} {
    server.commit("api", {"main", {{"dir/b", "1\n"}, {"a", "1\n"}}});
    wake(box);
    write(box.worktree("api", "ada") / "a", "edited\n");
    write(box.worktree("api", "ada") / "new", "untracked\n");
    sleep(box);
    box.wipe_disk();
    point_ = test::id_of(repository, ref_of("ada"));
    REQUIRE_FALSE(point_.empty());
    for (const auto& e : entries_of(point_))
      root_.insert_or_assign(e.name, e);
  }

  std::vector<tree_entry> entries_of(const std::string& tree) const {
    std::vector<tree_entry> out;
    std::istringstream lines{test::run_git(repository, {"ls-tree", tree})};
    for (std::string line; std::getline(lines, line);) {
      const auto tab = line.find('\t');
      std::istringstream fields{line.substr(0, tab)};
      std::string mode, kind, id;
      fields >> mode >> kind >> id;
      out.push_back({mode == "040000" ? "40000" : mode, line.substr(tab + 1), id});
    }
    return out;
  }

  std::string git(const std::vector<std::string>& arguments, const std::string& input = {}) const {
    return test::run_git(repository, arguments, input);
  }
  std::string file(const std::string& content) const { return blob(repository, content); }

  /// An entry of R's own tree; `names`: the way down to `what`.
  void put(const std::string& mode, const std::vector<std::string>& names, const std::string& what) {
    auto id = what, kind = mode;
    for (auto name = names.rbegin(); std::next(name) != names.rend(); ++name) {
      id = raw_tree(repository, {{kind, *name, id}});
      kind = "40000";
    }
    root_.insert_or_assign(names.front(), tree_entry{kind, names.front(), id});
  }
  /// W and its untracked files become these trees.
  void set_worktree(const std::string& tree) { worktree_ = tree; }
  void set_untracked(const std::string& tree) { untracked_ = tree; }
  void replace_in(const std::string& document, const std::string& from, const std::string& to) {
    auto content = git({"cat-file", "blob", root_.at(document).id});
    const auto at = content.find(from);
    INFO(content);
    REQUIRE(at != std::string::npos);
    put("100644", {document}, file(content.replace(at, from.size(), to)));
  }
  std::string document(const std::string& name) const { return git({"cat-file", "blob", root_.at(name).id}); }
  void set_document(const std::string& name, const std::string& content) { put("100644", {name}, file(content)); }

  /// Sets the ref to it: newer than what the town has on record.
  void publish() {
    const auto meta = document("meta.json");
    if (const auto at = meta.find(R"("seq":)"); at != std::string::npos) {
      auto newer = meta;
      newer.insert(at + 6, "9");
      set_document("meta.json", newer);
    }
    std::vector<std::string> parents;
    std::istringstream words{git({"rev-list", "--parents", "-n", "1", point_})};
    for (std::string id; words >> id;)
      parents.push_back(id);
    auto w = parents.at(1);
    auto tree = git({"rev-parse", w + "^{tree}"}), third = git({"rev-parse", w + "^3"});
    if (!untracked_.empty()) {
      third = git({"commit-tree", untracked_, "-m", "untracked"});
      put("40000", {"untracked"}, untracked_);
    }
    if (!worktree_.empty()) {
      tree = worktree_;
      put("40000", {"worktree"}, worktree_);
    }
    w = git({"commit-tree", tree, "-m", "WIP", "-p", git({"rev-parse", w + "^1"}), "-p", git({"rev-parse", w + "^2"}),
             "-p", third});
    std::vector<tree_entry> all;
    for (const auto& [name, entry] : root_)
      all.push_back(entry);
    std::vector<std::string> arguments{"commit-tree", raw_tree(repository, all), "-m", "R", "-p", w};
    for (std::size_t i = 2; i < parents.size(); ++i)
      arguments.insert(arguments.end(), {"-p", parents[i]});
    git({"update-ref", ref_of("ada"), git(arguments)});
  }

private:
  std::string point_, worktree_, untracked_;
  std::map<std::string, tree_entry> root_;
};

/// One thing a point must not be able to do.
struct forgery {
  std::string name;
  std::function<void(forged_point&)> make;
  /// False: it lies in a tree of the point that by itself puts nothing on the disk, and nothing is said of it.
  bool is_said = true;
};

std::vector<forgery> forgeries() {
  const auto inner = [](const forged_point& p) {
    return raw_tree(p.repository, {{"100644", "escaped", p.file("escaped\n")}});
  };
  const auto untracked_below = [inner](const std::string& name) {
    return [inner, name](forged_point& p) { p.set_untracked(raw_tree(p.repository, {{"40000", name, inner(p)}})); };
  };
  const auto extra = [](std::vector<std::string> names) {
    return [names](forged_point& p) { p.put("100644", names, p.file("escaped\n")); };
  };
  const auto worktree_with = [](const std::function<std::vector<tree_entry>(forged_point&)>& more) {
    return [more](forged_point& p) {
      auto all = p.entries_of(test::run_git(p.repository, {"rev-parse", ref_of("ada") + "^1^{tree}"}));
      for (auto& e : more(p))
        all.push_back(std::move(e));
      p.set_worktree(raw_tree(p.repository, all));
    };
  };
  return {
      {"untracked below .git", untracked_below(".git")},
      {"untracked below GIT~1", untracked_below("GIT~1")},
      {"untracked below ..", untracked_below("..")},
      {"untracked below a slash", untracked_below("../../escaped")},
      {"untracked through a link",
       [inner](forged_point& p) {
         p.set_untracked(raw_tree(
             p.repository, {{"120000", "link", p.file(p.outside.path().string())}, {"40000", "link", inner(p)}}));
       }},
      {"a link in the worktree, a file below it among the untracked",
       [inner, worktree_with](forged_point& p) {
         worktree_with([](forged_point& q) {
           return std::vector<tree_entry>{{"120000", "zlink", q.file(q.outside.path().string())}};
         })(p);
         p.set_untracked(raw_tree(p.repository, {{"40000", "zlink", inner(p)}}));
       }},
      {"a worktree file below .git", worktree_with([inner](forged_point& p) {
         return std::vector<tree_entry>{{"40000", "z", raw_tree(p.repository, {{"40000", ".git", inner(p)}})}};
       })},
      {"an operation's file above the admin directory", extra({"operation", "..", "..", "escaped"})},
      {"an operation that is a hook", extra({"operation", "hooks", "escaped"})},
      {"an operation that is a slash", extra({"operation", "rebase-merge/../../escaped"})},
      {"raw above the worktree", extra({"raw", "..", "escaped"}), false},
      {"raw below .git", extra({"raw", ".git", "escaped"}), false},
      {"a nested repository above the worktree", extra({"nested", "..", "dot-git", "escaped"})},
      {"a nested repository's file above it", extra({"nested", "x", "dot-git", "..", "..", "escaped"})},
      {"stages above the worktree", extra({"stages", "1", "..", "escaped"}), false},
      {"HEAD in meta.json is a path",
       [](forged_point& p) {
         p.replace_in("meta.json", R"("ref":"refs/heads/main")", R"("ref":"refs/heads/../../../escaped")");
       }},
      {"HEAD in meta.json is an option",
       [](forged_point& p) {
         p.replace_in("meta.json", R"("ref":"refs/heads/main")", R"("ref":"refs/heads/--escaped")");
       }},
      {"meta.json is no JSON", [](forged_point& p) { p.set_document("meta.json", "{\"format\":1,\"point\":"); }},
      {"meta.json is endless nesting", [](forged_point& p) { p.set_document("meta.json", std::string(200'000, '[')); }},
      {"refs.json names a path",
       [](forged_point& p) {
         p.set_document("refs.json", R"({"operation":{},"refs":[{"name":"refs/heads/%2E%2E/%2E%2E/escaped","id":")" +
                                         test::id_of(p.repository, "main") + R"("}],"stash":[]})");
       }},
      {"refs.json names our own refs",
       [](forged_point& p) {
         p.set_document("refs.json", R"({"operation":{},"refs":[{"name":"refs/remotes/origin/escaped","id":")" +
                                         test::id_of(p.repository, "main") + R"("}],"stash":[]})");
       }},
  };
}

} // namespace

TEST_CASE("points no townkeeper made: nothing of them gets out of the worktree, and what was not taken is said") {
  // One life for each; a container that takes half of them is as good as any.
  const auto all = forgeries();
  const auto i = GENERATE_REF(range(std::size_t{0}, all.size()));
  CAPTURE(all[i].name);
  forged_point p;
  all[i].make(p);
  p.publish();
  const auto forged = test::id_of(p.repository, ref_of("ada"));
  p.box.start();
  INFO(p.box.log());
  REQUIRE(wait_until_settled(p.box));
  const auto health = p.box.health();
  const auto* agent = agent_in(health, "ada");
  const auto outcome = text(agent, "outcome"), error = text(agent, "error");
  rapidjson::Document prime;
  std::string note;
  // What the town has from this wake, not from the one before.
  REQUIRE(test::wait_until([&] {
    prime = p.admin.call("GET", "/rigs/api/agents/ada/prime");
    note = text(&prime["recovery"], "note");
    return note.find("There is no recovery point of yours") == std::string::npos;
  }));
  std::string left_out;
  if (prime["recovery"].HasMember("leftOut"))
    for (const auto& each : prime["recovery"]["leftOut"].GetArray())
      left_out += text(&each, "path") + ": " + text(&each, "reason") + "\n";
  CAPTURE(outcome, error, note, left_out);
  // Failed for a stated reason, or applied without what is said not to have been written.
  if (outcome == "failed")
    CHECK_FALSE(error.empty());
  else if (all[i].is_said)
    CHECK((!left_out.empty() || note.find("not written") != std::string::npos ||
           p.box.log().find("escaped") != std::string::npos));
  CHECK(escaped(p.box.directory(), "escaped") == std::vector<std::string>{});
  CHECK(fs::is_empty(p.outside.path()));
  CHECK(
      test::run_git(p.box.workspace() / "rigs/api/repo.git", {"for-each-ref", "--format=%(refname)"}).find("escaped") ==
      std::string::npos);
  // What was not applied is not lost either.
  if (outcome == "failed") CHECK(test::id_of(p.repository, ref_of("ada")) == forged);
}
