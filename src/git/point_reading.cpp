#include "git/point_reading.hpp"

#include <fmt/core.h>

#include <utility>

#include "git/git_error.hpp"
#include "git/loose_reader.hpp"
#include "git/object_id.hpp"
#include "git/recovery.hpp"

namespace townkeeper::git {
namespace {

/// meta.json lists what was left out, refs.json every tag.
constexpr git_object_size_t max_document_bytes = 64 * 1024 * 1024;

error broken(const std::string& commit, const std::string& what) {
  return {error_code::corrupt, commit, what + ": it is not a recovery point that can be read"};
}

result<std::string> read_document(git_repository* repo, const point_parts& parts, const std::string& name,
                                  const std::string& commit) {
  const auto* id = parts.file(name);
  if (id == nullptr) return broken(commit, "it has no " + name);
  blob_handle blob;
  if (const int code = git_blob_lookup(out(blob), repo, id); code < 0)
    return broken(commit, name + " cannot be read (" + last_error(code, {}).message + ")");
  if (git_blob_rawsize(blob.get()) > max_document_bytes) return broken(commit, name + " is too large");
  return std::string(static_cast<const char*>(git_blob_rawcontent(blob.get())),
                     static_cast<std::size_t>(git_blob_rawsize(blob.get())));
}

result<commit_handle> read_commit(git_repository* repo, const git_oid& id, const std::string& commit,
                                  std::string_view what) {
  commit_handle found;
  tree_handle tree;
  int code = git_commit_lookup(out(found), repo, &id);
  if (code == 0) code = git_commit_tree(out(tree), found.get());
  if (code < 0) return broken(commit, fmt::format("{} cannot be read ({})", what, last_error(code, {}).message));
  return found;
}

/// W and its parents.
result<void> read_stash(git_repository* repo, point_parts& parts, const std::string& commit) {
  auto stash = read_commit(repo, parts.stash, commit, "its stash commit");
  if (!stash) return stash.error();
  const auto count = git_commit_parentcount(stash->get());
  if (count != 2 && count != 3) return broken(commit, "its first parent is no stash commit");
  parts.stash_tree = *git_commit_tree_id(stash->get());
  parts.head = *git_commit_parent_id(stash->get(), 0);
  if (auto head = read_commit(repo, parts.head, commit, "HEAD's commit"); !head) return head.error();
  auto index = read_commit(repo, *git_commit_parent_id(stash->get(), 1), commit, "the index");
  if (!index) return index.error();
  parts.index_tree = *git_commit_tree_id(index->get());
  if (count == 2) return {};
  auto untracked = read_commit(repo, *git_commit_parent_id(stash->get(), 2), commit, "the untracked files");
  if (!untracked) return untracked.error();
  parts.untracked = *git_commit_tree_id(untracked->get());
  return {};
}

result<void> read_entries(git_repository* repo, point_parts& parts, const std::string& commit) {
  tree_handle tree;
  if (const int code = git_tree_lookup(out(tree), repo, &parts.tree); code < 0)
    return broken(commit, "its tree cannot be read (" + last_error(code, {}).message + ")");
  for (std::size_t i = 0; i < git_tree_entrycount(tree.get()); ++i) {
    const auto* entry = git_tree_entry_byindex(tree.get(), i);
    parts.entries[git_tree_entry_name(entry)] = {*git_tree_entry_id(entry), git_tree_entry_type(entry)};
  }
  return {};
}

result<void> read_documents(git_repository* repo, point_parts& parts, const std::string& commit) {
  const auto meta = read_document(repo, parts, "meta.json", commit);
  if (!meta) return meta.error();
  auto decoded = decode_meta(*meta, commit);
  if (!decoded) return error{decoded.error().code, commit, decoded.error().message};
  parts.meta = std::move(*decoded);
  parts.meta.point.commit = commit;
  if (!parts.entries.contains("refs.json")) return {};
  const auto refs = read_document(repo, parts, "refs.json", commit);
  if (!refs) return refs.error();
  auto named = decode_refs(*refs);
  if (!named) return error{named.error().code, commit, named.error().message};
  parts.refs = std::move(*named);
  return {};
}

} // namespace

const git_oid* point_parts::directory(const std::string& name) const {
  const auto found = entries.find(name);
  return found != entries.end() && found->second.kind == GIT_OBJECT_TREE ? &found->second.id : nullptr;
}

const git_oid* point_parts::file(const std::string& name) const {
  const auto found = entries.find(name);
  return found != entries.end() && found->second.kind == GIT_OBJECT_BLOB ? &found->second.id : nullptr;
}

result<point_parts> read_point_parts(git_repository* repository, const std::string& commit) {
  const auto id = parse_oid(commit);
  commit_handle found;
  if (!id) return error{error_code::invalid_argument, commit, "is not a commit id"};
  if (const int code = git_commit_lookup(out(found), repository, &*id); code == GIT_ENOTFOUND)
    return error{error_code::recovery_point_missing, commit, "there is no such object: the point is not here"};
  else if (code < 0)
    return broken(commit, last_error(code, {}).message);
  if (git_commit_parentcount(found.get()) == 0) return broken(commit, "it has no parent");
  point_parts parts;
  parts.tree = *git_commit_tree_id(found.get());
  parts.stash = *git_commit_parent_id(found.get(), 0);
  for (const auto step : {read_entries, read_documents, read_stash})
    if (auto done = step(repository, parts, commit); !done) return done.error();
  return parts;
}

result<found_recovery> read_point(const std::filesystem::path& repository, const std::string& commit,
                                  const std::string& ref) {
  repository_handle repo;
  if (const int code = open_bare_repository(out(repo), repository.c_str()); code < 0)
    return last_error(code, repository.string());
  auto parts = read_point_parts(repo.get(), commit);
  if (!parts) return parts.error();
  found_recovery found{std::move(parts->meta.point), std::move(parts->meta.left_out)};
  if (!ref.empty()) found.point.ref = ref;
  return found;
}

} // namespace townkeeper::git
