#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

struct evp_pkey_st;
struct x509_st;

namespace townkeeper::test {

/// A certificate with its private key, made here and now.
struct certificate {
  std::shared_ptr<evp_pkey_st> key;
  std::shared_ptr<x509_st> signed_by_issuer;

  std::string pem() const;
  void write_pem(const std::filesystem::path& file) const;
};

enum class validity { now, past, future };

/// An authority that only the test knows.
certificate make_authority(const std::string& name);

/// For a server of these names, in the form of OpenSSL's configuration: `DNS:a.example`, `IP:127.0.0.1`.
certificate make_server_certificate(const certificate& authority, const std::string& names,
                                    validity when = validity::now);

} // namespace townkeeper::test
