#include "town/token.hpp"

#include <fmt/core.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <rapidjson/document.h>

#include <array>
#include <cmath>
#include <string>

#include "core/ids.hpp"

namespace townkeeper::town {
namespace {

constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::size_t max_token_bytes = 16 * 1024; // no header could carry a longer one

/// RFC 4648, 5, without padding (RFC 7515, appendix C).
std::string base64url(std::string_view bytes) {
  std::string out;
  std::uint32_t group = 0;
  int bits = 0;
  for (const char c : bytes) {
    group = (group << 8) | static_cast<unsigned char>(c);
    for (bits += 8; bits >= 6; bits -= 6)
      out += alphabet[(group >> (bits - 6)) & 63U];
  }
  if (bits > 0) out += alphabet[(group << (6 - bits)) & 63U];
  return out;
}

std::optional<std::string> from_base64url(std::string_view text) {
  std::string out;
  std::uint32_t group = 0;
  int bits = 0;
  for (const char c : text) {
    const auto value = alphabet.find(c);
    if (value == std::string_view::npos) return std::nullopt;
    group = (group << 6) | static_cast<std::uint32_t>(value);
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      out += static_cast<char>((group >> bits) & 255U);
    }
  }
  return out;
}

std::optional<std::string> hmac_sha256(std::string_view key, std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  const auto* const made =
      ::HMAC(::EVP_sha256(), key.data(), static_cast<int>(key.size()),
             reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data(), &size);
  if (made == nullptr) return std::nullopt;
  return std::string(digest.begin(), digest.begin() + size);
}

} // namespace

std::string_view to_string(token_scope s) noexcept {
  return s == token_scope::admin ? "admin" : "container";
}

result<secret> mint_token(const secret& key, std::string_view town_id, token_scope scope, std::chrono::seconds ttl,
                          std::chrono::system_clock::time_point now) {
  if (key.empty())
    return error{error_code::invalid_argument, "TOWN_SECRET",
                 "the signing key is empty; set it to the secret the town has"};
  if (!is_valid_id(town_id))
    return error{error_code::invalid_argument, "town", "not a town id: letters, digits, '.', '_' and '-', at most 128"};
  if (ttl < std::chrono::seconds(1))
    return error{error_code::invalid_argument, "ttl", "a token lives for at least one second"};
  const auto issued = std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch());
  // A valid id needs no JSON escapes.
  const auto claims = fmt::format(R"({{"townId":"{}","scope":"{}","iat":{},"exp":{}}})", town_id, to_string(scope),
                                  issued.count(), (issued + ttl).count());
  const auto signed_part = base64url(R"({"alg":"HS256","typ":"JWT"})") + "." + base64url(claims);
  const auto signature = hmac_sha256(key.reveal(), signed_part);
  if (!signature) return error{error_code::internal, "token", "OpenSSL could not compute HMAC-SHA-256"};
  return secret(signed_part + "." + base64url(*signature));
}

std::optional<std::chrono::system_clock::time_point> token_expiry(std::string_view token) {
  const auto first = token.find('.');
  const auto second = token.find('.', first == std::string_view::npos ? first : first + 1);
  if (second == std::string_view::npos || token.size() > max_token_bytes) return std::nullopt;
  const auto claims = from_base64url(token.substr(first + 1, second - first - 1));
  if (!claims) return std::nullopt;
  rapidjson::Document json;
  json.Parse<rapidjson::kParseIterativeFlag>(claims->data(), claims->size()); // iterative: depth is the sender's choice
  if (json.HasParseError() || !json.IsObject()) return std::nullopt;
  const auto exp = json.FindMember("exp");
  if (exp == json.MemberEnd() || !exp->value.IsNumber()) return std::nullopt;
  using clock = std::chrono::system_clock;
  constexpr auto latest = std::chrono::duration_cast<std::chrono::seconds>(clock::time_point::max().time_since_epoch());
  const double seconds = std::floor(exp->value.GetDouble());
  if (!(seconds >= 0 && seconds < static_cast<double>(latest.count()))) return std::nullopt;
  return clock::time_point(std::chrono::seconds(static_cast<std::int64_t>(seconds)));
}

} // namespace townkeeper::town
