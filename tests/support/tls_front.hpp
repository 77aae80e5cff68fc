#pragma once

#include <filesystem>
#include <string>

#include "lighttpd.hpp"
#include "private_ca.hpp"
#include "temp_dir.hpp"

namespace townkeeper::test {

/// TLS in front of a plain http server, as a platform's edge would speak it for the town: lighttpd with a certificate
/// of a private authority.
class tls_front {
public:
  /// `upstream_port`: the http server on 127.0.0.1.
  explicit tls_front(int upstream_port);

  /// `https://127.0.0.1:<port>`
  std::string url() const { return "https://127.0.0.1:" + std::to_string(server_.port()); }
  /// The authority of the certificate shown at first (PEM).
  std::filesystem::path ca_file() const { return known_.file(); }

  /// Shows a certificate for 127.0.0.1 (the one it starts with), for another host, or of an authority nobody knows.
  void show_good_certificate() { restart(known_.issue("127.0.0.1")); }
  void show_wrong_host() { restart(known_.issue("elsewhere.invalid")); }
  void show_unknown_authority() { restart(unknown_.issue("127.0.0.1")); }

private:
  void restart(const std::filesystem::path& certificate);

  int upstream_port_;
  temp_dir dir_{"tls"}, known_dir_{"ca"}, unknown_dir_{"ca"};
  private_ca known_{known_dir_.path()}, unknown_{unknown_dir_.path()};
  lighttpd server_{dir_.path()};
};

} // namespace townkeeper::test
