#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace townkeeper::test {

/// A JSON object of which a test changes one member: values are JSON texts.
class json_object {
public:
  using member = std::pair<std::string, std::string>;

  json_object(std::initializer_list<member> members)
      : members_(members) {}

  /// The same object with another value for `key`.
  json_object with(std::string_view key, std::string value) const {
    auto copy = without(key);
    copy.members_.emplace_back(key, std::move(value));
    return copy;
  }

  json_object without(std::string_view key) const {
    auto copy = *this;
    std::erase_if(copy.members_, [&](const member& m) { return m.first == key; });
    return copy;
  }

  std::string text() const {
    std::string out = "{";
    for (const auto& [key, value] : members_)
      out += (out.size() > 1 ? ",\"" : "\"") + key + "\":" + value;
    return out + "}";
  }

private:
  std::vector<member> members_;
};

} // namespace townkeeper::test
