#include "git/rig_refs.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "core/fault_point.hpp"
#include "git/git_error.hpp"
#include "git/loose_reader.hpp"
#include "git/object_id.hpp"
#include "git/point_tree.hpp"
#include "git/registration.hpp"
#include "git/repository_layout.hpp"
#include "git/repository_refs.hpp"

namespace townkeeper::git {
namespace {

namespace fs = std::filesystem;

constexpr const char* wanted_note = "townkeeper/rig-refs-wanted";
constexpr const char* stash_ref = "refs/stash";
constexpr std::string_view tag_prefix = "refs/tags/";

bool is_here(git_repository* repo, const std::string& id) {
  return peel(repo, id).has_value();
}

bool is_beside(const std::string& a, const std::string& b) {
  return a != b && !a.starts_with(b + "/") && !b.starts_with(a + "/");
}

/// Why a ref is not set; empty: it may be.
std::string objection_to(git_repository* repo, const std::string& name, const std::string& id,
                         const std::set<std::string>& agent_branches) {
  if (!name.starts_with(local_prefix) && !name.starts_with(tag_prefix)) return "it is neither branch nor tag";
  if (git_reference_is_valid_name(name.c_str()) != 1) return "git takes no such name";
  const bool is_free = std::all_of(agent_branches.begin(), agent_branches.end(),
                                   [&](const std::string& branch) { return is_beside(name, local_prefix + branch); });
  if (!is_free) return "the branch of an agent needs the name";
  if (!is_here(repo, id)) return "what it named, " + id + ", is neither in the point nor on the remote";
  return {};
}

/// One line of a reflog, with the committer of the stash commit itself; its subject is the message.
std::string stash_line(git_repository* repo, const std::string& from, const std::string& to) {
  const auto id = parse_oid(to);
  commit_handle commit;
  if (!id || git_commit_lookup(out(commit), repo, &*id) != 0) return {};
  const auto& who = *git_commit_committer(commit.get());
  const char* subject = git_commit_summary(commit.get());
  const int minutes = who.when.offset < 0 ? -who.when.offset : who.when.offset;
  return fmt::format("{} {} {} <{}> {} {}{:02}{:02}\t{}\n", from, to, who.name, who.email, who.when.time,
                     who.when.offset < 0 ? '-' : '+', minutes / 60, minutes % 60, subject == nullptr ? "" : subject);
}

/// Ref and reflog of the stash list, oldest entry first in the file, as git keeps it (git-stash(1)).
result<std::int64_t> set_stash(git_repository* repo, const fs::path& repository,
                               const std::vector<std::string>& newest_first, std::vector<std::string>& healed) {
  std::string log, last = null_oid_hex;
  std::int64_t count = 0;
  const std::vector<std::string> oldest_first(newest_first.rbegin(), newest_first.rend());
  for (const auto& entry : oldest_first) {
    const auto line = stash_line(repo, last, entry);
    if (line.empty()) {
      healed.push_back(fmt::format("stash entry {} is not in the point and was passed over", entry));
      continue;
    }
    log += line;
    last = entry;
    ++count;
  }
  const auto newest = parse_oid(last);
  if (count == 0 || !newest) return 0;
  if (const int failed = fault_point("stash-set"); failed != 0)
    return disk_error(repository / stash_ref, "cannot be set", failed);
  reference_handle made;
  if (const int code = git_reference_create(out(made), repo, stash_ref, &*newest, 1, nullptr); code < 0)
    return last_error(code, stash_ref);
  if (const int failed = fault_point("stash-log-written"); failed != 0)
    return disk_error(repository / "logs" / stash_ref, "cannot be written", failed);
  if (auto ready = make_directories(repository / "logs" / "refs"); !ready) return ready.error();
  if (auto written = write_file(repository / "logs" / stash_ref, log); !written) return written.error();
  return count;
}

} // namespace

result<void> want_rig_refs(const fs::path& repository) {
  if (const int failed = fault_point("rig-refs-noted"); failed != 0)
    return disk_error(repository / wanted_note, "cannot write", failed);
  return write_file(repository / wanted_note, "");
}

bool rig_refs_are_wanted(const fs::path& repository) {
  std::error_code ignored;
  return fs::exists(repository / wanted_note, ignored);
}

void rig_refs_have_come(const fs::path& repository) {
  std::error_code ignored;
  fs::remove(repository / wanted_note, ignored);
}

std::vector<std::string> refs_to_fetch_for(git_repository* repository, const point_refs& refs,
                                           const advertisement& remote) {
  std::set<std::string> fetch, missing;
  for (const auto& [name, id] : refs.refs) {
    if (is_here(repository, id)) continue;
    missing.insert(id);
    if (remote.refs.contains(name)) fetch.insert(name);
  }
  for (const auto& [name, id] : remote.refs)
    if (missing.contains(id)) fetch.insert(name);
  return {fetch.begin(), fetch.end()};
}

result<std::int64_t> set_rig_refs(const fs::path& repository, const point_parts& point,
                                  const std::set<std::string>& agent_branches, bool is_new,
                                  std::vector<std::string>& healed) {
  repository_handle repo;
  if (const int code = open_bare_repository(out(repo), repository.c_str()); code < 0)
    return last_error(code, repository.string());
  std::int64_t count = 0;
  for (const auto& [name, id] : point.refs.refs) {
    const auto here = target_of(repo.get(), name);
    if (here == id) continue;
    auto objection = objection_to(repo.get(), name, id, agent_branches);
    if (objection.empty() && !is_new && !here.empty()) objection = "it is here already, and names " + here;
    const auto target = parse_oid(id);
    if (objection.empty() && target) {
      if (const int failed = fault_point("rig-ref-set"); failed != 0)
        return disk_error(repository / name, "cannot be set", failed);
      reference_handle made;
      const int code = git_reference_create(out(made), repo.get(), name.c_str(), &*target, 1, nullptr);
      if (code == 0) {
        ++count;
        continue;
      }
      auto why = last_error(code, name);
      if (why.code == error_code::disk) return why;
      objection = std::move(why.message);
    }
    healed.push_back(fmt::format("{} of the recovery point did not come back: {}", name, objection));
  }
  // A ref without its log is what a crash left: it shows no entry.
  std::error_code ignored;
  if (!is_new && !target_of(repo.get(), stash_ref).empty() && fs::exists(repository / "logs" / stash_ref, ignored))
    return count;
  const auto stashed = set_stash(repo.get(), repository, point.refs.stash, healed);
  if (!stashed) return stashed.error();
  return count + *stashed;
}

} // namespace townkeeper::git
