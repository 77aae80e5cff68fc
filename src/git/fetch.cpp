#include "git/fetch.hpp"

#include <fmt/core.h>
#include <git2/sys/errors.h>

#include <optional>
#include <string_view>
#include <utility>

#include "core/secret.hpp"
#include "git/git_error.hpp"
#include "git/push_settings.hpp"

namespace townkeeper::git {
namespace {

constexpr std::size_t sha1_hex_length = 40;
constexpr int max_redirects = 3;
constexpr std::size_t max_remote_words = 500;

/// The list of texts libgit2 takes, as long as it is needed.
class string_list {
public:
  explicit string_list(std::vector<std::string> texts)
      : texts_(std::move(texts)) {
    pointers_.reserve(texts_.size());
    for (auto& text : texts_)
      pointers_.push_back(text.data());
    list_ = {pointers_.data(), pointers_.size()};
  }
  string_list(const string_list&) = delete;
  string_list& operator=(const string_list&) = delete;
  const git_strarray* get() const noexcept { return &list_; }

private:
  std::vector<std::string> texts_;
  std::vector<char*> pointers_;
  git_strarray list_{};
};

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
  case 413:
    return {error_code::too_large, rig, "the remote takes no push of this size (413)"};
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
std::optional<std::string> redirected_url(const std::string& from_url, std::string location, std::string_view service,
                                          const url_policy& policy) {
  constexpr std::string_view path = "/info/refs";
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
  static int on_push_sideband(const char* text, int size, void* payload) {
    auto& says = static_cast<fetch_session*>(payload)->uploaded_.remote_says;
    says.append(text, static_cast<std::size_t>(size));
    if (says.size() > max_remote_words) says.erase(0, says.size() - max_remote_words);
    return on_sideband(nullptr, 0, payload);
  }
  static int on_packing(int, unsigned, unsigned, void* payload) { return on_sideband(nullptr, 0, payload); }
  static int on_sent(unsigned, unsigned, std::size_t bytes, void* payload) {
    static_cast<fetch_session*>(payload)->uploaded_.sent_bytes = static_cast<std::int64_t>(bytes);
    return on_sideband(nullptr, 0, payload);
  }
  static int on_answer(const char* ref, const char* refusal, void* payload) {
    static_cast<fetch_session*>(payload)->uploaded_.answers[ref] = refusal == nullptr ? "" : refusal;
    return 0;
  }

  static void install(git_remote_callbacks& callbacks, fetch_session& session) {
    callbacks.credentials = give_credentials;
    callbacks.sideband_progress = on_sideband;
    callbacks.transfer_progress = on_transfer;
    callbacks.payload = &session;
  }

  static void install_for_push(git_remote_callbacks& callbacks, fetch_session& session) {
    install(callbacks, session);
    callbacks.sideband_progress = on_push_sideband;
    callbacks.pack_progress = on_packing;
    callbacks.push_transfer_progress = on_sent;
    callbacks.push_update_reference = on_answer;
  }
};

fetch_session::fetch_session(const repository_job& job, use purpose, std::string url, remote_address peer,
                             repository_handle repo, const transfer_observer& observe)
    : job_(job)
    , purpose_(purpose)
    , url_(std::move(url))
    , observe_(observe)
    , watch_(job, std::move(peer))
    , repo_(std::move(repo)) {
  if (purpose_ == use::push) watch_.sends();
}

fetch_session::~fetch_session() = default;

error fetch_session::failure(int code) const {
  const auto& head = const_cast<transfer_watch&>(watch_).response();
  // A server may say no and close while the pack still goes out: the answer is truer than the broken connection.
  const bool answered_early = purpose_ == use::push && head.status() >= 400;
  if (const auto& reason = watch_.failure(); reason && !(answered_early && reason->code == error_code::unavailable))
    return {reason->code, reason->object, redact(reason->message)};
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
  return connected(job, use::fetch, std::move(repo), may_be_thin, observe);
}

result<std::unique_ptr<fetch_session>> fetch_session::open_for_push(const repository_job& job, repository_handle repo) {
  static const transfer_observer nobody;
  if (auto quick = pack_quickly(repo.get()); !quick) return quick.error();
  return connected(job, use::push, std::move(repo), false, nobody);
}

result<std::unique_ptr<fetch_session>> fetch_session::connected(const repository_job& job, use purpose,
                                                                repository_handle repo, bool may_be_thin,
                                                                const transfer_observer& observe) {
  const auto* service = purpose == use::fetch ? "?service=git-upload-pack" : "?service=git-receive-pack";
  auto url = job.url;
  for (int redirects = 0;; ++redirects) {
    auto peer = parse_url(url);
    if (!peer) return peer.error();
    std::unique_ptr<fetch_session> session(
        new fetch_session(job, purpose, url, std::move(*peer), std::move(repo), observe));
    const auto outcome = session->connect(may_be_thin);
    if (outcome) return session;
    if (outcome.error().code != error_code::redirect_refused || redirects == max_redirects) return outcome.error();
    auto next = redirected_url(url, session->watch_.response().location(), service, job.urls);
    if (!next) return outcome.error();
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
  const auto direction = purpose_ == use::fetch ? GIT_DIRECTION_FETCH : GIT_DIRECTION_PUSH;
  if (const int code = git_remote_connect_ext(remote_.get(), direction, &options); code < 0) return failure(code);
  if (purpose_ == use::push) return read_advertisement();
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
  string_list list(specs);
  git_fetch_options options = GIT_FETCH_OPTIONS_INIT;
  session_callbacks::install(options.callbacks, *this);
  options.download_tags = GIT_REMOTE_DOWNLOAD_TAGS_NONE;
  options.follow_redirects = GIT_REMOTE_REDIRECT_NONE;
  options.update_fetchhead = 0;
  credentials_given_ = false;
  if (observe_) observe_({received_.bytes, received_.objects, received_.objects, true});
  if (const int code = git_remote_download(remote_.get(), list.get(), &options); code < 0) return failure(code);
  return {};
}

result<upload_report> fetch_session::upload(const std::vector<std::string>& refspecs) {
  string_list list(refspecs);
  git_push_options options = GIT_PUSH_OPTIONS_INIT;
  session_callbacks::install_for_push(options.callbacks, *this);
  options.follow_redirects = GIT_REMOTE_REDIRECT_NONE;
  credentials_given_ = false;
  const int code = git_remote_upload(remote_.get(), list.get(), &options);
  for (auto& c : uploaded_.remote_says)
    if (c == '\n' || c == '\r') c = ' ';
  if (code == 0) return std::move(uploaded_);
  if (code == GIT_ENOTFOUND && !watch_.failure()) {
    auto gone = object_error(code, job_.rig_id);
    gone.message = "an object that is to be sent is not there: " + gone.message;
    return gone;
  }
  const auto* last = git_error_last();
  // Nothing but this text tells that the remote answered, and that the answer was no.
  const bool refused = last != nullptr && std::string_view(last->message).starts_with("unpacking the sent packfile");
  if (!refused || watch_.failure()) return failure(code);
  uploaded_.unpacked = false;
  return std::move(uploaded_);
}

} // namespace townkeeper::git
