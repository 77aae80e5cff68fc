#include "private_ca.hpp"

#include <cctype>
#include <fstream>
#include <string_view>

#include "command.hpp"

namespace townkeeper::test {

namespace {

/// `openssl req -x509` for a fresh P-256 key; `more` are the options that make the difference.
std::vector<std::string> request(const std::filesystem::path& key, const std::filesystem::path& certificate,
                                 const std::string& subject, const std::vector<std::string>& more) {
  std::vector<std::string> argv{
      "openssl", "req",     "-x509",    "-newkey", "ec",    "-pkeyopt",       "ec_paramgen_curve:P-256",
      "-nodes",  "-sha256", "-days",    "2",       "-subj", "/CN=" + subject, "-keyout",
      key,       "-out",    certificate};
  argv.insert(argv.end(), more.begin(), more.end());
  return argv;
}

bool is_ipv4(std::string_view host) {
  return !host.empty() && std::isdigit(static_cast<unsigned char>(host.back())) != 0;
}

} // namespace

private_ca::private_ca(const std::filesystem::path& directory)
    : directory_{directory} {
  // Without a configuration file of the machine: `req` would take extensions from it.
  std::ofstream{directory_ / "openssl.cnf"} << "[req]\ndistinguished_name = name\n[name]\n";
  run({.argv = request(directory_ / "ca.key", file(), "townkeeper test CA",
                       {"-config", directory_ / "openssl.cnf", "-addext", "basicConstraints=critical,CA:TRUE",
                        "-addext", "keyUsage=critical,keyCertSign,cRLSign"})});
}

std::filesystem::path private_ca::issue(const std::string& host) const {
  const auto key = directory_ / (host + ".key"), certificate = directory_ / (host + ".crt");
  run({.argv = request(key, certificate, host,
                       {"-config", directory_ / "openssl.cnf", "-CA", file(), "-CAkey", directory_ / "ca.key",
                        "-addext", (is_ipv4(host) ? "subjectAltName=IP:" : "subjectAltName=DNS:") + host, "-addext",
                        "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=serverAuth"})});
  const auto both = directory_ / (host + ".pem");
  std::ofstream{both} << std::ifstream{key}.rdbuf() << std::ifstream{certificate}.rdbuf();
  return both;
}

} // namespace townkeeper::test
