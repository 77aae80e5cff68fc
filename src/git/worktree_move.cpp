#include "git/worktree_move.hpp"

#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "core/fault_point.hpp"
#include "core/ids.hpp"
#include "git/checkout_conversion.hpp"
#include "git/directory_stack.hpp"
#include "git/file_comparison.hpp"
#include "git/local_branch.hpp"
#include "git/manifest_difference.hpp"
#include "git/object_cache.hpp"
#include "git/object_id.hpp"
#include "git/path_rules.hpp"
#include "git/registration.hpp"
#include "git/worktree_index.hpp"
#include "git/worktree_target.hpp"
#include "git/worktree_writer.hpp"

namespace townkeeper::git {
namespace {

/// `<from> <to> <branch>` in the registration while a move is under way.
constexpr const char* move_note = "townkeeper-move";
constexpr std::size_t max_note_bytes = 4096;
constexpr const char* next_file = "next";

std::string note_text(const worktree_move& move) {
  return fmt::format("{} {} {}\n", move.from ? to_hex(*move.from) : null_oid_hex, to_hex(move.to), move.branch);
}

std::optional<worktree_move> read_note(int registration) {
  const auto text = read_small_file(registration, move_note, max_note_bytes);
  if (!text) return std::nullopt;
  const auto first = text->find(' ');
  const auto second = first == std::string::npos ? first : text->find(' ', first + 1);
  if (second == std::string::npos || text->back() != '\n') return std::nullopt;
  const auto from = parse_oid(std::string_view(*text).substr(0, first));
  const auto to = parse_oid(std::string_view(*text).substr(first + 1, second - first - 1));
  worktree_move move;
  move.branch = text->substr(second + 1, text->size() - second - 2);
  if (!from || !to || !is_valid_branch(move.branch)) return std::nullopt;
  if (git_oid_is_zero(&*from) == 0) move.from = *from;
  move.to = *to;
  return move;
}

/// One of the two commits, and how its files look on the disk.
struct side {
  manifest files;
  std::optional<checkout_conversion> conversion; ///< none: no commit, no files

  static result<side> read(object_store& objects, const std::optional<git_oid>& commit, const cancel_flag& cancel) {
    side s;
    if (!commit) return s;
    auto tree = tree_of(objects.repository(), *commit);
    if (!tree) return tree.error();
    auto files = read_manifest(objects, *tree, cancel);
    if (!files) return files.error();
    s.files = std::move(*files);
    auto conversion = checkout_conversion::open(objects, *commit, s.files);
    if (!conversion) return conversion.error();
    s.conversion.emplace(std::move(*conversion));
    return s;
  }
};

class mover {
public:
  mover(const worktree_place& place, object_store& objects, worktree_move move, const cancel_flag& cancel, bool resumed)
      : place_(place)
      , objects_(objects)
      , move_(std::move(move))
      , cancel_(cancel)
      , resumed_(resumed) {}

  result<worktree_moved> run(const worktree_observer& observe) {
    progress_reporter progress(observe, worktree_step::files);
    if (auto done = prepare(); !done) return done.error();
    if (auto done = check_disk(); !done) return done.error();
    if (const int failed = fault_point("move-noted"); failed != 0)
      return disk_error(failed, move_note, "cannot be written");
    if (!resumed_)
      if (auto done = put_file(place_, registration_.get(), move_note, note_text(move_)); !done) return done.error();
    progress.begin(worktree_step::files, static_cast<std::int64_t>(changes_.written.size()));
    if (auto done = remove_old(); !done) return done.error();
    if (auto done = write_new(progress); !done) return done.error();
    if (auto done = write_index(); !done) return done.error();
    if (auto done = move_head(); !done) return done.error();
    progress.finish();
    return std::move(done_);
  }

private:
  result<void> prepare() {
    auto root = open_directory(place_.worktrees.get(), place_.agent_id.c_str(), place_.worktree.native());
    if (!root) return root.error();
    root_ = std::move(*root);
    auto opened = open_directory(place_.registrations.get(), place_.agent_id.c_str(), place_.registration.native());
    if (!opened) return opened.error();
    registration_ = std::move(*opened);
    auto from = side::read(objects_, move_.from, cancel_);
    if (!from) return from.error();
    from_ = std::move(*from);
    auto to = side::read(objects_, move_.to, cancel_);
    if (!to) return to.error();
    to_ = std::move(*to);
    changes_ = difference(from_.files, to_.files);
    if (auto done = add_other_conversions(); !done) return done;
    for (const auto* entry : changes_.removed)
      removed_.insert(entry->path);
    for (const auto& w : changes_.written)
      written_.insert(w.entry->path);
    if (auto index = open_index(place_)) {
      auto stamps = trustworthy_stamps(place_, index->get());
      if (!stamps) return stamps.error();
      stamps_ = std::move(*stamps);
    } else if (index.error().code != error_code::not_found) {
      return index.error();
    }
    return {};
  }

  /// A changed `.gitattributes` gives other bytes to files whose blobs did not change.
  result<void> add_other_conversions() {
    const auto is_attributes = [](const manifest_entry* e) {
      return e != nullptr && std::string_view(leaf_of(*e)) == ".gitattributes";
    };
    const bool changed =
        std::any_of(changes_.removed.begin(), changes_.removed.end(), is_attributes) ||
        std::any_of(changes_.written.begin(), changes_.written.end(), [&](auto& w) { return is_attributes(w.entry); });
    if (!changed || !from_.conversion) return {};
    std::set<std::string_view> written;
    for (const auto& w : changes_.written)
      written.insert(w.entry->path);
    auto old = from_.files.entries.begin();
    std::string before, after;
    for (const auto& entry : to_.files.entries) {
      if (is_cancelled(cancel_)) return cancelled_error(place_.agent_id);
      while (old != from_.files.entries.end() && old->path < entry.path)
        ++old;
      const bool is_file = entry.mode == mode_file || entry.mode == mode_executable;
      if (old == from_.files.entries.end() || old->path != entry.path || !is_file || written.contains(entry.path))
        continue;
      auto blob = objects_.read(entry.id, GIT_OBJECT_BLOB);
      if (!blob) return blob.error();
      if (from_.conversion->to_worktree(*old, (*blob)->bytes, before) !=
          to_.conversion->to_worktree(entry, (*blob)->bytes, after))
        changes_.written.push_back({&entry, &*old});
    }
    return {};
  }

  // -- before anything is touched ---------------------------------------------

  error in_the_way(std::string_view path) const {
    return {error_code::dirty, printable(path), "holds something that no commit put there"};
  }

  result<void> check_disk() {
    directory_stack directories(root_.get());
    for (const auto* entry : changes_.removed)
      if (!written_.contains(entry->path))
        if (auto done = check_path(directories, *entry, entry); !done) return done;
    for (const auto& w : changes_.written)
      if (auto done = check_path(directories, *w.entry, w.replaced); !done) return done;
    return {};
  }

  /// `entry` is what the path is for; `old` what the old commit has there, if anything.
  result<void> check_path(directory_stack& directories, const manifest_entry& entry, const manifest_entry* old) {
    if (is_cancelled(cancel_)) return cancelled_error(place_.agent_id);
    const auto* leaf = leaf_of(entry);
    auto directory = directories.enter(parent_of(entry.path), directory_stack::on_missing::fail);
    if (!directory) {
      if (directory.error().code == error_code::not_found) return absent(entry, old);
      if (directory.error().code == error_code::disk) return directory.error();
      return lies_below_a_change(entry.path) ? result<void>() : in_the_way(entry.path);
    }
    struct stat st {};
    if (::fstatat(*directory, leaf, &st, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) return absent(entry, old);
      return disk_error(errno, printable(entry.path), "cannot be examined");
    }
    auto mine = holds_a_commit(*directory, leaf, entry, old, st);
    if (!mine) return mine.error();
    return *mine ? result<void>() : in_the_way(entry.path);
  }

  result<void> absent(const manifest_entry& entry, const manifest_entry* old) const {
    return old == nullptr || resumed_ ? result<void>() : in_the_way(entry.path);
  }

  /// Some directory of the path is a file or link now, which goes before the path comes (or, resumed, has come).
  bool lies_below_a_change(std::string_view path) const {
    for (auto end = path.find('/'); end != std::string_view::npos; end = path.find('/', end + 1)) {
      const auto above = path.substr(0, end);
      if (removed_.contains(above) || (resumed_ && written_.contains(above))) return true;
    }
    return false;
  }

  result<bool> holds_a_commit(int directory, const char* leaf, const manifest_entry& entry, const manifest_entry* old,
                              const struct stat& st) {
    if (S_ISDIR(st.st_mode)) return directory_may_go(directory, leaf, entry);
    if (old != nullptr) {
      const auto known = stamps_.find(old->path);
      if (!resumed_ && known != stamps_.end() && known->second == stamp_of(st)) return true;
      auto same = file_comparison(objects_, *from_.conversion).stamp_if_same(directory, leaf, *old);
      if (!same || *same) return same ? result<bool>(true) : same.error();
    }
    if (old == &entry) return false;
    auto same = file_comparison(objects_, *to_.conversion).stamp_if_same(directory, leaf, entry);
    return same ? result<bool>(same->has_value()) : same.error();
  }

  /// A directory stands where the path is: empty (a submodule's, for one), or one whose files all go.
  result<bool> directory_may_go(int directory, const char* leaf, const manifest_entry& entry) {
    auto opened = open_directory(directory, leaf, printable(entry.path));
    if (!opened) return opened.error();
    auto names = list_directory(opened->get(), printable(entry.path));
    if (!names) return names.error();
    if (names->empty()) return true;
    return only_removed(opened->get(), std::string(entry.path), *names);
  }

  result<bool> only_removed(int directory, const std::string& path, const std::vector<std::string>& names) {
    if (names.empty()) return false;
    for (const auto& name : names) {
      const auto below = path + '/' + name;
      if (removed_.contains(below) || (resumed_ && written_.contains(below))) continue;
      struct stat st {};
      if (::fstatat(directory, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(st.st_mode)) return false;
      auto opened = open_directory(directory, name.c_str(), printable(below));
      if (!opened) return opened.error();
      auto more = list_directory(opened->get(), printable(below));
      if (!more) return more.error();
      auto all = only_removed(opened->get(), below, *more);
      if (!all || !*all) return all;
    }
    return true;
  }

  // -- the change -------------------------------------------------------------

  result<void> remove_old() {
    directory_stack directories(root_.get());
    // NOLINTNEXTLINE(modernize-loop-convert): clang 14 cannot compile libstdc++'s reversed views
    for (auto at = changes_.removed.rbegin(); at != changes_.removed.rend(); ++at) {
      if (is_cancelled(cancel_)) return cancelled_error(place_.agent_id);
      const auto& entry = **at;
      auto directory = directories.enter(parent_of(entry.path), directory_stack::on_missing::fail);
      if (!directory) {
        if (directory.error().code == error_code::disk) return directory.error();
        continue; // gone already
      }
      const int flags = entry.mode == mode_submodule ? AT_REMOVEDIR : 0;
      if (const int failed = fault_point("old-file-removed"); failed != 0)
        return disk_error(failed, printable(entry.path), "cannot be removed");
      // EISDIR, ENOTDIR: an interrupted attempt has put the new thing there already.
      if (::unlinkat(*directory, leaf_of(entry), flags) != 0 && errno != ENOENT && errno != EISDIR && errno != ENOTDIR)
        return disk_error(errno, printable(entry.path), "cannot be removed");
      remove_emptied(directories, std::string(parent_of(entry.path)));
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

  result<void> write_new(progress_reporter& progress) {
    auto staging = staging_directory::make(place_);
    if (!staging) return staging.error();
    directory_stack directories(root_.get());
    // One that has not compared anything yet, so that it reports on what is written.
    auto conversion = checkout_conversion::open(objects_, move_.to, to_.files);
    if (!conversion) return conversion.error();
    worktree_writer writer(objects_, *conversion, cancel_);
    for (const auto& w : changes_.written) {
      if (is_cancelled(cancel_)) return cancelled_error(place_.agent_id);
      auto directory = directories.enter(parent_of(w.entry->path), directory_stack::on_missing::create);
      if (!directory) return directory.error();
      auto stamp = put(*staging, writer, *directory, *w.entry);
      if (!stamp) return stamp.error();
      stamps_.insert_or_assign(std::string(w.entry->path), *stamp);
      progress.file_done();
    }
    done_.files_written = static_cast<std::int64_t>(changes_.written.size());
    done_.reported = conversion->reports();
    return {};
  }

  result<file_stamp> put(const staging_directory& staging, worktree_writer& writer, int directory,
                         const manifest_entry& entry) {
    const auto* leaf = leaf_of(entry);
    if (entry.mode == mode_submodule) {
      if (::mkdirat(directory, leaf, 0777) != 0 && errno != EEXIST)
        return disk_error(errno, printable(entry.path), "cannot be created");
    } else {
      if (auto written = writer.write_one(staging.fd(), next_file, entry); !written) return written;
      auto failed = fault_point("moved-file-placed");
      if (failed == 0 && ::renameat(staging.fd(), next_file, directory, leaf) != 0) failed = errno;
      // Only an empty directory can be there now.
      if (failed == EISDIR && ::unlinkat(directory, leaf, AT_REMOVEDIR) == 0)
        failed = ::renameat(staging.fd(), next_file, directory, leaf) != 0 ? errno : 0;
      if (failed != 0) return disk_error(failed, printable(entry.path), "cannot be put in place");
    }
    struct stat st {};
    if (::fstatat(directory, leaf, &st, AT_SYMLINK_NOFOLLOW) != 0)
      return disk_error(errno, printable(entry.path), "cannot be examined");
    return stamp_of(st); // after the rename, which changes the ctime
  }

  result<void> write_index() {
    std::vector<index_record> records;
    records.reserve(to_.files.entries.size());
    for (const auto& entry : to_.files.entries) {
      const auto known = stamps_.find(entry.path);
      records.push_back({entry.path, entry.id, entry.mode, known == stamps_.end() ? file_stamp{} : known->second});
    }
    auto index = serialise_index(records, to_.files.trees);
    if (!index) return index.error();
    if (const int failed = fault_point("moved-index-written"); failed != 0)
      return disk_error(failed, "index", "cannot be replaced");
    return replace_file(registration_.get(), "index", *index);
  }

  result<void> move_head() {
    auto* repository = objects_.repository();
    auto branch = read_branch(repository, move_.branch);
    if (!branch) return branch.error();
    if (!branch->tip || !same(*branch->tip, move_.to))
      if (auto done = set_branch(place_, repository, move_.branch, move_.to, branch->tip, "townkeeper: moved on");
          !done)
        return done;
    const auto wanted = head_content(move_.branch);
    if (const auto head = read_small_file(registration_.get(), "HEAD", max_note_bytes); !head || *head != wanted)
      if (auto done = replace_file(registration_.get(), "HEAD", wanted); !done) return done;
    note_in_reflog(registration_.get(), "logs/HEAD",
                   reflog_line(move_.from ? to_hex(*move_.from) : null_oid_hex, to_hex(move_.to),
                               "townkeeper: moved to " + move_.branch));
    if (const int failed = fault_point("move-note-removed"); failed != 0)
      return disk_error(failed, move_note, "cannot be removed");
    if (::unlinkat(registration_.get(), move_note, 0) != 0 && errno != ENOENT)
      return disk_error(errno, move_note, "cannot be removed");
    return {};
  }

  const worktree_place& place_;
  object_store& objects_;
  worktree_move move_;
  const cancel_flag& cancel_;
  bool resumed_;
  descriptor root_;
  descriptor registration_;
  side from_;
  side to_;
  manifest_difference changes_;
  std::set<std::string_view> removed_, written_;
  stamped_paths stamps_;
  worktree_moved done_;
};

} // namespace

result<worktree_moved> move_worktree(const worktree_place& place, git_repository* repository, const worktree_move& move,
                                     const cancel_flag& cancel, const worktree_observer& observe) {
  auto objects = object_store::open(repository);
  if (!objects) return objects.error();
  return mover(place, *objects, move, cancel, false).run(observe);
}

result<std::optional<worktree_moved>> finish_interrupted_move(const worktree_place& place, git_repository* repository,
                                                              const cancel_flag& cancel,
                                                              const worktree_observer& observe) {
  auto registration = open_directory(place.registrations.get(), place.agent_id.c_str(), place.registration.native());
  if (!registration) return registration.error();
  const auto move = read_note(registration->get());
  if (!move) {
    ::unlinkat(registration->get(), move_note, 0); // cut short: nothing had been touched yet
    return std::optional<worktree_moved>();
  }
  auto objects = object_store::open(repository);
  if (!objects) return objects.error();
  auto moved = mover(place, *objects, *move, cancel, true).run(observe);
  if (moved) return std::optional(std::move(*moved));
  if (moved.error().code == error_code::dirty) ::unlinkat(registration->get(), move_note, 0);
  return moved.error();
}

} // namespace townkeeper::git
