#pragma once

#include <cstdint>
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

/// What a remote answered to an upload.
struct upload_report {
  bool unpacked = true;                       ///< false: it took nothing of the whole pack
  std::map<std::string, std::string> answers; ///< ref → why it was refused; empty: it was set. Unnamed: not answered
  std::string remote_says;                    ///< the end of what its hooks printed, one line
  std::int64_t sent_bytes = 0;                ///< of the pack
};

/// One connection to the job's remote: the advertisement is read when it opens, and what is fetched or pushed
/// afterwards goes by what that advertisement named. Belongs to the thread that opened it.
class fetch_session {
public:
  /// Connects for `repo` (bare; may be empty) with the job's credentials, limits and policy. `may_be_thin` as in
  /// `receive_packs`. A redirect is followed only to another path of the same server, or from http to https there.
  /// Errors: `unauthorized`, `forbidden`, `not_found`, `rate_limited`, `unavailable`, `timed_out`, `tls_failed`,
  /// `redirect_refused`, `unsupported` (SHA-256), `corrupt` (no git server answers there), `cancelled`.
  static result<std::unique_ptr<fetch_session>> open(const repository_job& job, repository_handle repo,
                                                     bool may_be_thin, const transfer_observer& observe);

  /// The same for pushing; only url, login, limits, policy, rig and cancel flag of the job matter. Also `too_large`
  /// (413).
  static result<std::unique_ptr<fetch_session>> open_for_push(const repository_job& job, repository_handle repo);

  const advertisement& remote() const noexcept { return advertised_; }
  git_repository* repository() const noexcept { return repo_.get(); }
  const received_pack& received() const noexcept { return received_; }

  /// Brings the objects of these advertised refs (full names), with their history, into the repository. Moves no ref.
  /// What the repository already has is not asked for again. `conflict`: the remote moved meanwhile and no longer gives
  /// what it advertised; open a new session.
  result<void> download(const std::vector<std::string>& refs);

  /// Pushes refspecs in one batch: sends what they name and what no advertised ref has that the repository knows. One
  /// upload a session. Errors as when opening; a refusal by the remote is none, but an answer.
  result<upload_report> upload(const std::vector<std::string>& refspecs);

  ~fetch_session();

private:
  enum class use { fetch, push };
  fetch_session(const repository_job& job, use purpose, std::string url, remote_address peer, repository_handle repo,
                const transfer_observer& observe);

  static result<std::unique_ptr<fetch_session>> connected(const repository_job& job, use purpose,
                                                          repository_handle repo, bool may_be_thin,
                                                          const transfer_observer& observe);
  result<void> connect(bool may_be_thin);
  result<void> read_advertisement();
  error failure(int code) const;

  const repository_job& job_;
  const use purpose_;
  const std::string url_; ///< the job's, or where its server redirected to on the same host
  const transfer_observer& observe_;
  transfer_watch watch_;
  received_pack received_;
  upload_report uploaded_;
  bool credentials_given_ = false;
  repository_handle repo_;
  remote_handle remote_; ///< after repo_: freed first
  advertisement advertised_;

  friend int give_credentials(git_credential** out, const char* url, const char* username, unsigned allowed,
                              void* payload);
  friend struct session_callbacks;
};

} // namespace townkeeper::git
