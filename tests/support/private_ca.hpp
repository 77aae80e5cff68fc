#pragma once

#include <filesystem>
#include <string>

namespace townkeeper::test {

/// A certification authority of a test's own, made by the openssl command line in the constructor (some 20 ms).
class private_ca {
public:
  /// Keeps its files below `directory`, which must exist and outlive it.
  explicit private_ca(const std::filesystem::path& directory);

  /// Its certificate (PEM): what a client is to trust.
  std::filesystem::path file() const { return directory_ / "ca.pem"; }

  /// Issues a certificate for one host (a name or an IPv4 address) and returns the file that holds it with its key.
  std::filesystem::path issue(const std::string& host) const;

private:
  std::filesystem::path directory_;
};

} // namespace townkeeper::test
