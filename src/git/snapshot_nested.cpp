#include "git/snapshot_nested.hpp"

#include <sys/stat.h>

#include <algorithm>

#include "git/descriptor.hpp"
#include "git/directory_stack.hpp"
#include "git/path_rules.hpp"
#include "git/tree_reader.hpp"

namespace townkeeper::git {
namespace {

class nested_reading {
public:
  nested_reading(int root, const std::string& repository, content_reader& contents,
                 std::vector<town::left_out_file>& left_out, const cancel_flag& cancel)
      : directories_(root)
      , repository_(repository)
      , contents_(contents)
      , left_out_(left_out)
      , cancel_(cancel) {}

  result<std::vector<tree_change>> run() {
    pending_.emplace_back();
    while (!pending_.empty()) {
      const auto below = std::move(pending_.back());
      pending_.pop_back();
      if (is_cancelled(cancel_)) return cancelled_error(repository_);
      if (auto done = look_at(below); !done) return done.error();
    }
    return std::move(changes_);
  }

private:
  std::string real(const std::string& below) const { return repository_ + "/.git" + below; }

  /// `below` is empty or begins with a slash.
  result<void> look_at(const std::string& below) {
    const auto path = real(below);
    auto parent = directories_.enter(parent_of(path), directory_stack::on_missing::fail);
    if (!parent) return {}; // gone meanwhile
    struct stat st {};
    if (::fstatat(*parent, leaf_of(path), &st, AT_SYMLINK_NOFOLLOW) != 0) return {};
    if (S_ISREG(st.st_mode)) return take(below, seen(st));
    if (!S_ISDIR(st.st_mode)) return {};
    auto directory = directories_.enter(path, directory_stack::on_missing::fail);
    if (!directory) return leave_out(path, directory.error().message);
    auto names = list_directory(*directory, path);
    if (!names) return leave_out(path, names.error().message);
    std::sort(names->begin(), names->end(), std::greater<>());
    for (const auto& name : *names) {
      if (name.ends_with(".lock")) continue;
      if (auto good = check_entry_name(name, entry_kind::file, path + '/' + name); !good) {
        if (auto done = leave_out(path + '/' + name, good.error().message); !done) return done;
        continue;
      }
      pending_.push_back(below + '/' + name);
    }
    return {};
  }

  result<void> take(const std::string& below, const seen_stat& stat) {
    auto outcome = contents_.read_exactly(real(below), stat);
    if (!outcome) return outcome.error();
    if (outcome->what == content_outcome::kind::left_out) return leave_out(real(below), outcome->reason);
    if (outcome->what == content_outcome::kind::read)
      changes_.push_back({"nested/" + repository_ + "/dot-git" + below, outcome->item});
    return {};
  }

  result<void> leave_out(const std::string& path, const std::string& reason) {
    left_out_.push_back({path, reason});
    return {};
  }

  directory_stack directories_;
  const std::string& repository_;
  content_reader& contents_;
  std::vector<town::left_out_file>& left_out_;
  const cancel_flag& cancel_;
  std::vector<std::string> pending_;
  std::vector<tree_change> changes_;
};

} // namespace

result<std::vector<tree_change>> read_nested_repository(int root, const std::string& path, content_reader& contents,
                                                        std::vector<town::left_out_file>& left_out,
                                                        const cancel_flag& cancel) {
  return nested_reading(root, path, contents, left_out, cancel).run();
}

} // namespace townkeeper::git
