#include "git/fetch.hpp"

#include <fmt/core.h>
#include <git2/sys/errors.h>

#include <optional>
#include <string_view>
#include <utility>

#include "core/secret.hpp"
#include "git/git_error.hpp"

namespace townkeeper::git {
namespace {

constexpr std::size_t sha1_hex_length = 40;
constexpr int max_redirects = 3;

std::string hex(const git_oid& id) {
  std::string text(sha1_hex_length, '\0');
  git_oid_fmt(text.data(), &id);
  return text;
}

/// What an HTTP status other than 200 means for a rig.
error from_status(const transfer_watch& watch, int status, const std::string& retry_after) {
  const auto& rig = watch.job().rig_id;
  const auto wait = retry_after.empty() ? "" : fmt::format("; it asks to wait (Retry-After: {})", retry_after);
  switch (status) {
  case 401:
    return {error_code::unauthorized, rig, "the remote refuses the credentials (401)"};
  case 403:
    return {error_code::forbidden, rig, "the remote forbids it to these credentials (403): check the token's scope"};
  case 404:
  case 410:
    return {error_code::not_found, rig, fmt::format("the remote has no such repository ({}): check the URL", status)};
  case 429:
    return {error_code::rate_limited, rig, "the remote limits requests (429)" + wait};
  case 408:
    return {error_code::timed_out, rig, "the remote gave up waiting (408)"};
  default:
    break;
  }
  if (status >= 500) return {error_code::unavailable, rig, fmt::format("the remote has trouble ({}){}", status, wait)};
  return {error_code::corrupt, rig, fmt::format("the remote answers {}: no git server speaks at this URL", status)};
}

/// Where a redirect leads, when it may be followed: to another repository path of the same server, or from plain http
/// to https on the same host. RFC 9110 section 10.2.2; the rest of the path is git's (gitprotocol-http(5)).
std::optional<std::string> redirected_url(const std::string& from_url, std::string location, const url_policy& policy) {
  constexpr std::string_view service = "?service=git-upload-pack", path = "/info/refs";
  const auto from = parse_url(from_url);
  if (location.starts_with('/') && !location.starts_with("//"))
    location.insert(0, from_url, 0, from_url.find('/', from_url.find("://") + 3));
  if (location.ends_with(service)) location.resize(location.size() - service.size());
  if (!location.ends_with(path)) return std::nullopt;
  location.resize(location.size() - path.size());
  const auto to = parse_url(location);
  if (!from || !to || !check_url(location, policy) || to->host != from->host) return std::nullopt;
  const bool same_server = to->kind == from->kind && to->port == from->port;
  const bool more_secure = from->kind == remote_address::scheme::http && to->kind == remote_address::scheme::https;
  return same_server || more_secure ? std::optional(std::move(location)) : std::nullopt;
}

} // namespace

const std::string* advertisement::branch(const std::string& name) const {
  const auto found = refs.find("refs/heads/" + name);
  return found == refs.end() ? nullptr : &found->second;
}

int give_credentials(git_credential** out, const char*, const char*, unsigned allowed, void* payload) {
  auto& self = *static_cast<fetch_session*>(payload);
  const auto& login = self.job_.login;
  if (!login || login->token.empty()) {
    self.watch_.fail(error_code::unauthorized, "the remote asks for credentials and this rig has none (401)");
  } else if (!may_carry_credentials(self.watch_.peer())) {
    self.watch_.fail(error_code::unauthorized, "the remote asks for credentials, and they are not sent over plain http "
                                               "(only to loopback): use an https URL");
  } else if (std::exchange(self.credentials_given_, true)) {
    self.watch_.fail(error_code::unauthorized, "the remote refuses the credentials (401)");
  } else if ((allowed & GIT_CREDENTIAL_USERPASS_PLAINTEXT) == 0) {
    self.watch_.fail(error_code::unauthorized, "the remote wants a kind of authentication other than Basic");
  } else {
    return git_credential_userpass_plaintext_new(out, login->username.c_str(), login->token.reveal().c_str());
  }
  git_error_set_str(GIT_ERROR_HTTP, "no usable credentials");
  return GIT_EAUTH;
}

/// The callbacks libgit2 gets, the same for connecting and downloading.
struct session_callbacks {
  static int on_sideband(const char*, int, void* payload) {
    return static_cast<fetch_session*>(payload)->watch_.ended() ? GIT_EUSER : 0;
  }
  static int on_transfer(const git_indexer_progress*, void* payload) { return on_sideband(nullptr, 0, payload); }

  static void install(git_remote_callbacks& callbacks, fetch_session& session) {
    callbacks.credentials = give_credentials;
    callbacks.sideband_progress = on_sideband;
    callbacks.transfer_progress = on_transfer;
    callbacks.payload = &session;
  }
};

fetch_session::fetch_session(const repository_job& job, std::string url, remote_address peer, repository_handle repo,
                             const transfer_observer& observe)
    : job_(job)
    , url_(std::move(url))
    , observe_(observe)
    , watch_(job, std::move(peer))
    , repo_(std::move(repo)) {}

fetch_session::~fetch_session() = default;

error fetch_session::failure(int code) const {
  if (const auto& reason = watch_.failure()) return {reason->code, reason->object, redact(reason->message)};
  const auto& head = const_cast<transfer_watch&>(watch_).response();
  if (head.status() != 0 && head.status() != 200) return from_status(watch_, head.status(), head.retry_after());
  if (watch_.remote_is_shallow())
    return {error_code::unsupported, job_.rig_id,
            "the remote is a shallow clone (shallow history), which cannot be fetched from; use a complete repository"};
  auto told = last_error(code, job_.rig_id);
  const auto says = [&](std::string_view part) { return told.message.find(part) != std::string::npos; };
  if (says("not our ref")) return {error_code::conflict, job_.rig_id, "the remote moved while it was read"};
  if (says("content-type") || says("invalid response") || says("packet"))
    return {error_code::corrupt, job_.rig_id, "no git server speaks at this URL: " + told.message};
  if (says("early EOF") || says("unexpected EOF") || says("connection"))
    return {error_code::unavailable, job_.rig_id, "the remote ended the answer too early: " + told.message};
  if (told.code == error_code::unsupported) return told;
  if (told.code == error_code::internal || told.code == error_code::not_found)
    return {error_code::corrupt, job_.rig_id, "the remote's answer makes no sense: " + told.message};
  if (told.code == error_code::corrupt) told.message = "the pack that came is damaged: " + told.message;
  return told;
}

result<std::unique_ptr<fetch_session>> fetch_session::open(const repository_job& job, repository_handle repo,
                                                           bool may_be_thin, const transfer_observer& observe) {
  auto url = job.url;
  for (int redirects = 0;; ++redirects) {
    auto peer = parse_url(url);
    if (!peer) return peer.error();
    std::unique_ptr<fetch_session> session(new fetch_session(job, url, std::move(*peer), std::move(repo), observe));
    const auto connected = session->connect(may_be_thin);
    if (connected) return session;
    if (connected.error().code != error_code::redirect_refused || redirects == max_redirects) return connected.error();
    auto next = redirected_url(url, session->watch_.response().location(), job.urls);
    if (!next) return connected.error();
    url = std::move(*next);
    session->remote_.reset();
    repo = std::move(session->repo_);
  }
}

result<void> fetch_session::connect(bool may_be_thin) {
  git_remote_create_options create = GIT_REMOTE_CREATE_OPTIONS_INIT;
  create.repository = repo_.get();
  // An agent can write `url.<other>.insteadOf` into the repository's configuration: it must not send our credentials
  // elsewhere.
  create.flags = GIT_REMOTE_CREATE_SKIP_INSTEADOF | GIT_REMOTE_CREATE_SKIP_DEFAULT_FETCHSPEC;
  if (const int code = git_remote_create_with_opts(out(remote_), url_.c_str(), &create); code < 0)
    return last_error(code, job_.rig_id);
  git_remote_connect_options options = GIT_REMOTE_CONNECT_OPTIONS_INIT;
  session_callbacks::install(options.callbacks, *this);
  options.follow_redirects = GIT_REMOTE_REDIRECT_NONE;
  if (watch_.ended()) return failure(GIT_EUSER);
  if (const int code = git_remote_connect_ext(remote_.get(), GIT_DIRECTION_FETCH, &options); code < 0)
    return failure(code);
  if (auto ready = receive_packs(repo_.get(), may_be_thin, watch_, observe_, received_); !ready) return ready;
  return read_advertisement();
}

result<void> fetch_session::read_advertisement() {
  const git_remote_head** heads = nullptr;
  std::size_t count = 0;
  if (const int code = git_remote_ls(&heads, &count, remote_.get()); code < 0) return failure(code);
  for (std::size_t i = 0; i < count; ++i) {
    const std::string_view name = heads[i]->name;
    if (name.starts_with("refs/") && !name.ends_with("^{}")) advertised_.refs.emplace(name, hex(heads[i]->oid));
  }
  return {};
}

result<void> fetch_session::download(const std::vector<std::string>& refs) {
  std::vector<std::string> specs;
  specs.reserve(refs.size());
  for (const auto& ref : refs)
    specs.push_back("+" + ref + ":" + ref);
  std::vector<char*> pointers;
  pointers.reserve(specs.size());
  for (auto& spec : specs)
    pointers.push_back(spec.data());
  const git_strarray list{pointers.data(), pointers.size()};
  git_fetch_options options = GIT_FETCH_OPTIONS_INIT;
  session_callbacks::install(options.callbacks, *this);
  options.download_tags = GIT_REMOTE_DOWNLOAD_TAGS_NONE;
  options.follow_redirects = GIT_REMOTE_REDIRECT_NONE;
  options.update_fetchhead = 0;
  credentials_given_ = false;
  if (observe_) observe_({received_.bytes, received_.objects, received_.objects, true});
  if (const int code = git_remote_download(remote_.get(), &list, &options); code < 0) return failure(code);
  return {};
}

} // namespace townkeeper::git
