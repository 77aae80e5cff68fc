#include <catch2/catch_test_macros.hpp>

#include <openssl/ssl.h>

#include <atomic>
#include <csignal>
#include <memory>
#include <vector>

#include "tests/support/temp_dir.hpp"
#include "tests/unit/core/result_printer.hpp"
#include "tests/unit/http/certificates.hpp"
#include "tests/unit/http/running_client.hpp"
#include "tests/unit/http/scripted_server.hpp"

using namespace townkeeper;
using namespace townkeeper::http;
using namespace townkeeper::test;

namespace {

struct tls_options {
  int max_version = 0; ///< 0: the newest
  bool says_goodbye = true;
  bool says_length = true;
};

/// Answers each request with the number of its connection and the server name the client asked for.
class tls_server {
public:
  explicit tls_server(const certificate& c, tls_options options = {})
      : context_(SSL_CTX_new(TLS_server_method()), &SSL_CTX_free)
      , options_(options)
      , server_([this](peer& client, int connection) { serve(client, connection); }) {
    std::signal(SIGPIPE, SIG_IGN); // OpenSSL writes without MSG_NOSIGNAL, to clients that leave
    SSL_CTX_use_certificate(context_.get(), c.signed_by_issuer.get());
    SSL_CTX_use_PrivateKey(context_.get(), c.key.get());
    SSL_CTX_set_min_proto_version(context_.get(), TLS1_VERSION);
    SSL_CTX_set_security_level(context_.get(), 0); // so that old versions can be offered at all
    SSL_CTX_set_max_proto_version(context_.get(), options.max_version);
  }

  std::string url(std::string_view host) const {
    return "https://" + std::string(host) + ":" + std::to_string(server_.port()) + "/?hidden-query";
  }
  int connections() const noexcept { return server_.connections(); }
  int handshakes() const noexcept { return handshakes_; }

private:
  void serve(peer& client, int connection) {
    const std::unique_ptr<SSL, decltype(&SSL_free)> session(SSL_new(context_.get()), &SSL_free);
    SSL_set_fd(session.get(), client.fd());
    if (SSL_accept(session.get()) != 1) return;
    ++handshakes_;
    for (std::string got;;) {
      char bytes[4096];
      const int n = SSL_read(session.get(), bytes, sizeof bytes);
      if (n <= 0) return;
      got.append(bytes, static_cast<std::size_t>(n));
      if (!got.ends_with("\r\n\r\n")) continue;
      got.clear();
      const char* name = SSL_get_servername(session.get(), TLSEXT_NAMETYPE_host_name);
      const auto body = std::to_string(connection) + " " + (name != nullptr ? name : "-");
      const auto text = options_.says_length ? answer_text(body) : "HTTP/1.1 200 OK\r\n\r\n" + body;
      SSL_write(session.get(), text.data(), static_cast<int>(text.size()));
      if (options_.says_length) continue;
      if (options_.says_goodbye) SSL_shutdown(session.get());
      return;
    }
  }

  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context_;
  tls_options options_;
  std::atomic<int> handshakes_{0};
  scripted_server server_;
};

/// A client that trusts `authority` and finds every name at 127.0.0.1.
struct trusting_client {
  explicit trusting_client(const certificate& authority)
      : file((authority.write_pem(dir.path() / "ca.pem"), dir.path() / "ca.pem"))
      , client({.ca_file = file, .lookup = [](const std::string&) -> result<std::vector<numeric_address>> {
                  return std::vector<numeric_address>{"127.0.0.1"};
                }}) {}

  temp_dir dir{"tls"};
  std::filesystem::path file;
  running_client client;
};

void check_tls_failed(const client_answer& a, std::string_view why) {
  REQUIRE_FALSE(a);
  CHECK(a.error().code == error_code::tls_failed);
  CHECK(a.error().message.find(why) != std::string::npos);
  CHECK(to_string(a.error()).find("hidden") == std::string::npos);
}

} // namespace

TEST_CASE("a server whose authority is in the CA file is trusted, by name and by address") {
  const auto authority = make_authority("Town CA");
  const tls_server server(make_server_certificate(authority, "DNS:town.example,IP:127.0.0.1"));
  trusting_client trusting(authority);
  const auto by_name = trusting.client.get(server.url("town.example"));
  REQUIRE(by_name);
  CHECK(by_name->body == "1 town.example");
  const auto by_address = trusting.client.get(server.url("127.0.0.1"));
  REQUIRE(by_address);
  CHECK(by_address->body == "2 -"); // an address is no server name: RFC 6066, 3
}

TEST_CASE("a TLS connection is kept and used again") {
  const auto authority = make_authority("Town CA");
  const tls_server server(make_server_certificate(authority, "DNS:town.example"));
  trusting_client trusting(authority);
  for (int i = 0; i < 3; ++i)
    CHECK(trusting.client.get(server.url("town.example"))->body == "1 town.example");
}

TEST_CASE("an unknown authority is refused, and the error says what to do") {
  const auto authority = make_authority("Town CA"), other = make_authority("Other CA");
  const tls_server server(make_server_certificate(other, "DNS:town.example"));
  trusting_client trusting(authority);
  check_tls_failed(trusting.client.get(server.url("town.example")), "unknown authority (CA)");
  running_client without_ca_file;
  check_tls_failed(without_ca_file.get(server.url("127.0.0.1")), "unknown authority (CA)");
  CHECK(server.handshakes() == 0);
}

TEST_CASE("an authority of the same name with another key is unknown") {
  const auto authority = make_authority("Town CA"), impostor = make_authority("Town CA");
  const tls_server server(make_server_certificate(impostor, "DNS:town.example"));
  trusting_client trusting(authority);
  const auto a = trusting.client.get(server.url("town.example"));
  REQUIRE_FALSE(a);
  CHECK(a.error().code == error_code::tls_failed);
}

TEST_CASE("a certificate for another host is refused, and the error says so") {
  const auto authority = make_authority("Town CA");
  const tls_server server(make_server_certificate(authority, "DNS:other.example,DNS:*.town.example,IP:127.0.0.2"));
  trusting_client trusting(authority);
  check_tls_failed(trusting.client.get(server.url("town.example")), "another host name than town.example");
  check_tls_failed(trusting.client.get(server.url("a.b.town.example")), "another host name");
  check_tls_failed(trusting.client.get(server.url("127.0.0.1")), "another host name than 127.0.0.1");
  CHECK(trusting.client.get(server.url("a.town.example")));
}

TEST_CASE("a certificate that has expired or is not valid yet is refused") {
  const auto authority = make_authority("Town CA");
  const tls_server expired(make_server_certificate(authority, "DNS:town.example", validity::past));
  const tls_server early(make_server_certificate(authority, "DNS:town.example", validity::future));
  trusting_client trusting(authority);
  check_tls_failed(trusting.client.get(expired.url("town.example")), "has expired");
  check_tls_failed(trusting.client.get(early.url("town.example")), "not valid yet");
}

TEST_CASE("TLS before 1.2 is refused") {
  const auto authority = make_authority("Town CA");
  const auto c = make_server_certificate(authority, "DNS:town.example");
  const tls_server old(c, {.max_version = TLS1_1_VERSION}), good(c, {.max_version = TLS1_2_VERSION});
  trusting_client trusting(authority);
  check_tls_failed(trusting.client.get(old.url("town.example")), "TLS 1.2");
  CHECK(trusting.client.get(good.url("town.example")));
}

TEST_CASE("a server that does not speak TLS is refused") {
  const scripted_server plain([](peer& client, int) {
    client.read_bytes(1);
    client.send(answer_text("plain"));
  });
  running_client client;
  const auto a = client.get("https://127.0.0.1:" + std::to_string(plain.port()));
  check_tls_failed(a, "handshake failed");
}

TEST_CASE("an answer that ends with the connection is whole only where TLS says that it ended") {
  const auto authority = make_authority("Town CA");
  const auto c = make_server_certificate(authority, "DNS:town.example");
  const tls_server polite(c, {.says_length = false});
  const tls_server cut(c, {.says_goodbye = false, .says_length = false});
  trusting_client trusting(authority);
  const auto whole = trusting.client.get(polite.url("town.example"));
  REQUIRE(whole);
  CHECK(whole->body == "1 town.example");
  const auto truncated = trusting.client.get(cut.url("town.example"));
  REQUIRE_FALSE(truncated);
  CHECK(truncated.error().code == error_code::unavailable);
}
