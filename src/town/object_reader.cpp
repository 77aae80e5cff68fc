#include "town/object_reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace townkeeper::town {

object_reader::object_reader(const rapidjson::Value& object, std::string path)
    : object_(object)
    , path_(std::move(path)) {
  if (!object_.IsObject()) problem_ = fmt::format("{} must be an object", path_.empty() ? "the body" : path_);
}

std::string object_reader::path_of(std::string_view key) const {
  return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
}

void object_reader::fail(std::string_view key, std::string_view what) {
  if (ok()) problem_ = fmt::format("{} {}", path_of(key), what);
}

void object_reader::adopt(const object_reader& inner) {
  if (ok()) problem_ = inner.problem_;
}

const rapidjson::Value* object_reader::find(std::string_view key) const {
  if (!object_.IsObject()) return nullptr;
  const rapidjson::Value name(rapidjson::StringRef(key.data(), static_cast<rapidjson::SizeType>(key.size())));
  const auto found = object_.FindMember(name);
  return found == object_.MemberEnd() || found->value.IsNull() ? nullptr : &found->value;
}

const rapidjson::Value* object_reader::find_object(std::string_view key) {
  const auto* value = find(key);
  if (value == nullptr || value->IsObject()) return value;
  fail(key, "must be an object");
  return nullptr;
}

const rapidjson::Value* object_reader::find_array(std::string_view key) {
  const auto* value = find(key);
  if (value == nullptr || value->IsArray()) return value;
  fail(key, "must be an array");
  return nullptr;
}

const rapidjson::Value* object_reader::required(std::string_view key) {
  const auto* value = find(key);
  if (value == nullptr) fail(key, "is missing");
  return value;
}

std::string object_reader::text(std::string_view key, field_rule rule) {
  return required(key) == nullptr ? std::string{} : optional_text(key, rule).value_or(std::string{});
}

std::optional<std::string> object_reader::optional_text(std::string_view key, field_rule rule) {
  const auto* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->IsString()) {
    fail(key, "must be a string");
    return std::nullopt;
  }
  std::string out(value->GetString(), value->GetStringLength());
  if (const auto* wrong = rule(out); wrong != nullptr) fail(key, wrong);
  return out;
}

std::string object_reader::one_of(std::string_view key, std::initializer_list<std::string_view> words) {
  auto out = text(key);
  if (std::find(words.begin(), words.end(), out) == words.end())
    fail(key, fmt::format("must be one of {}", fmt::join(words, ", ")));
  return out;
}

std::int64_t object_reader::integer(std::string_view key, std::int64_t least) {
  return required(key) == nullptr ? 0 : optional_integer(key, least).value_or(0);
}

std::optional<std::int64_t> object_reader::optional_integer(std::string_view key, std::int64_t least) {
  const auto* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->IsInt64() || value->GetInt64() < least) {
    fail(key, fmt::format("must be an integer of at least {}", least));
    return std::nullopt;
  }
  return value->GetInt64();
}

std::optional<double> object_reader::optional_number(std::string_view key) {
  const auto* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->IsNumber() || !(value->GetDouble() >= 0)) {
    fail(key, "must be a number of at least 0");
    return std::nullopt;
  }
  return value->GetDouble();
}

bool object_reader::boolean(std::string_view key) {
  const auto* value = required(key);
  if (value == nullptr) return false;
  if (!value->IsBool()) {
    fail(key, "must be true or false");
    return false;
  }
  return value->GetBool();
}

} // namespace townkeeper::town
