#include <fmt/core.h>
#include <sys/stat.h>

#include <cerrno>
#include <set>

#include "git/apply_extras.hpp"
#include "git/apply_index.hpp"
#include "git/apply_plan.hpp"
#include "git/checkout_conversion.hpp"
#include "git/descriptor.hpp"
#include "git/directory_stack.hpp"
#include "git/git_error.hpp"
#include "git/git_program.hpp"
#include "git/local_branch.hpp"
#include "git/object_id.hpp"
#include "git/path_rules.hpp"
#include "git/recovery_clone.hpp"
#include "git/recovery_tools.hpp"
#include "git/worktree_target.hpp"
#include "git/worktree_writer.hpp"

namespace townkeeper::git {
namespace {

constexpr std::string_view branch_prefix = "refs/heads/";

/// git's own lock on the index, for as long as the worktree is being changed.
class index_lock {
public:
  static result<index_lock> take(int admin_directory) {
    descriptor file(::openat(admin_directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666));
    if (file) return index_lock(admin_directory, std::move(file));
    if (errno == EEXIST)
      return error{error_code::conflict, name,
                   "exists: another git works on this worktree, or one died; end it, or remove the file"};
    return disk_error(errno, name, "cannot be created");
  }
  index_lock(index_lock&&) noexcept = default;
  index_lock& operator=(index_lock&&) = delete;
  ~index_lock() {
    if (file_) ::unlinkat(directory_, name, 0);
  }

  result<void> commit(std::string_view content) {
    if (const auto failed = write_all(file_.get(), content); failed != 0)
      return disk_error(failed, name, "cannot be written");
    if (::renameat(directory_, name, directory_, "index") != 0)
      return disk_error(errno, name, "cannot be put in place");
    file_.reset();
    return {};
  }

private:
  static constexpr const char* name = "index.lock";
  index_lock(int directory, descriptor file)
      : directory_(directory)
      , file_(std::move(file)) {}
  int directory_;
  descriptor file_;
};

/// Where HEAD goes in this clone.
struct head_target {
  std::string branch; ///< empty: detached
  bool moves_branch = false;
  std::string reported;
};

class applying {
public:
  applying(const clone_location& clone, open_clone& opened, object_store& objects, located_point& point)
      : clone_(clone)
      , repository_(opened.repository.get())
      , objects_(objects)
      , point_(point) {}

  result<point_applied> run() {
    plan_.layers = point_.layers;
    if (auto done = read_point_head(objects_.repository(), point_.found.point, plan_); !done) return done.error();
    if (auto done = open_directories(); !done) return done.error();
    auto lock = index_lock::take(admin_.get());
    if (!lock) return lock.error();
    for (const auto step : {&applying::check_clean, &applying::choose_head, &applying::read, &applying::check_free,
                            &applying::remove_old, &applying::write_new})
      if (auto done = (this->*step)(); !done) return done.error();
    auto index = index_of_point(objects_, plan_.layers, files_, written_, nobody_);
    if (!index) return index.error();
    if (auto done = move_head(); !done) return done.error();
    if (auto done = write_operation(objects_, plan_.layers, admin_.get(), nobody_, applied_.reported); !done)
      return done.error();
    if (auto done = lock->commit(index->bytes); !done) return done.error();
    applied_.files = changes_in(files_).count();
    applied_.found = point_.found;
    return std::move(applied_);
  }

private:
  result<void> open_directories() {
    const auto* worktree = git_repository_workdir(repository_);
    if (worktree == nullptr)
      return error{error_code::invalid_argument, clone_.directory.native(),
                   "is a bare repository; go into a worktree of it (`git worktree add`)"};
    auto root = open_directory(AT_FDCWD, worktree, worktree);
    if (!root) return root.error();
    root_ = std::move(*root);
    const auto* admin = git_repository_path(repository_);
    auto opened = open_directory(AT_FDCWD, admin, admin);
    if (!opened) return opened.error();
    admin_ = std::move(*opened);
    return {};
  }

  result<void> check_clean() {
    if (git_repository_state(repository_) != GIT_REPOSITORY_STATE_NONE)
      return error{error_code::dirty, clone_.directory.native(),
                   "an operation (merge, rebase, …) is in progress here; finish or abort it"};
    // git itself knows best what it calls clean. Its own look at the index takes no lock.
    auto status = run_git_program(git_repository_workdir(repository_),
                                  {"--no-optional-locks", "status", "--porcelain", "--untracked-files=normal"});
    if (!status) return status.error();
    if (status->empty()) return {};
    const auto first = status->substr(0, status->find('\n'));
    return error{
        error_code::dirty, clone_.directory.native(),
        fmt::format("holds uncommitted work ({}{}); commit or stash it, or apply in a fresh `git worktree add`",
                    printable(first), first.size() + 1 < status->size() ? ", …" : "")};
  }

  // -- HEAD ---------------------------------------------------------------------

  bool is_current(const std::string& branch) const {
    reference_handle head;
    if (git_reference_lookup(out(head), repository_, "HEAD") != 0) return false;
    const auto* on = git_reference_symbolic_target(head.get());
    return on != nullptr && std::string(branch_prefix) + branch == on;
  }

  result<void> choose_head() {
    head_.branch = plan_.head_branch;
    if (head_.branch.empty()) return {};
    reference_handle ref;
    const auto name = std::string(branch_prefix) + head_.branch;
    const auto rc = git_reference_lookup(out(ref), repository_, name.c_str());
    if (rc == GIT_ENOTFOUND) {
      head_.moves_branch = plan_.head.has_value();
      return {};
    }
    if (rc != 0) return last_error(rc, name);
    if (!plan_.head)
      return error{error_code::conflict, head_.branch,
                   "has commits in this clone, and had none in the point; rename the branch here and try again"};
    git_oid tip{};
    if (const auto failed = git_reference_name_to_id(&tip, repository_, name.c_str()); failed != 0)
      return last_error(failed, name);
    const bool elsewhere = !is_current(head_.branch) && git_branch_is_checked_out(ref.get()) == 1;
    if (!elsewhere && same(tip, *plan_.head)) return {};
    auto forward = is_reachable(repository_, tip, *plan_.head);
    if (!forward) return forward.error();
    head_.moves_branch = !elsewhere && *forward;
    if (head_.moves_branch) return {};
    head_.reported = fmt::format(
        "HEAD was on branch {}, which is {} here: HEAD is detached at {}", head_.branch,
        elsewhere ? "checked out in another worktree" : "at another commit (" + to_hex(tip) + ")", to_hex(*plan_.head));
    head_.branch.clear();
    return {};
  }

  result<void> move_head() {
    if (!head_.reported.empty()) applied_.reported.push_back(head_.reported);
    if (plan_.branch && point_.found.point.branch != head_.branch && (!plan_.head || !same(*plan_.branch, *plan_.head)))
      applied_.reported.push_back(fmt::format("the agent's branch {} was at {}; no branch of this clone was set to it",
                                              point_.found.point.branch, to_hex(*plan_.branch)));
    int rc = 0;
    if (head_.moves_branch) {
      reference_handle ref;
      const auto name = std::string(branch_prefix) + head_.branch;
      rc = git_reference_create(out(ref), repository_, name.c_str(), &*plan_.head, 1, "townkeeper: recovery apply");
      if (rc != 0) return last_error(rc, name);
    }
    applied_.head = head_.branch.empty() ? to_hex(*plan_.head) : head_.branch;
    // Not git_repository_set_head: it takes a branch that HEAD names and that is unborn for a mistake.
    const auto content =
        head_.branch.empty() ? to_hex(*plan_.head) + '\n' : fmt::format("ref: {}{}\n", branch_prefix, head_.branch);
    return replace_file(admin_.get(), "HEAD", content);
  }

  // -- files ----------------------------------------------------------------------

  result<void> read() {
    auto files = read_files(objects_, plan_.layers, nobody_);
    if (!files) return files.error();
    files_ = std::move(*files);
    report_refused(files_.refused, applied_.reported);
    git_oid head{};
    if (const auto rc = git_reference_name_to_id(&head, repository_, "HEAD"); rc == 0) {
      auto tree = tree_of(objects_.repository(), head);
      if (!tree) return tree.error();
      auto now = read_manifest(objects_, *tree, nobody_, &ignored_);
      if (!now) return now.error();
      now_ = std::move(*now);
    } else if (rc != GIT_ENOTFOUND) {
      return last_error(rc, "HEAD");
    }
    find_unchanged();
    return {};
  }

  /// What stays as it lies there. Where attributes may differ, every file is written again.
  void find_unchanged() {
    const bool all_anew =
        now_.has_attributes_file || files_.worktree.has_attributes_file || files_.untracked.has_attributes_file;
    std::map<std::string_view, const manifest_entry*> wanted;
    for (const auto& entry : files_.all)
      wanted.emplace(entry.path, &entry);
    for (const auto& entry : now_.entries) {
      const auto found = wanted.find(entry.path);
      if (found == wanted.end() || found->second->as_it_is || found->second->mode != entry.mode) continue;
      const bool same_file = !all_anew && same(found->second->id, entry.id);
      if (same_file || entry.mode == mode_submodule) unchanged_.insert(entry.path);
    }
  }

  /// Nothing that git ignores is written over.
  result<void> check_free() {
    std::set<std::string_view> tracked;
    for (const auto& entry : now_.entries) {
      tracked.insert(entry.path);
      for (auto at = entry.path.find('/'); at != std::string::npos; at = entry.path.find('/', at + 1))
        tracked.insert(std::string_view(entry.path).substr(0, at));
    }
    directory_stack directories(root_.get());
    for (const auto& entry : files_.all) {
      if (tracked.contains(entry.path)) continue;
      auto directory = directories.enter(parent_of(entry.path), directory_stack::on_missing::fail);
      struct stat st {};
      if (directory && ::fstatat(*directory, leaf_of(entry), &st, AT_SYMLINK_NOFOLLOW) == 0)
        return error{error_code::dirty, printable(entry.path),
                     "is an ignored file here, and the point has one of that name; move it away and try again"};
    }
    return {};
  }

  result<void> remove_old() {
    directory_stack directories(root_.get());
    // clang 14 cannot compile the reverse_view of libstdc++ 12 that is asked for in place of the iterators.
    // NOLINTNEXTLINE(modernize-loop-convert)
    for (auto at = now_.entries.rbegin(); at != now_.entries.rend(); ++at) {
      if (unchanged_.contains(at->path)) continue;
      auto directory = directories.enter(parent_of(at->path), directory_stack::on_missing::fail);
      if (!directory) continue;
      const int flags = at->mode == mode_submodule ? AT_REMOVEDIR : 0;
      if (::unlinkat(*directory, leaf_of(*at), flags) != 0 && errno != ENOENT)
        return disk_error(errno, printable(at->path), "cannot be removed");
      remove_emptied(directories, std::string(parent_of(at->path)));
    }
    return {};
  }

  static void remove_emptied(directory_stack& directories, std::string path) {
    while (!path.empty()) {
      const std::string above(parent_of(path));
      auto directory = directories.enter(above, directory_stack::on_missing::fail);
      if (!directory || ::unlinkat(*directory, leaf_of(path), AT_REMOVEDIR) != 0) return;
      path = above;
    }
  }

  result<void> write_new() {
    manifest all;
    all.entries = files_.all;
    all.has_attributes_file = files_.worktree.has_attributes_file || files_.untracked.has_attributes_file;
    auto conversion = checkout_conversion::open(objects_, plan_.layers.stash, all);
    if (!conversion) return conversion.error();
    worktree_writer writer(objects_, *conversion, nobody_);
    directory_stack directories(root_.get());
    for (const auto& entry : files_.all) {
      if (unchanged_.contains(entry.path)) continue;
      auto directory = directories.enter(parent_of(entry.path), directory_stack::on_missing::create);
      if (!directory) return directory.error();
      auto stamp = writer.write_one(*directory, leaf_of(entry), entry);
      if (!stamp) return stamp.error();
      written_.insert_or_assign(entry.path, written_file{&entry, *stamp});
    }
    for (auto& line : conversion->reports())
      applied_.reported.push_back(std::move(line));
    return write_nested_repositories(objects_, plan_.layers, root_.get(), nobody_, applied_.reported);
  }

  const clone_location& clone_;
  git_repository* repository_;
  object_store& objects_;
  located_point& point_;
  const cancel_flag nobody_;
  point_plan plan_;
  descriptor root_, admin_;
  head_target head_;
  point_files files_;
  manifest now_;
  std::vector<std::string> ignored_; ///< paths of HEAD's commit that git itself would not have written
  std::set<std::string_view> unchanged_;
  written_files written_;
  point_applied applied_;
};

} // namespace

result<point_applied> apply_point(const clone_location& clone, const std::string& point) {
  auto opened = open_point(clone, point);
  if (!opened) return opened.error();
  return applying(clone, opened->clone, opened->objects, opened->located).run();
}

} // namespace townkeeper::git
