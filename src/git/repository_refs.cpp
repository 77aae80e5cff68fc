#include "git/repository_refs.hpp"

#include <algorithm>
#include <string_view>

#include "core/fault_point.hpp"
#include "git/git_error.hpp"
#include "git/repository_layout.hpp"

namespace townkeeper::git {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t sha1_hex_length = 40;

std::string hex(const git_oid& id) {
  std::string text(sha1_hex_length, '\0');
  git_oid_fmt(text.data(), &id);
  return text;
}

bool parse_id(git_oid& id, const std::string& text) {
  return text.size() == sha1_hex_length && git_oid_fromstr(&id, text.c_str()) == 0;
}

result<void> set_ref(git_repository* repo, const std::string& ref, const std::string& id) {
  git_oid target;
  if (!parse_id(target, id)) return error{error_code::internal, ref, "not a commit id: " + id};
  reference_handle made;
  if (const int code = git_reference_create(out(made), repo, ref.c_str(), &target, 1, nullptr); code < 0)
    return last_error(code, ref);
  return {};
}

/// True where every commit of `a` is in the history of one of `holders`.
bool is_contained(git_repository* repo, const std::string& a, std::initializer_list<std::string> holders) {
  git_oid wanted, holder;
  if (!parse_id(wanted, a)) return false;
  return std::any_of(holders.begin(), holders.end(), [&](const std::string& text) {
    return text == a || (parse_id(holder, text) && git_graph_descendant_of(repo, &holder, &wanted) == 1);
  });
}

bool is_checked_out(git_repository* repo, const std::string& ref) {
  std::error_code ignored;
  const auto worktrees = fs::path(git_repository_commondir(repo)) / "worktrees";
  for (const auto& entry : fs::directory_iterator(worktrees, ignored))
    if (read_file(entry.path() / "HEAD").starts_with("ref: " + ref + "\n")) return true;
  return false;
}

/// Removes the local branch that stands where `ref` needs a directory, or below it, unless it is somebody's. False: it
/// is.
result<bool> make_room(git_repository* repo, const std::string& ref, std::initializer_list<std::string> holders) {
  auto names = list_refs(repo, local_prefix);
  if (!names) return names.error();
  std::erase_if(*names,
                [&](const std::string& name) { return !ref.starts_with(name + "/") && !name.starts_with(ref + "/"); });
  for (const auto& name : *names)
    if (is_checked_out(repo, name) || !is_contained(repo, target_of(repo, name), holders)) return false;
  for (const auto& name : *names)
    if (const int code = git_reference_remove(repo, name.c_str()); code < 0) return last_error(code, name);
  return true;
}

} // namespace

std::string target_of(git_repository* repo, const std::string& ref) {
  git_oid id;
  return git_reference_name_to_id(&id, repo, ref.c_str()) == 0 ? hex(id) : std::string{};
}

result<std::vector<std::string>> list_refs(git_repository* repo, const std::string& prefix) {
  std::vector<std::string> names;
  const auto add = [](const char* name, void* into) {
    static_cast<std::vector<std::string>*>(into)->emplace_back(name);
    return 0;
  };
  const int code = git_reference_foreach_glob(repo, (prefix + "*").c_str(), add, &names);
  if (code < 0) return last_error(code, git_repository_path(repo));
  std::sort(names.begin(), names.end());
  return names;
}

bool commit_is_readable(git_repository* repo, const std::string& id) {
  git_oid wanted;
  commit_handle commit;
  tree_handle tree;
  if (!parse_id(wanted, id) || git_commit_lookup(out(commit), repo, &wanted) != 0) return false;
  return git_commit_tree(out(tree), commit.get()) == 0;
}

result<void> write_first_refs(const fs::path& repository, const branch_tips& tips, const std::string& default_branch) {
  std::map<std::string, std::string> lines;
  for (const auto& [branch, id] : tips)
    lines[tracking_prefix + branch] = id;
  if (const auto tip = tips.find(default_branch); tip != tips.end()) lines[local_prefix + default_branch] = tip->second;
  if (lines.empty()) return {};
  if (const int failed = fault_point("packed-refs-written"); failed != 0)
    return disk_error(repository / "packed-refs", "cannot write", failed);
  std::string text = "# pack-refs with: peeled fully-peeled sorted \n";
  for (const auto& [ref, id] : lines)
    text += id + " " + ref + "\n";
  return write_file(repository / "packed-refs", text);
}

result<std::vector<std::string>> prune_tracking_refs(git_repository* repo, const advertisement& remote) {
  auto names = list_refs(repo, tracking_prefix);
  if (!names) return names.error();
  std::vector<std::string> gone;
  for (auto& name : *names) {
    const auto branch = name.substr(std::string_view(tracking_prefix).size());
    if (branch == "HEAD" || remote.branch(branch) != nullptr) continue;
    if (const int code = git_reference_remove(repo, name.c_str()); code < 0) return last_error(code, name);
    gone.push_back(std::move(name));
  }
  return gone;
}

result<int> update_tracking_refs(git_repository* repo, const branch_tips& tips) {
  int changed = 0;
  for (const auto& [branch, id] : tips) {
    const auto ref = tracking_prefix + branch;
    if (target_of(repo, ref) == id) continue;
    if (const int failed = fault_point("tracking-ref-moved"); failed != 0)
      return disk_error(ref, "cannot be moved", failed);
    if (const auto set = set_ref(repo, ref, id); !set) return set.error();
    ++changed;
  }
  return changed;
}

result<bool> place_default_branch(git_repository* repo, const std::string& branch, const std::string& tip,
                                  const std::string& previous_tip) {
  bool changed = false;
  const auto ref = local_prefix + branch;
  const auto now = target_of(repo, ref);
  if (now.empty()) {
    const auto room = make_room(repo, ref, {tip, previous_tip});
    if (!room) return room.error();
    if (!*room) return false;
  }
  const bool may_move = now.empty() || (!is_checked_out(repo, ref) && is_contained(repo, now, {tip, previous_tip}));
  if (now != tip && may_move) {
    if (const int failed = fault_point("default-branch-moved"); failed != 0)
      return disk_error(ref, "cannot be moved", failed);
    if (const auto set = set_ref(repo, ref, tip); !set) return set.error();
    changed = true;
  }
  const auto head = fs::path(git_repository_path(repo)) / "HEAD";
  if (const auto wanted = "ref: " + ref + "\n"; read_file(head) != wanted) {
    if (const auto written = write_file(head, wanted); !written) return written.error();
    changed = true;
  }
  return changed;
}

result<int> configure_branches(git_repository* repo, const std::vector<std::string>& branches) {
  config_handle config, snapshot;
  if (const int code = git_repository_config(out(config), repo); code < 0)
    return last_error(code, git_repository_path(repo));
  if (const int code = git_config_snapshot(out(snapshot), config.get()); code < 0)
    return last_error(code, git_repository_path(repo));
  int changed = 0;
  for (const auto& branch : branches) {
    const auto section = "branch." + branch;
    const char* known = nullptr;
    if (git_config_get_string(&known, snapshot.get(), (section + ".remote").c_str()) == 0) continue;
    if (git_config_get_string(&known, snapshot.get(), (section + ".merge").c_str()) == 0) continue;
    int code = git_config_set_string(config.get(), (section + ".remote").c_str(), "origin");
    if (code == 0)
      code = git_config_set_string(config.get(), (section + ".merge").c_str(), (local_prefix + branch).c_str());
    if (code < 0) return last_error(code, git_repository_path(repo));
    ++changed;
  }
  return changed;
}

} // namespace townkeeper::git
