#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "git/fetch_pack.hpp"
#include "git/fetch_watch.hpp"
#include "git/handle.hpp"
#include "git/jobs.hpp"

namespace townkeeper::git {

/// What a remote says it has, from one advertisement.
struct advertisement {
  std::map<std::string, std::string>
      refs; ///< full name → commit (or tag) id in hex; no `HEAD`, no peeled `^{}` entries

  /// The commit of a branch, or null.
  const std::string* branch(const std::string& name) const;
};

/// One connection to the job's remote: the advertisement is read when it opens, and what is fetched afterwards is what
/// that advertisement named. Belongs to the thread that opened it.
class fetch_session {
public:
  /// Connects for `repo` (bare; may be empty) with the job's credentials, limits and policy. `may_be_thin` as in
  /// `receive_packs`. A redirect is followed only to another path of the same server, or from http to https there.
  /// Errors: `unauthorized`, `forbidden`, `not_found`, `rate_limited`, `unavailable`, `timed_out`, `tls_failed`,
  /// `redirect_refused`, `unsupported` (SHA-256), `corrupt` (no git server answers there), `cancelled`.
  static result<std::unique_ptr<fetch_session>> open(const repository_job& job, repository_handle repo,
                                                     bool may_be_thin, const transfer_observer& observe);

  const advertisement& remote() const noexcept { return advertised_; }
  git_repository* repository() const noexcept { return repo_.get(); }
  const received_pack& received() const noexcept { return received_; }

  /// Brings the objects of these advertised refs (full names), with their history, into the repository. Moves no ref.
  /// What the repository already has is not asked for again. `conflict`: the remote moved meanwhile and no longer gives
  /// what it advertised; open a new session.
  result<void> download(const std::vector<std::string>& refs);

  ~fetch_session();

private:
  fetch_session(const repository_job& job, std::string url, remote_address peer, repository_handle repo,
                const transfer_observer& observe);

  result<void> connect(bool may_be_thin);
  result<void> read_advertisement();
  error failure(int code) const;

  const repository_job& job_;
  const std::string url_; ///< the job's, or where its server redirected to on the same host
  const transfer_observer& observe_;
  transfer_watch watch_;
  received_pack received_;
  bool credentials_given_ = false;
  repository_handle repo_;
  remote_handle remote_; ///< after repo_: freed first
  advertisement advertised_;

  friend int give_credentials(git_credential** out, const char* url, const char* username, unsigned allowed,
                              void* payload);
  friend struct session_callbacks;
};

} // namespace townkeeper::git
