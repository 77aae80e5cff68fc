#pragma once

#include <sys/types.h>

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "fixed_answer.hpp"
#include "git_cli.hpp"
#include "lighttpd.hpp"
#include "private_ca.hpp"
#include "temp_dir.hpp"

namespace townkeeper::test {

/// What the server shows when it speaks TLS.
enum class certificate {
  none,       ///< plain http
  good,       ///< of `remote::ca_file()`, for the host of `remote::url()`
  wrong_host, ///< of `remote::ca_file()`, for another host
  unknown_ca, ///< for the right host, of an authority nobody was told about
};

struct remote_options {
  certificate tls = certificate::none;
};

struct repository_options {
  std::string default_branch = "main"; ///< what HEAD names
  bool empty = false;                  ///< true: no commit; false: one commit with a `README` on the default branch
  std::string object_format = "sha1";
};

/// A git server as the world has them: git's own `git-http-backend` behind lighttpd, on 127.0.0.1 and a free port;
/// reads and pushes over smart HTTP. Its repositories are bare ones below a directory of its own, made and changed by
/// git's command line.
///
/// The process is forked by the thread that constructs or starts it and dies with that thread (`PR_SET_PDEATHSIG`):
/// construct it in the test's own thread. What cannot be done throws `std::runtime_error`. Not thread-safe, but clients
/// may use the server meanwhile.
class remote {
public:
  explicit remote(remote_options options = {});
  remote(const remote&) = delete;
  remote& operator=(const remote&) = delete;

  // -- the server -----------------------------------------------------------

  /// `http://127.0.0.1:<port>/<name>.git`, https when it speaks TLS.
  std::string url(const std::string& name) const;
  int port() const noexcept { return server_.port(); }
  pid_t pid() const noexcept { return server_.pid(); }

  /// SIGKILL: connections break and new ones are refused. The port stays its own.
  void stop() { server_.stop(); }
  /// Starts it again on the same port.
  void start();
  bool running() const noexcept { return server_.running(); }

  /// Stops answering: connections are still accepted (by the kernel), and then nothing comes (SIGSTOP).
  void hang() { server_.hang(); }
  void resume() { server_.resume(); }

  /// Shows another certificate, or none, from now on (a restart).
  void set_certificate(certificate tls);
  /// The authority of its certificates (PEM); made at first use.
  const std::filesystem::path& ca_file();

  /// Every request git was asked to answer so far, oldest first: `GET /town.git/info/refs?service=git-upload-pack`. One
  /// that carried an Authorization header ends in ` +credentials`. Requests refused with 401 are not among them.
  std::vector<std::string> requests() const;
  /// What lighttpd and git wrote to their standard errors.
  std::string log() const { return server_.log(); }

  // -- one repository's manners ---------------------------------------------

  /// Demands HTTP Basic with this user and token for the repository (lighttpd's mod_auth); a second call rotates the
  /// token with no restart. A wrong token is answered after a second (lighttpd slows guessing down), a missing one at
  /// once.
  void demand_token(const std::string& name, const std::string& user, const std::string& token);
  void demand_nothing(const std::string& name);
  /// The token that is demanded has expired: it is refused, as any other is, until `demand_token` says the next one.
  void expire_token(const std::string& name);

  /// Answers every request for the repository with this, until `answer_normally`.
  void answer_with(const std::string& name, const fixed_answer& answer);
  /// The same for what is posted only: the advertisement is git's own.
  void answer_posts_with(const std::string& name, const fixed_answer& answer);
  void answer_normally(const std::string& name);

  /// Fetches are answered, pushes are refused (403), until it may be written to again.
  void set_read_only(const std::string& name, bool read_only) const;
  /// A hook of the repository (`pre-receive`, `update`, …), a script of /bin/sh without its first line.
  void put_hook(const std::string& name, const std::string& hook, const std::string& script) const;
  void remove_hook(const std::string& name, const std::string& hook) const;
  /// A quota, kept by a pre-receive hook: a push that brings more than so many bytes (KiB, as objects take on the disk)
  /// is refused with "quota exceeded".
  void set_quota(const std::string& name, int kib) const;
  /// A secret scanner or naming rule: a push with a file whose path matches this extended regular expression is
  /// refused with "path refused".
  void refuse_paths(const std::string& name, const std::string& expression) const;

  // -- repositories ---------------------------------------------------------

  /// Makes the bare repository `<name>.git`, which may be pushed to. Returns the id of its first commit (empty: none).
  std::string make_repository(const std::string& name, const repository_options& options = {});
  std::filesystem::path repository_path(const std::string& name) const;

  /// One more commit; see `commit_into`. Returns its id.
  std::string commit(const std::string& name, const new_commit& commit) const;
  /// The commit a branch names; empty when there is no such branch.
  std::string tip(const std::string& name, const std::string& branch) const;
  void delete_branch(const std::string& name, const std::string& branch) const;
  /// Points the repository's HEAD at a branch, existing or not.
  void set_default_branch(const std::string& name, const std::string& branch) const;

private:
  std::string configuration();
  void restart();
  std::filesystem::path certificate_file();
  const private_ca& authority();

  remote_options options_;
  temp_dir dir_{"remote"};
  std::vector<std::string> guarded_; ///< repositories that demand a token
  std::optional<private_ca> authority_;
  std::filesystem::path ca_file_;
  lighttpd server_{dir_.path()}; ///< after what it reads: it goes first
};

} // namespace townkeeper::test
