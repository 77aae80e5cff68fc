#pragma once

#include <git2.h>

#include <memory>

/// Every libgit2 handle is owned by one of these. A handle belongs to the thread that opened it.
/// Included only by the .cpp files and private headers of src/git: nobody above this library sees a libgit2 type.
namespace townkeeper::git {

template <auto Free>
struct free_with {
  template <class T>
  void operator()(T* handle) const noexcept {
    Free(handle);
  }
};

using repository_handle = std::unique_ptr<git_repository, free_with<git_repository_free>>;
using remote_handle = std::unique_ptr<git_remote, free_with<git_remote_free>>;
using reference_handle = std::unique_ptr<git_reference, free_with<git_reference_free>>;
using commit_handle = std::unique_ptr<git_commit, free_with<git_commit_free>>;
using tree_handle = std::unique_ptr<git_tree, free_with<git_tree_free>>;
using blob_handle = std::unique_ptr<git_blob, free_with<git_blob_free>>;
using object_handle = std::unique_ptr<git_object, free_with<git_object_free>>;
using index_handle = std::unique_ptr<git_index, free_with<git_index_free>>;
using config_handle = std::unique_ptr<git_config, free_with<git_config_free>>;
using odb_handle = std::unique_ptr<git_odb, free_with<git_odb_free>>;
using odb_object_handle = std::unique_ptr<git_odb_object, free_with<git_odb_object_free>>;
using revwalk_handle = std::unique_ptr<git_revwalk, free_with<git_revwalk_free>>;
using status_list_handle = std::unique_ptr<git_status_list, free_with<git_status_list_free>>;
using filter_list_handle = std::unique_ptr<git_filter_list, free_with<git_filter_list_free>>;

/// Receives the out-parameter of a libgit2 call: `git_repository_open(out(repo), path)`.
template <class Handle>
class out_param {
public:
  explicit out_param(Handle& target) noexcept
      : target_(target) {}
  out_param(const out_param&) = delete;
  out_param& operator=(const out_param&) = delete;
  ~out_param() { target_.reset(raw_); }
  operator typename Handle::pointer *() noexcept { return &raw_; } // NOLINT(google-explicit-constructor)

private:
  Handle& target_;
  typename Handle::pointer raw_ = nullptr;
};

template <class Handle>
out_param<Handle> out(Handle& target) noexcept {
  return out_param<Handle>(target);
}

} // namespace townkeeper::git
