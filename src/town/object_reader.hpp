#pragma once

#include <rapidjson/document.h>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "town/field_rules.hpp"

namespace townkeeper::town {

/// Reads the fields of one JSON object. The first thing that is wrong is remembered with its path, and what is read
/// after it means nothing: whoever reads asks `ok()` once, at the end. A field the contract does not name is never
/// looked at. A value is shown in no message. Only for the sources of this library; borrows the value.
class object_reader {
public:
  /// `path` names the object in messages: "rigs[2].agents[0]"; empty for the whole body.
  object_reader(const rapidjson::Value& object, std::string path);

  bool ok() const noexcept { return problem_.empty(); }
  const std::string& problem() const noexcept { return problem_; }

  /// Notes a problem with a field, if it is the first.
  void fail(std::string_view key, std::string_view what);
  /// Takes over the problem of a reader of something inside this object.
  void adopt(const object_reader& inner);
  std::string path_of(std::string_view key) const;

  /// The field's value, or nullptr where it is absent or null.
  const rapidjson::Value* find(std::string_view key) const;
  /// The same, with a problem where it is neither absent, null nor an object (an array).
  const rapidjson::Value* find_object(std::string_view key);
  const rapidjson::Value* find_array(std::string_view key);

  std::string text(std::string_view key, field_rule rule = any_text);
  std::optional<std::string> optional_text(std::string_view key, field_rule rule = any_text);
  std::string one_of(std::string_view key, std::initializer_list<std::string_view> words);
  std::int64_t integer(std::string_view key, std::int64_t least);
  std::optional<std::int64_t> optional_integer(std::string_view key, std::int64_t least);
  std::optional<double> optional_number(std::string_view key); ///< at least 0
  bool boolean(std::string_view key);

private:
  const rapidjson::Value* required(std::string_view key);

  const rapidjson::Value& object_;
  std::string path_;
  std::string problem_;
};

} // namespace townkeeper::town
