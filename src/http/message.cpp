#include "http/message.hpp"

#include <rapidjson/encodings.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <algorithm>

#include "core/secret.hpp"

namespace townkeeper::http {
namespace {

char to_lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool is_utf8(const std::string& text) {
  rapidjson::StringStream in(text.c_str());
  rapidjson::StringBuffer out;
  while (in.Tell() < text.size())
    if (!rapidjson::UTF8<>::Validate(in, out)) return false;
  return true;
}

/// Text from outside as it may stand in a JSON string: redacted, and ASCII alone where it is not UTF-8.
std::string presentable(std::string_view foreign) {
  auto text = redact(std::string(foreign));
  if (!is_utf8(text))
    std::replace_if(
        text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) >= 0x80; }, '?');
  return text;
}

std::optional<unsigned> hex_value(char c) noexcept {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A' + 10);
  return std::nullopt;
}

} // namespace

bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return to_lower(x) == to_lower(y); });
}

// -- header_fields ------------------------------------------------------------

std::optional<std::string_view> header_fields::find(std::string_view name) const noexcept {
  for (const auto& [key, value] : entries_)
    if (equal_ignoring_case(key, name)) return value;
  return std::nullopt;
}

void header_fields::add(std::string name, std::string value) {
  entries_.emplace_back(std::move(name), std::move(value));
}

void header_fields::set(std::string name, std::string value) {
  std::erase_if(entries_, [&](const entry& e) { return equal_ignoring_case(e.first, name); });
  add(std::move(name), std::move(value));
}

// -- request and response -----------------------------------------------------

std::optional<std::string> request::query_value(std::string_view name) const {
  for (std::size_t begin = 0; begin <= query.size();) {
    const auto end = std::min(query.find('&', begin), query.size());
    const auto pair = std::string_view(query).substr(begin, end - begin);
    const auto equals = std::min(pair.find('='), pair.size());
    if (percent_decode(pair.substr(0, equals)) == name)
      return percent_decode(pair.substr(std::min(equals + 1, pair.size())));
    begin = end + 1;
  }
  return std::nullopt;
}

std::string_view request::bearer_token() const noexcept {
  constexpr std::string_view scheme = "Bearer ";
  const auto value = headers.find("Authorization").value_or("");
  if (value.size() <= scheme.size() || !equal_ignoring_case(value.substr(0, scheme.size()), scheme)) return {};
  return value.substr(std::min(value.find_first_not_of(' ', scheme.size()), value.size()));
}

std::string_view response::body_view() const noexcept {
  if (const auto* own = std::get_if<std::string>(&body)) return *own;
  const auto& shared = std::get<std::shared_ptr<const std::string>>(body);
  return shared ? std::string_view(*shared) : std::string_view();
}

// -- the envelope -------------------------------------------------------------

response ok(std::string_view data_json, int status) {
  std::string body = R"({"success":true,"data":)";
  body.reserve(body.size() + data_json.size() + 1);
  body += data_json;
  body += '}';
  return {.status = status, .body = std::move(body), .headers = {}};
}

response failure(int status, std::string_view code, std::string_view message, const std::vector<issue>& issues) {
  rapidjson::StringBuffer out;
  rapidjson::Writer<rapidjson::StringBuffer> json(out);
  json.StartObject();
  json.Key("success");
  json.Bool(false);
  json.Key("error");
  json.String(presentable(message));
  json.Key("code");
  json.String(presentable(code));
  if (!issues.empty()) {
    json.Key("issues");
    json.StartArray();
    for (const auto& each : issues) {
      json.StartObject();
      json.Key("path");
      json.String(presentable(each.path));
      json.Key("message");
      json.String(presentable(each.message));
      json.EndObject();
    }
    json.EndArray();
  }
  json.EndObject();
  return {.status = status, .body = std::string(out.GetString(), out.GetSize()), .headers = {}};
}

response with_retry_after(response r, unsigned seconds) {
  r.headers.set("Retry-After", std::to_string(seconds));
  return r;
}

// -- percent encoding ---------------------------------------------------------

std::optional<std::string> percent_decode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const auto high = hex_value(text[i + 1]), low = hex_value(text[i + 2]);
    if (!high || !low || (*high == 0 && *low == 0)) return std::nullopt;
    out += static_cast<char>(*high * 16 + *low);
    i += 2;
  }
  return out;
}

std::string percent_encode(std::string_view text) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    const bool unreserved = (c >= '0' && c <= '9') || (to_lower(c) >= 'a' && to_lower(c) <= 'z') || c == '-' ||
                            c == '.' || c == '_' || c == '~';
    if (unreserved) {
      out += c;
    } else {
      out += '%';
      out += digits[u >> 4];
      out += digits[u & 15];
    }
  }
  return out;
}

} // namespace townkeeper::http
