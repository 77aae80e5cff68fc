#include "git/point_tree.hpp"

#include <set>

#include "git/git_error.hpp"
#include "git/object_id.hpp"

namespace townkeeper::git {
namespace {

constexpr const char* tags_entry = "tags";
constexpr const char* tagged_entry = "tagged";
constexpr const char* meta_entry = "meta.json";

struct free_builder {
  void operator()(git_treebuilder* builder) const noexcept { git_treebuilder_free(builder); }
};
using builder_handle = std::unique_ptr<git_treebuilder, free_builder>;

error failed(int code, git_repository* store) {
  return object_error(code, git_repository_path(store) != nullptr ? git_repository_path(store) : "recovery point");
}

result<git_oid> written(git_treebuilder* builder, git_repository* store) {
  git_oid id;
  if (const int code = git_treebuilder_write(&id, builder); code < 0) return failed(code, store);
  return id;
}

result<builder_handle> build(git_repository* store, const git_tree* from) {
  git_treebuilder* made = nullptr;
  if (const int code = git_treebuilder_new(&made, store, from); code < 0) return failed(code, store);
  return builder_handle(made);
}

int add_tag_bytes(git_treebuilder* builder, git_repository* store, const git_oid& tag) {
  odb_handle odb;
  odb_object_handle object;
  git_oid blob;
  int code = git_repository_odb(out(odb), store);
  if (code == 0) code = git_odb_read(out(object), odb.get(), &tag);
  if (code == 0)
    code =
        git_blob_create_from_buffer(&blob, store, git_odb_object_data(object.get()), git_odb_object_size(object.get()));
  if (code == 0) code = git_treebuilder_insert(nullptr, builder, to_hex(tag).c_str(), &blob, GIT_FILEMODE_BLOB);
  return code;
}

int add_other(git_treebuilder* builder, git_repository* store, const git_oid& id) {
  object_handle object;
  if (const int code = git_object_lookup(out(object), store, &id, GIT_OBJECT_ANY); code < 0) return code;
  const auto mode = git_object_type(object.get()) == GIT_OBJECT_TREE ? GIT_FILEMODE_TREE : GIT_FILEMODE_BLOB;
  return git_treebuilder_insert(nullptr, builder, to_hex(id).c_str(), &id, mode);
}

/// A directory with one entry for each object, inserted where there is any.
result<void> insert_all(git_treebuilder* into, git_repository* store, const char* name, const std::vector<git_oid>& ids,
                        int (*add)(git_treebuilder*, git_repository*, const git_oid&)) {
  if (ids.empty()) return {};
  auto builder = build(store, nullptr);
  if (!builder) return builder.error();
  for (const auto& id : ids)
    if (const int code = add(builder->get(), store, id); code < 0) return failed(code, store);
  const auto tree = written(builder->get(), store);
  if (!tree) return tree.error();
  if (const int code = git_treebuilder_insert(nullptr, into, name, &*tree, GIT_FILEMODE_TREE); code < 0)
    return failed(code, store);
  return {};
}

} // namespace

std::optional<named_object> peel(git_repository* repository, const std::string& id) {
  constexpr std::size_t max_tags = 32;
  auto next = parse_oid(id);
  named_object found;
  while (next && found.tags.size() <= max_tags) {
    object_handle object;
    if (git_object_lookup(out(object), repository, &*next, GIT_OBJECT_ANY) != 0) return std::nullopt;
    if (git_object_type(object.get()) == GIT_OBJECT_COMMIT) {
      found.commit = *next;
      return found;
    }
    if (git_object_type(object.get()) != GIT_OBJECT_TAG) {
      found.other = *next;
      return found;
    }
    found.tags.push_back(*next);
    next = *git_tag_target_id(reinterpret_cast<const git_tag*>(object.get()));
  }
  return std::nullopt;
}

result<git_oid> write_point_tree(git_repository* store, const point_tree_content& content) {
  const auto extras = parse_oid(content.extras);
  if (!extras) return extras.error();
  tree_handle from;
  if (const int code = git_tree_lookup(out(from), store, &*extras); code < 0) return failed(code, store);
  auto builder = build(store, from.get());
  if (!builder) return builder.error();
  git_oid meta;
  int code = git_blob_create_from_buffer(&meta, store, content.meta.data(), content.meta.size());
  if (code == 0) code = git_treebuilder_insert(nullptr, builder->get(), meta_entry, &meta, GIT_FILEMODE_BLOB);
  if (code < 0) return failed(code, store);
  if (auto added = insert_all(builder->get(), store, tags_entry, content.tags, add_tag_bytes); !added)
    return added.error();
  if (auto added = insert_all(builder->get(), store, tagged_entry, content.others, add_other); !added)
    return added.error();
  return written(builder->get(), store);
}

result<git_oid> write_empty_tree(git_repository* store) {
  const auto builder = build(store, nullptr);
  if (!builder) return builder.error();
  return written(builder->get(), store);
}

result<void> recreate_tags(git_repository* repository, const git_oid& point_tree) {
  tree_handle tree, tags;
  odb_handle odb;
  int code = git_tree_lookup(out(tree), repository, &point_tree);
  if (code == 0) code = git_repository_odb(out(odb), repository);
  if (code < 0) return failed(code, repository);
  const auto* entry = git_tree_entry_byname(tree.get(), tags_entry);
  if (entry == nullptr) return {};
  if (code = git_tree_lookup(out(tags), repository, git_tree_entry_id(entry)); code < 0)
    return failed(code, repository);
  for (std::size_t i = 0; i < git_tree_entrycount(tags.get()); ++i) {
    const auto* tag = git_tree_entry_byindex(tags.get(), i);
    odb_object_handle bytes;
    git_oid id;
    code = git_odb_read(out(bytes), odb.get(), git_tree_entry_id(tag));
    if (code == 0)
      code = git_odb_hash(&id, git_odb_object_data(bytes.get()), git_odb_object_size(bytes.get()), GIT_OBJECT_TAG);
    if (code < 0) return failed(code, repository);
    if (to_hex(id) != git_tree_entry_name(tag))
      return error{error_code::corrupt, to_hex(point_tree), "a tag of the point is not what it is called"};
    code = git_odb_write(&id, odb.get(), git_odb_object_data(bytes.get()), git_odb_object_size(bytes.get()),
                         GIT_OBJECT_TAG);
    if (code < 0) return failed(code, repository);
  }
  return {};
}

} // namespace townkeeper::git
