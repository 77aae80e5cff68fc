#include "git/fetch_tls.hpp"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <map>
#include <mutex>

#include "git/fetch_stream.hpp"

namespace townkeeper::git {
namespace {

using context = std::shared_ptr<SSL_CTX>;

struct loaded_contexts {
  std::mutex mutex;
  std::string usual_file;
  std::map<std::string, context> by_file; // a bundle of 140 certificates takes milliseconds to parse: once per file
};

loaded_contexts& contexts() {
  static loaded_contexts all;
  return all;
}

std::string openssl_text() {
  const auto code = ERR_get_error();
  ERR_clear_error();
  const char* reason = code != 0 ? ERR_reason_error_string(code) : nullptr;
  return reason != nullptr ? reason : "no reason given";
}

result<context> context_for(const std::string& named_file) {
  auto& all = contexts();
  const std::lock_guard lock(all.mutex);
  const auto& ca_file = named_file.empty() ? all.usual_file : named_file;
  if (const auto known = all.by_file.find(ca_file); known != all.by_file.end()) return known->second;
  context made(SSL_CTX_new(TLS_client_method()), &SSL_CTX_free);
  if (!made) return error{error_code::internal, "TLS", openssl_text()};
  SSL_CTX_set_min_proto_version(made.get(), TLS1_2_VERSION);
  SSL_CTX_set_verify(made.get(), SSL_VERIFY_PEER, nullptr);
  const int loaded = ca_file.empty() ? SSL_CTX_set_default_verify_paths(made.get())
                                     : SSL_CTX_load_verify_file(made.get(), ca_file.c_str());
  if (loaded != 1) return error{error_code::tls_failed, ca_file, "cannot load the CA certificates: " + openssl_text()};
  all.by_file.emplace(ca_file, made);
  return made;
}

watched_socket& socket_of(BIO* bio) {
  return *static_cast<watched_socket*>(BIO_get_data(bio));
}

int bio_result(BIO* bio, ssize_t moved, bool reading) {
  BIO_clear_retry_flags(bio);
  if (moved >= 0) return static_cast<int>(moved);
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
    if (reading)
      BIO_set_retry_read(bio);
    else
      BIO_set_retry_write(bio);
  }
  return -1;
}

int bio_read(BIO* bio, char* into, int size) {
  return bio_result(bio, socket_of(bio).receive_now(into, static_cast<std::size_t>(size)), true);
}

int bio_write(BIO* bio, const char* from, int size) {
  return bio_result(bio, socket_of(bio).send_now(from, static_cast<std::size_t>(size)), false);
}

long bio_control(BIO*, int command, long, void*) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

/// OpenSSL's own socket BIO writes with write(2): a peer that went away would raise SIGPIPE. Ours sends with
/// MSG_NOSIGNAL.
BIO_METHOD* socket_method() {
  static BIO_METHOD* const method = [] {
    auto* made = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "watched socket");
    BIO_meth_set_read(made, bio_read);
    BIO_meth_set_write(made, bio_write);
    BIO_meth_set_ctrl(made, bio_control);
    return made;
  }();
  return method;
}

bool is_address(const std::string& host) {
  in6_addr any{};
  return inet_pton(AF_INET, host.c_str(), &any) == 1 || inet_pton(AF_INET6, host.c_str(), &any) == 1;
}

int bounded(std::size_t size) {
  return static_cast<int>(std::min<std::size_t>(size, std::numeric_limits<int>::max()));
}

} // namespace

result<void> use_certificates(const std::string& ca_file) {
  {
    auto& all = contexts();
    const std::lock_guard lock(all.mutex);
    all.by_file.clear();
    all.usual_file = ca_file;
  }
  // The system's bundle is read by the first job that needs it: a wake should not begin with 140 certificates.
  if (ca_file.empty()) return {};
  if (const auto loaded = context_for({}); !loaded) return loaded.error();
  return {};
}

tls_session::tls_session(watched_socket& socket, const std::string& host)
    : socket_(socket)
    , host_(host) {}

bool tls_session::name_host() {
  auto* rules = SSL_get0_param(ssl_.get());
  if (is_address(host_)) return X509_VERIFY_PARAM_set1_ip_asc(rules, host_.c_str()) == 1;
  X509_VERIFY_PARAM_set_hostflags(rules, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  return SSL_set_tlsext_host_name(ssl_.get(), const_cast<char*>(host_.c_str())) == 1 && // NOLINT: OpenSSL's macro
         X509_VERIFY_PARAM_set1_host(rules, host_.c_str(), host_.size()) == 1;
}

bool tls_session::handshake(const std::string& ca_file) {
  const auto loaded = context_for(ca_file);
  if (!loaded) {
    socket_.watch().fail(loaded.error().code, loaded.error().object + ": " + loaded.error().message);
    return false;
  }
  ssl_.reset(SSL_new(loaded->get()));
  auto* bio = BIO_new(socket_method());
  if (!ssl_ || bio == nullptr || !name_host()) {
    BIO_free(bio);
    socket_.watch().fail(error_code::internal, "TLS could not be set up: " + openssl_text());
    return false;
  }
  BIO_set_data(bio, &socket_);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
  for (;;) {
    ERR_clear_error();
    const int outcome = SSL_connect(ssl_.get());
    if (outcome == 1) return true;
    if (const auto verified = SSL_get_verify_result(ssl_.get()); verified != X509_V_OK) {
      socket_.watch().fail(error_code::tls_failed,
                           fmt::format("the certificate of {} is refused: {}; check the host name, or set the CA file",
                                       host_, X509_verify_cert_error_string(verified)));
      return false;
    }
    if (!settle(outcome)) return false;
  }
}

bool tls_session::settle(int outcome) {
  switch (SSL_get_error(ssl_.get(), outcome)) {
  case SSL_ERROR_WANT_READ:
    return socket_.wait(POLLIN);
  case SSL_ERROR_WANT_WRITE:
    return socket_.wait(POLLOUT);
  case SSL_ERROR_SSL:
    socket_.watch().fail(error_code::tls_failed, "TLS with " + host_ + ": " + openssl_text());
    break;
  default:
    socket_.watch().fail(error_code::unavailable, "the TLS connection to " + host_ + " broke");
  }
  return false;
}

ssize_t tls_session::read(void* into, std::size_t size) {
  for (;;) {
    if (socket_.watch().ended()) return -1;
    ERR_clear_error();
    const int got = SSL_read(ssl_.get(), into, bounded(size));
    if (got > 0) return got;
    if (SSL_get_error(ssl_.get(), got) == SSL_ERROR_ZERO_RETURN) return 0;
    if (!settle(got)) return -1;
  }
}

bool tls_session::is_open() noexcept {
  char byte = 0;
  ERR_clear_error();
  const int got = SSL_peek(ssl_.get(), &byte, sizeof byte); // takes in what is no data: new session tickets
  return got > 0 || SSL_get_error(ssl_.get(), got) == SSL_ERROR_WANT_READ;
}

ssize_t tls_session::write(const char* from, std::size_t size) {
  for (std::size_t done = 0; done < size;) {
    if (socket_.watch().ended()) return -1;
    ERR_clear_error();
    const int sent = SSL_write(ssl_.get(), from + done, bounded(size - done));
    if (sent > 0)
      done += static_cast<std::size_t>(sent);
    else if (!settle(sent))
      return -1;
  }
  return static_cast<ssize_t>(size);
}

} // namespace townkeeper::git
