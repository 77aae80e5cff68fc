#pragma once

#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <cmath>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/utf8.hpp"

namespace townkeeper::town {

/// Writes one JSON text that is valid whatever the strings hold: bytes that are not UTF-8 become U+FFFD, and a number
/// that JSON does not have becomes null. To be included by sources only: it brings RapidJSON with it.
class json_writer {
public:
  void begin_object() { out_.StartObject(); }
  void end_object() { out_.EndObject(); }
  void begin_array() { out_.StartArray(); }
  void end_array() { out_.EndArray(); }

  void key(std::string_view name) { out_.Key(name.data(), static_cast<rapidjson::SizeType>(name.size())); }

  void value(std::string_view text) {
    const auto clean = valid_utf8(text);
    out_.String(clean.data(), static_cast<rapidjson::SizeType>(clean.size()));
  }
  void value(const std::string& text) { value(std::string_view(text)); }
  void value(const char* text) { value(std::string_view(text)); }
  void value(std::same_as<bool> auto truth) { out_.Bool(truth); }
  void value(std::signed_integral auto number) { out_.Int64(number); }
  void value(double number) {
    if (std::isfinite(number))
      out_.Double(number);
    else
      out_.Null();
  }
  void null() { out_.Null(); }

  /// One JSON value that is known to be valid, as it stands.
  void raw(std::string_view json) { out_.RawValue(json.data(), json.size(), rapidjson::kObjectType); }

  template <class T>
  void member(std::string_view name, const T& v) {
    key(name);
    value(v);
  }

  /// Left out when there is nothing.
  template <class T>
  void member(std::string_view name, const std::optional<T>& v) {
    if (v) member(name, *v);
  }

  /// `"name":[…]`, each item written by `write_one`.
  template <class Items, class WriteOne>
  void list(std::string_view name, const Items& items, WriteOne write_one) {
    key(name);
    begin_array();
    for (const auto& item : items)
      write_one(item);
    end_array();
  }

  std::string text() const { return {buffer_.GetString(), buffer_.GetSize()}; }

private:
  rapidjson::StringBuffer buffer_;
  rapidjson::Writer<rapidjson::StringBuffer> out_{buffer_};
};

} // namespace townkeeper::town
