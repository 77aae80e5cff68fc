#include "git/snapshot_commits.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <string_view>
#include <vector>

#include "git/object_id.hpp"

namespace townkeeper::git {
namespace {

constexpr std::size_t short_id_length = 7;

/// What a commit's header can hold: no angle bracket, no line end, nothing around it that git would trim.
std::string header_text(std::string_view text) {
  std::string out;
  for (const char c : text)
    if (c != '<' && c != '>' && c != '\n' && c != '\0') out += c;
  const auto begin = out.find_first_not_of(" .,:;\"\\'");
  if (begin == std::string::npos) return {};
  return out.substr(begin, out.find_last_not_of(" ,:;\"\\'") - begin + 1);
}

/// `Name <email>`.
std::string signer(const std::string& identity, const std::string& agent_id) {
  const auto open = identity.find('<');
  auto name = header_text(std::string_view(identity).substr(0, open));
  auto email = open == std::string::npos ? std::string() : header_text(std::string_view(identity).substr(open));
  if (name.empty()) name = agent_id;
  if (email.empty()) email = agent_id + "@townkeeper.invalid";
  return fmt::format("{} <{}>", name, email);
}

struct commit_content {
  git_oid tree{};
  std::vector<git_oid> parents;
  std::string signature; ///< with time and zone
  std::string message;
};

result<git_oid> write_commit(private_store& store, const commit_content& c) {
  auto text = fmt::format("tree {}\n", to_hex(c.tree));
  for (const auto& parent : c.parents)
    text += fmt::format("parent {}\n", to_hex(parent));
  text += fmt::format("author {}\ncommitter {}\n\n", c.signature, c.signature);
  text += c.message;
  text += '\n';
  return store.put(text, GIT_OBJECT_COMMIT);
}

} // namespace

result<git_oid> write_stand_in(private_store& store) {
  auto empty = store.put({}, GIT_OBJECT_TREE);
  if (!empty) return empty.error();
  return write_commit(
      store,
      {*empty, {}, "townkeeper <townkeeper@townkeeper.invalid> 0 +0000", "Stands in for HEAD, which is unborn here"});
}

result<git_oid> write_stash(private_store& store, const stash_trees& trees, const head_moment& head,
                            const git_oid& base, const std::string& identity, const std::string& agent_id) {
  const auto now =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch());
  const auto signature = fmt::format("{} {} +0000", signer(identity, agent_id), now.count());
  auto where =
      fmt::format("{}: {}", head.branch.empty() ? "(no branch)" : head.branch, to_hex(base).substr(0, short_id_length));
  if (!head.subject.empty()) where += ' ' + head.subject;

  auto index = write_commit(store, {trees.index, {base}, signature, "index on " + where});
  if (!index) return index.error();
  std::vector<git_oid> parents{base, *index};
  if (trees.untracked) {
    auto untracked = write_commit(store, {*trees.untracked, {}, signature, "untracked files on " + where});
    if (!untracked) return untracked.error();
    parents.push_back(*untracked);
  }
  return write_commit(store, {trees.worktree, std::move(parents), signature, "WIP on " + where});
}

} // namespace townkeeper::git
