#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "git/fetch.hpp"
#include "git/jobs.hpp"

namespace townkeeper::git {

/// Where a point that was found at wake stays reachable as long as it may be needed, whatever an agent's `git gc` does:
/// `refs/townkeeper-restored/<agentId>`. Neither branch, tag nor remote: only `--all` and `--mirror` show it.
inline constexpr const char* restored_prefix = "refs/townkeeper-restored/";

/// Finds the recovery point of each wanted agent (DESIGN.md, "Which recovery point"), for one job. Belongs to one
/// thread.
class point_search {
public:
  point_search(const repository_job& job, const transfer_observer& observe)
      : job_(job)
      , observe_(observe) {}

  /// The advertised refs that are to be fetched together with the branches: for each agent that of the greatest epoch
  /// and the recorded one, as far as `repository` (empty path: there is nothing yet) has not got them whole.
  std::vector<std::string> refs_to_bring(const advertisement& remote, const std::filesystem::path& repository) const;

  /// After branches and points were fetched into `done.repository`: reads the points, fetches what could not come with
  /// the branches, and fills in `points`, `rig_refs_set` and `healed`. One agent's trouble is its own.
  /// `is_new`: the repository was made in this call. Errors: `disk`, where branches, tags or stash of the rig could not
  /// be written: whoever went on without them would save that they are gone.
  result<void> settle(const advertisement& remote, bool is_new, repository_restored& done);

private:
  struct advertised_point {
    std::string ref, commit;
    std::int64_t epoch = 0;
  };

  std::optional<advertised_point> greatest(const advertisement& remote, const std::string& prefix) const;
  std::optional<result<found_recovery>> find(const wanted_point& wanted, const advertisement& remote);
  result<found_recovery> read_advertised(const wanted_point& wanted, const advertised_point& point);
  result<found_recovery> obtain_recorded(const wanted_point& wanted);
  result<std::string> fetch(const repository_job& from, const std::string& ref, const std::string& commit);
  result<found_recovery> keep(const wanted_point& wanted, const std::string& commit, const std::string& ref);
  result<void> set_refs_of_rig(const advertisement& remote, bool is_new);

  const repository_job& job_;
  const transfer_observer& observe_;
  repository_restored* done_ = nullptr; ///< while settling
};

} // namespace townkeeper::git
