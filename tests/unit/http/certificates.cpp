#include "tests/unit/http/certificates.hpp"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <fstream>
#include <stdexcept>

namespace townkeeper::test {
namespace {

constexpr long day_seconds = 24L * 60 * 60;

void require(bool done, const char* what) {
  if (!done) throw std::runtime_error(std::string("cannot make a certificate: ") + what);
}

void add_extension(X509* to, int kind, const std::string& value) {
  const std::unique_ptr<X509_EXTENSION, decltype(&X509_EXTENSION_free)> extension(
      X509V3_EXT_conf_nid(nullptr, nullptr, kind, value.c_str()), &X509_EXTENSION_free);
  require(extension && X509_add_ext(to, extension.get(), -1) == 1, "extension");
}

certificate make(const std::string& common_name, const certificate* issuer, validity when) {
  static long serial = 0;
  certificate out{{EVP_EC_gen("P-256"), &EVP_PKEY_free}, {X509_new(), &X509_free}};
  auto* const x = out.signed_by_issuer.get();
  require(out.key && x, "key");
  const long begin = when == validity::future ? day_seconds : -2 * day_seconds;
  X509_set_version(x, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(x), begin);
  X509_gmtime_adj(X509_getm_notAfter(x), when == validity::past ? begin + day_seconds : begin + 10 * day_seconds);
  X509_set_pubkey(x, out.key.get());
  X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(common_name.c_str()), -1, -1, 0);
  X509_set_issuer_name(x, X509_get_subject_name(issuer != nullptr ? issuer->signed_by_issuer.get() : x));
  return out;
}

void sign(certificate& c, const certificate& by) {
  require(X509_sign(c.signed_by_issuer.get(), by.key.get(), EVP_sha256()) > 0, "signature");
}

} // namespace

std::string certificate::pem() const {
  const std::unique_ptr<BIO, decltype(&BIO_free)> out(BIO_new(BIO_s_mem()), &BIO_free);
  require(PEM_write_bio_X509(out.get(), signed_by_issuer.get()) == 1, "PEM");
  char* text = nullptr;
  const long size = BIO_get_mem_data(out.get(), &text);
  return {text, static_cast<std::size_t>(size)};
}

void certificate::write_pem(const std::filesystem::path& file) const {
  std::ofstream(file) << pem();
}

certificate make_authority(const std::string& name) {
  auto out = make(name, nullptr, validity::now);
  add_extension(out.signed_by_issuer.get(), NID_basic_constraints, "critical,CA:TRUE");
  add_extension(out.signed_by_issuer.get(), NID_key_usage, "critical,keyCertSign,cRLSign");
  sign(out, out);
  return out;
}

certificate make_server_certificate(const certificate& authority, const std::string& names, validity when) {
  auto out = make("server", &authority, when);
  add_extension(out.signed_by_issuer.get(), NID_subject_alt_name, names);
  add_extension(out.signed_by_issuer.get(), NID_ext_key_usage, "serverAuth");
  sign(out, authority);
  return out;
}

} // namespace townkeeper::test
