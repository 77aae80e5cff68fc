// Redaction: a secret, its base64 and its percent-encoded form are in no text that has been through it.

#include <array>
#include <string>

#include "core/secret.hpp"
#include "tests/fuzz/property.hpp"

using namespace townkeeper;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // One that repeats itself, one that is part of another, one with characters that a URL encodes.
  static const std::array<secret, 4> secrets{secret("marker-4711"), secret("marker-4711-long"), secret("ababab"),
                                             secret("a/b+c=d&e f")};
  constexpr std::array<std::string_view, 12> forms{"marker-4711",
                                                   "bWFya2VyLTQ3MTE=",
                                                   "marker-4711-long",
                                                   "bWFya2VyLTQ3MTEtbG9uZw==",
                                                   "ababab",
                                                   "YWJhYmFi",
                                                   "a/b+c=d&e f",
                                                   "YS9iK2M9ZCZlIGY=",
                                                   "a%2Fb%2Bc%3Dd%26e%20f",
                                                   "https://",
                                                   "@",
                                                   "://"};
  // A byte above 0xEF stands for one of the forms, so that texts full of secrets are found at once.
  std::string text;
  for (const char c : fuzz::bytes_of(data, size)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0xF0)
      text += c;
    else
      text += forms[byte % forms.size()];
  }
  const auto shown = redact(text);
  for (std::size_t i = 0; i < 9; ++i)
    fuzz::require(shown.find(forms[i]) == std::string::npos, "no form of a secret is left");
  fuzz::require(redact(shown).size() <= shown.size() + 3 * shown.size(), "redacting twice stays bounded");
  return 0;
}
