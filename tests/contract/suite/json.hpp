#pragma once

#include <rapidjson/document.h>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace townkeeper::contract {

/// A value inside a JSON document, to be read without ceremony: what is not there is `missing`, all the way down, and
/// equals nothing. A copy shares the document.
class json {
public:
  json() = default;

  /// Throws `std::runtime_error` with the text when it is not JSON. Comments and trailing commas are refused unless
  /// `relaxed`.
  static json parse(const std::string& text, bool relaxed = false);

  json operator[](std::string_view key) const;
  json operator[](const char* key) const { return (*this)[std::string_view{key}]; }
  json operator[](std::size_t index) const;
  json operator[](int index) const { return (*this)[static_cast<std::size_t>(index)]; }

  /// The entry of an array whose `key` equals `value`; missing when there is none.
  json where(std::string_view key, std::string_view value) const;

  bool missing() const noexcept { return value_ == nullptr; }
  bool is_null() const noexcept { return value_ != nullptr && value_->IsNull(); }
  bool is_array() const noexcept { return value_ != nullptr && value_->IsArray(); }

  std::size_t size() const;              ///< entries of an array, members of an object, else 0
  std::vector<json> items() const;       ///< of an array, else none
  std::vector<std::string> keys() const; ///< of an object, sorted, else none

  std::string text() const;     ///< as compact JSON, `<missing>` when missing
  std::string string() const;   ///< throws when it is not a string
  std::int64_t integer() const; ///< throws when it is not an integer
  double number() const;        ///< throws when it is not a number

  friend bool operator==(const json& a, const json& b);

  template <class T>
  friend bool operator==(const json& a, const T& b) requires(!std::same_as<T, json>) {
    if constexpr (std::same_as<T, bool>)
      return !a.missing() && a.value_->IsBool() && a.value_->GetBool() == b;
    else if constexpr (std::same_as<T, std::nullptr_t>)
      return a.is_null();
    else if constexpr (std::integral<T>)
      return !a.missing() && a.value_->IsInt64() && a.value_->GetInt64() == static_cast<std::int64_t>(b);
    else if constexpr (std::floating_point<T>)
      return !a.missing() && a.value_->IsNumber() && a.value_->GetDouble() == b;
    else
      return a.equals(std::string_view{b});
  }

  friend std::ostream& operator<<(std::ostream& out, const json& value);

private:
  json(std::shared_ptr<const rapidjson::Document> document, const rapidjson::Value* value)
      : document_{std::move(document)}
      , value_{value} {}

  bool equals(std::string_view text) const;

  std::shared_ptr<const rapidjson::Document> document_;
  const rapidjson::Value* value_ = nullptr;
};

/// `"a b c"` as a sorted list, to compare with `json::keys`.
std::vector<std::string> words(std::string_view text);

/// The document with the value at a JSON pointer (RFC 6901) set to a JSON text, or taken out.
std::string with(const std::string& document, const std::string& pointer, const std::string& value);
std::string without(const std::string& document, const std::string& pointer);

/// A string as JSON, quotes included.
std::string json_string(std::string_view text);

} // namespace townkeeper::contract
