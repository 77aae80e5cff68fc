#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

/// HTTP messages as plain values, and the JSON envelope of CONTRACT.md.
namespace townkeeper::http {

/// Header fields in their order. Names compare without regard to case (RFC 9110, 5.1).
class header_fields {
public:
  using entry = std::pair<std::string, std::string>;

  header_fields() = default;
  header_fields(std::initializer_list<entry> entries)
      : entries_(entries) {}

  /// The first field of that name, or nothing.
  std::optional<std::string_view> find(std::string_view name) const noexcept;
  /// Appends, also beside one of the same name.
  void add(std::string name, std::string value);
  /// Replaces every field of that name by this one.
  void set(std::string name, std::string value);

  auto begin() const noexcept { return entries_.begin(); }
  auto end() const noexcept { return entries_.end(); }
  std::size_t size() const noexcept { return entries_.size(); }

private:
  std::vector<entry> entries_;
};

/// A request as a handler gets it: complete, body read, framing checked.
struct request {
  std::string method; ///< as sent, upper case by rule: GET
  std::string target; ///< as sent: /agents/a1/status?x=1
  std::string path;   ///< the target up to `?`, not decoded
  std::string query;  ///< the target after `?`, not decoded
  header_fields headers;
  std::string body;
  std::string peer;  ///< who speaks, for logs: address:port, or `unix`
  std::string label; ///< of the Unix socket the request came in on; empty for TCP, which alone decides who may do what
  std::map<std::string, std::string, std::less<>> params; ///< what `{name}` in the route's pattern stood for, decoded

  /// The decoded value of a query parameter: empty for `?name`, nothing where it is absent or not decodable.
  std::optional<std::string> query_value(std::string_view name) const;
  /// The token of `Authorization: Bearer …`, empty where there is none.
  std::string_view bearer_token() const noexcept;
};

struct response {
  int status = 200;
  std::string content_type = "application/json";
  /// Own bytes, or a document that many answers share without copying it.
  std::variant<std::string, std::shared_ptr<const std::string>> body;
  /// Beside Content-Type, Content-Length, Date and Connection, which the server writes.
  header_fields headers;

  std::string_view body_view() const noexcept;
};

/// One validation error of a body: where, and what is wrong with it.
struct issue {
  std::string path;
  std::string message;
};

/// `{"success":true,"data":<data_json>}`; `data_json` is one JSON value, already encoded.
response ok(std::string_view data_json, int status = 200);

/// `{"success":false,"error":…,"code":…,"issues":[…]}`; `code` is a stable word. The texts are redacted, and bytes that
/// are not UTF-8 are replaced.
response failure(int status, std::string_view code, std::string_view message, const std::vector<issue>& issues = {});

/// `r` with `Retry-After`, in whole seconds (RFC 9110, 10.2.3).
response with_retry_after(response r, unsigned seconds);

/// `%41` → `A`. Nothing where a `%` is not followed by two hexadecimal digits, or stands for NUL.
std::optional<std::string> percent_decode(std::string_view text);

/// `text` as one path segment or query value: everything but RFC 3986's unreserved characters is percent-encoded.
std::string percent_encode(std::string_view text);

/// Comparison of ASCII text without regard to case.
bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept;

} // namespace townkeeper::http
