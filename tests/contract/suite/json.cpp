#include "json.hpp"

#include <rapidjson/pointer.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <algorithm>
#include <ostream>
#include <sstream>
#include <stdexcept>

namespace townkeeper::contract {

namespace {

std::string write(const rapidjson::Value& value) {
  rapidjson::StringBuffer out;
  rapidjson::Writer<rapidjson::StringBuffer> writer{out};
  value.Accept(writer);
  return {out.GetString(), out.GetSize()};
}

rapidjson::Document document_of(const std::string& text) {
  rapidjson::Document document;
  document.Parse(text.data(), text.size());
  if (document.HasParseError()) throw std::runtime_error{"not JSON: " + text};
  return document;
}

rapidjson::Pointer pointer_of(const std::string& text) {
  rapidjson::Pointer pointer{text.data(), text.size()};
  if (!pointer.IsValid()) throw std::runtime_error{"not a JSON pointer: " + text};
  return pointer;
}

} // namespace

json json::parse(const std::string& text, bool relaxed) {
  auto document = std::make_shared<rapidjson::Document>();
  if (relaxed)
    document->Parse<rapidjson::kParseCommentsFlag | rapidjson::kParseTrailingCommasFlag>(text.data(), text.size());
  else
    document->Parse(text.data(), text.size());
  if (document->HasParseError()) throw std::runtime_error{"not JSON: " + text};
  const rapidjson::Value* root = document.get();
  return {std::move(document), root};
}

json json::operator[](std::string_view key) const {
  if (missing() || !value_->IsObject()) return {};
  const auto member = value_->FindMember(rapidjson::Value{key.data(), static_cast<rapidjson::SizeType>(key.size())});
  return member == value_->MemberEnd() ? json{} : json{document_, &member->value};
}

json json::operator[](std::size_t index) const {
  if (!is_array() || index >= value_->Size()) return {};
  return {document_, &(*value_)[static_cast<rapidjson::SizeType>(index)]};
}

json json::where(std::string_view key, std::string_view value) const {
  for (const auto& item : items())
    if (item[key] == value) return item;
  return {};
}

std::size_t json::size() const {
  if (missing()) return 0;
  if (value_->IsArray()) return value_->Size();
  return value_->IsObject() ? value_->MemberCount() : 0;
}

std::vector<json> json::items() const {
  std::vector<json> out;
  if (is_array())
    for (const auto& item : value_->GetArray())
      out.push_back(json{document_, &item});
  return out;
}

std::vector<std::string> json::keys() const {
  std::vector<std::string> out;
  if (!missing() && value_->IsObject())
    for (const auto& member : value_->GetObject())
      out.emplace_back(member.name.GetString(), member.name.GetStringLength());
  std::sort(out.begin(), out.end());
  return out;
}

std::string json::text() const {
  return missing() ? "<missing>" : write(*value_);
}

std::string json::string() const {
  if (missing() || !value_->IsString()) throw std::runtime_error{"not a string: " + text()};
  return {value_->GetString(), value_->GetStringLength()};
}

std::int64_t json::integer() const {
  if (missing() || !value_->IsInt64()) throw std::runtime_error{"not an integer: " + text()};
  return value_->GetInt64();
}

double json::number() const {
  if (missing() || !value_->IsNumber()) throw std::runtime_error{"not a number: " + text()};
  return value_->GetDouble();
}

bool json::equals(std::string_view text) const {
  return !missing() && value_->IsString() && std::string_view{value_->GetString(), value_->GetStringLength()} == text;
}

bool operator==(const json& a, const json& b) {
  if (a.missing() || b.missing()) return false;
  return *a.value_ == *b.value_;
}

std::ostream& operator<<(std::ostream& out, const json& value) {
  return out << value.text();
}

std::vector<std::string> words(std::string_view text) {
  std::istringstream in{std::string{text}};
  std::vector<std::string> out;
  for (std::string word; in >> word;)
    out.push_back(word);
  std::sort(out.begin(), out.end());
  return out;
}

std::string with(const std::string& document, const std::string& pointer, const std::string& value) {
  auto changed = document_of(document);
  const auto parsed = document_of(value);
  rapidjson::Value copy{parsed, changed.GetAllocator()};
  pointer_of(pointer).Set(changed, copy);
  return write(changed);
}

std::string without(const std::string& document, const std::string& pointer) {
  auto changed = document_of(document);
  if (!pointer_of(pointer).Erase(changed)) throw std::runtime_error{pointer + " is not in " + document};
  return write(changed);
}

std::string json_string(std::string_view text) {
  rapidjson::StringBuffer out;
  rapidjson::Writer<rapidjson::StringBuffer> writer{out};
  writer.String(text.data(), static_cast<rapidjson::SizeType>(text.size()));
  return {out.GetString(), out.GetSize()};
}

} // namespace townkeeper::contract
