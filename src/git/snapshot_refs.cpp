#include "git/snapshot_refs.hpp"

#include <memory>
#include <string_view>

#include "git/descriptor.hpp"
#include "git/git_error.hpp"
#include "git/handle.hpp"
#include "git/object_id.hpp"

namespace townkeeper::git {
namespace {

constexpr std::string_view symbolic_prefix = "ref: ";
constexpr std::string_view branch_prefix = "refs/heads/";
constexpr std::string_view tag_prefix = "refs/tags/";
constexpr std::size_t max_head_bytes = 64 * 1024;
constexpr std::size_t max_stash_entries = 1000;

using reference_iterator = std::unique_ptr<git_reference_iterator, free_with<git_reference_iterator_free>>;
using reflog_handle = std::unique_ptr<git_reflog, free_with<git_reflog_free>>;

} // namespace

result<head_moment> read_head_moment(git_repository* repository, int registration, const std::string& path) {
  auto content = read_small_file(registration, "HEAD", max_head_bytes);
  if (!content) return content.error();
  std::string_view text(*content);
  while (!text.empty() && (text.back() == '\n' || text.back() == ' '))
    text.remove_suffix(1);
  head_moment head;
  git_oid id{};
  if (text.starts_with(symbolic_prefix)) {
    head.state.ref = text.substr(symbolic_prefix.size());
    if (head.state.ref->starts_with(branch_prefix)) head.branch = head.state.ref->substr(branch_prefix.size());
    const auto rc = git_reference_name_to_id(&id, repository, head.state.ref->c_str());
    if (rc == GIT_ENOTFOUND) return head;
    if (rc != 0) return last_error(rc, path);
  } else {
    auto named = parse_oid(text);
    if (!named) return error{error_code::corrupt, path, "HEAD names neither a ref nor a commit"};
    id = *named;
  }
  commit_handle commit;
  if (const auto rc = git_commit_lookup(out(commit), repository, &id); rc != 0) {
    auto failure = last_error(rc, path);
    failure.code = error_code::corrupt;
    return failure;
  }
  head.commit = id;
  head.tree = *git_commit_tree_id(commit.get());
  head.state.commit = to_hex(id);
  if (const auto* subject = git_commit_summary(commit.get())) head.subject = subject;
  return head;
}

result<std::map<std::string, std::string>> read_rig_refs(git_repository* repository,
                                                         const std::set<std::string>& agent_branches) {
  reference_iterator iterator;
  if (const auto rc = git_reference_iterator_new(out(iterator), repository); rc != 0) return last_error(rc, "refs");
  std::map<std::string, std::string> refs;
  for (;;) {
    git_reference* raw = nullptr;
    const auto rc = git_reference_next(&raw, iterator.get());
    if (rc == GIT_ITEROVER) return refs;
    if (rc != 0) return last_error(rc, "refs");
    const reference_handle ref(raw);
    const std::string name = git_reference_name(ref.get());
    const bool is_branch = name.starts_with(branch_prefix);
    if (!is_branch && !name.starts_with(tag_prefix)) continue;
    if (is_branch && agent_branches.contains(name.substr(branch_prefix.size()))) continue;
    if (const auto* id = git_reference_target(ref.get())) refs.emplace(name, to_hex(*id));
  }
}

result<std::vector<std::string>> read_stash_list(git_repository* repository) {
  std::vector<std::string> ids;
  reference_handle ref;
  if (git_reference_lookup(out(ref), repository, "refs/stash") != 0) return ids;
  reflog_handle log;
  if (const auto rc = git_reflog_read(out(log), repository, "refs/stash"); rc != 0) return last_error(rc, "refs/stash");
  const auto count = git_reflog_entrycount(log.get());
  for (std::size_t i = 0; i < count && i < max_stash_entries; ++i)
    ids.push_back(to_hex(*git_reflog_entry_id_new(git_reflog_entry_byindex(log.get(), i))));
  // The ref without a log: its one entry is what is left of the list.
  if (const auto* id = git_reference_target(ref.get()); ids.empty() && id != nullptr) ids.push_back(to_hex(*id));
  return ids;
}

std::optional<std::string> read_branch_commit(git_repository* repository, const std::string& branch) {
  git_oid id{};
  if (git_reference_name_to_id(&id, repository, (std::string(branch_prefix) + branch).c_str()) != 0)
    return std::nullopt;
  return to_hex(id);
}

bool is_published(git_repository* repository, const std::string& branch, const std::optional<git_oid>& commit) {
  git_oid there{};
  if (!commit || git_reference_name_to_id(&there, repository, ("refs/remotes/origin/" + branch).c_str()) != 0)
    return false;
  return git_oid_equal(&there, &*commit) != 0 || git_graph_descendant_of(repository, &there, &*commit) == 1;
}

} // namespace townkeeper::git
