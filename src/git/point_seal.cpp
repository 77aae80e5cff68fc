#include "git/point_seal.hpp"

#include <fmt/core.h>
#include <git2/sys/commit.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "core/fault_point.hpp"
#include "git/descriptor.hpp"
#include "git/git_error.hpp"
#include "git/object_id.hpp"
#include "git/point_meta.hpp"
#include "git/point_tree.hpp"
#include "git/private_objects.hpp"
#include "git/remote_history.hpp"

namespace townkeeper::git {
namespace {

/// More are gathered below commits of ours: other implementations of git have had limits here.
constexpr std::size_t max_parents = 250;

class sealing {
public:
  sealing(git_repository* sees_all, const push_item& item, const seal_terms& terms)
      : repo_(sees_all)
      , item_(item)
      , taken_(item.taken)
      , terms_(terms) {}

  result<std::optional<town::recovery_point>> run();

private:
  result<void> compare_with_remote();
  bool is_clean() const;
  bool head_is_on_remote() const;
  bool is_wanted() const;
  town::recovery_point describe() const;
  std::vector<git_oid> parents() const;
  result<git_oid> write_commit(git_repository* store, const std::vector<git_oid>& parents, const git_oid& tree,
                               const std::string& message) const;
  result<git_oid> gather(git_repository* store, std::vector<git_oid> parents, const git_oid& tree,
                         const std::string& message) const;
  bool is_lacking(const git_oid& id) const { return lacking_.contains(to_hex(id)); }

  git_repository* repo_;
  const push_item& item_;
  const snapshot& taken_;
  const seal_terms& terms_;
  std::map<std::string, named_object> rig_refs_;
  std::set<std::string> advertised_, lacking_;
  std::int64_t seq_ = 0;
};

result<void> sealing::compare_with_remote() {
  for (const auto& [ref, id] : terms_.remote.refs)
    advertised_.insert(id);
  std::vector<git_oid> tips;
  for (const auto& [name, id] : taken_.rig_refs)
    if (auto object = peel(repo_, id)) {
      if (object->commit) tips.push_back(*object->commit);
      rig_refs_.emplace(name, std::move(*object));
    }
  for (const auto& id : taken_.stash)
    if (const auto entry = parse_oid(id)) tips.push_back(*entry);
  if (const auto head = parse_oid(taken_.head.commit.value_or(""))) tips.push_back(*head);
  auto lacking = commits_the_remote_lacks(repo_, terms_.remote, tips);
  if (!lacking) return lacking.error();
  lacking_ = std::move(*lacking);
  return {};
}

/// A branch that was never pushed holds nothing of its own as long as some other ref there has its commit.
bool sealing::head_is_on_remote() const {
  const auto* branch = terms_.remote.branch(taken_.branch);
  if (!taken_.head.commit) return branch == nullptr;
  if (branch == nullptr) return !lacking_.contains(*taken_.head.commit);
  if (*branch == *taken_.head.commit) return true;
  const auto tip = parse_oid(*branch), head = parse_oid(*taken_.head.commit);
  return tip && head && git_graph_descendant_of(repo_, &*tip, &*head) == 1;
}

bool sealing::is_clean() const {
  if (taken_.uncommitted || taken_.head.ref != "refs/heads/" + taken_.branch || !head_is_on_remote()) return false;
  const auto lacks_entry = [&](const std::string& id) { return lacking_.contains(id); };
  const auto lacks_ref = [&](const auto& named) {
    const auto& [name, object] = named;
    const bool lacks_tag = !object.tags.empty() && !advertised_.contains(to_hex(object.tags.front()));
    const bool lacks_other = object.other && !advertised_.contains(to_hex(*object.other)) && object.tags.empty();
    return lacks_tag || lacks_other || (object.commit && is_lacking(*object.commit));
  };
  return std::none_of(taken_.stash.begin(), taken_.stash.end(), lacks_entry) &&
         std::none_of(rig_refs_.begin(), rig_refs_.end(), lacks_ref);
}

/// Also a clean moment is worth a point where the remote would forget a name.
bool sealing::is_wanted() const {
  if (item_.even_if_clean || terms_.remote.refs.contains(item_.ref)) return true;
  return std::any_of(rig_refs_.begin(), rig_refs_.end(),
                     [&](const auto& named) { return !terms_.remote.refs.contains(named.first); });
}

town::recovery_point sealing::describe() const {
  town::recovery_point point;
  point.epoch = terms_.epoch;
  point.seq = seq_;
  point.ref = item_.ref;
  point.git_url = terms_.git_url;
  point.branch = taken_.branch;
  if (const auto* branch = terms_.remote.branch(taken_.branch)) point.remote_commit = *branch;
  point.branch_commit = taken_.branch_commit;
  point.head = taken_.head;
  point.clean = is_clean();
  point.saved_at = terms_.saved_at;
  point.kind = item_.kind;
  point.files = taken_.files;
  return point;
}

/// W, then each other commit once. A commit that is exactly what a ref of the remote names is found there by that name;
/// any other might be out of reach when the point is fetched by itself.
std::vector<git_oid> sealing::parents() const {
  std::vector<git_oid> list;
  std::set<std::string> seen;
  const auto add = [&](const std::string& id) {
    const auto object = peel(repo_, id);
    if (object && object->commit && seen.insert(to_hex(*object->commit)).second) list.push_back(*object->commit);
  };
  add(taken_.stash_commit);
  if (taken_.branch_commit) add(*taken_.branch_commit);
  for (const auto& [why, id] : taken_.operation_ids)
    add(id);
  for (const auto& [name, object] : rig_refs_)
    if (object.commit && !advertised_.contains(to_hex(*object.commit))) add(to_hex(*object.commit));
  for (const auto& id : taken_.stash)
    add(id);
  return list;
}

result<git_oid> sealing::write_commit(git_repository* store, const std::vector<git_oid>& parents, const git_oid& tree,
                                      const std::string& message) const {
  const auto stash = parse_oid(taken_.stash_commit);
  commit_handle wip;
  if (!stash) return stash.error();
  if (const int code = git_commit_lookup(out(wip), store, &*stash); code < 0)
    return error{error_code::corrupt, taken_.agent_id, "the snapshot is gone: " + last_error(code, {}).message};
  std::vector<const git_oid*> pointers;
  pointers.reserve(parents.size());
  for (const auto& parent : parents)
    pointers.push_back(&parent);
  git_oid made;
  const int code =
      git_commit_create_from_ids(&made, store, nullptr, git_commit_author(wip.get()), git_commit_committer(wip.get()),
                                 nullptr, message.c_str(), &tree, pointers.size(), pointers.data());
  if (code < 0) return object_error(code, taken_.agent_id);
  return made;
}

result<git_oid> sealing::gather(git_repository* store, std::vector<git_oid> parents, const git_oid& tree,
                                const std::string& message) const {
  while (parents.size() > max_parents) {
    const auto first = parents.end() - static_cast<std::ptrdiff_t>(std::min(max_parents, parents.size() - 1));
    const auto empty = write_empty_tree(store);
    if (!empty) return empty.error();
    const auto bundle = write_commit(store, {first, parents.end()}, *empty, "townkeeper: more commits of a point\n");
    if (!bundle) return bundle.error();
    parents.erase(first, parents.end());
    parents.insert(parents.begin() + 1, *bundle); // the next bundle is taken from the end
  }
  return write_commit(store, parents, tree, message);
}

result<std::optional<town::recovery_point>> sealing::run() {
  if (const auto compared = compare_with_remote(); !compared) return compared.error();
  if (is_clean() && !is_wanted()) return std::optional<town::recovery_point>{};
  auto store = open_with_private_objects(taken_.repository, {taken_.agent_id});
  if (!store) return store.error();
  if (const int failed = fault_point("point-sealed"); failed != 0)
    return disk_error(failed, taken_.agent_id, "its point cannot be written");
  seq_ = ++terms_.seq;
  auto point = describe();
  point_tree_content content{taken_.extras_tree, encode_meta({point, taken_.identity, taken_.left_out}), {}, {}};
  for (const auto& [name, object] : rig_refs_) {
    if (object.tags.empty() || !advertised_.contains(to_hex(object.tags.front())))
      content.tags.insert(content.tags.end(), object.tags.begin(), object.tags.end());
    if (object.other && !advertised_.contains(taken_.rig_refs.at(name))) content.others.push_back(*object.other);
  }
  const auto tree = write_point_tree(store->get(), content);
  if (!tree) return tree.error();
  const auto list = parents();
  if (list.empty()) return error{error_code::corrupt, taken_.agent_id, "the snapshot's commit cannot be read"};
  const auto commit =
      gather(store->get(), list, *tree,
             fmt::format("townkeeper: recovery point {}-{} of {}\n", terms_.epoch, seq_, taken_.agent_id));
  if (!commit) return commit.error();
  point.commit = to_hex(*commit);
  return point;
}

} // namespace

result<std::optional<town::recovery_point>> seal_point(git_repository* sees_all, const push_item& item,
                                                       const seal_terms& terms) {
  return sealing(sees_all, item, terms).run();
}

} // namespace townkeeper::git
