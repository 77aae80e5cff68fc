#include "config/file.hpp"

#include <fmt/format.h>
#include <rapidjson/document.h>
#include <rapidjson/schema.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>

#include "config/nearest.hpp"
#include "core/bounded_json.hpp"

namespace townkeeper::config {
namespace {

using rapidjson::Value;

constexpr std::size_t max_file_bytes = 1024 * 1024;

error refused(const std::filesystem::path& path, const std::string& message) {
  return {error_code::invalid_config, path.string(), message};
}

result<std::string> contents(const std::filesystem::path& path) {
  std::error_code failure;
  if (!std::filesystem::exists(path, failure)) return refused(path, "the configuration file does not exist");
  if (!std::filesystem::is_regular_file(path, failure)) return refused(path, "is not a regular file");
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  if (!in) return refused(path, fmt::format("cannot be opened: {}", std::strerror(errno)));
  std::string text(max_file_bytes + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (in.bad()) return refused(path, fmt::format("cannot be read: {}", std::strerror(errno)));
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (text.size() > max_file_bytes) return refused(path, "is larger than 1 MiB, the limit of a configuration file");
  return text;
}

error syntax_error(const std::filesystem::path& path, const std::string& text, std::size_t offset,
                   const std::string& what) {
  const auto before = std::string_view(text).substr(0, offset);
  const auto line = std::count(before.begin(), before.end(), '\n') + 1;
  const auto line_start = before.rfind('\n') + 1; // npos + 1 is 0: the first line
  return refused(path, fmt::format("line {}, column {} (byte {}): {} (JSON without comments is accepted)", line,
                                   offset - line_start + 1, offset, what));
}

std::string_view name_of(const Value::Member& m) {
  return {m.name.GetString(), m.name.GetStringLength()};
}

const setting* find(std::string_view key) {
  const auto& all = settings();
  const auto found = std::find_if(all.begin(), all.end(), [&](const setting& s) { return s.key == key; });
  return found == all.end() ? nullptr : &*found;
}

bool is_section(std::string_view name) {
  const auto prefix = std::string(name) + ".";
  const auto& all = settings();
  return std::any_of(all.begin(), all.end(), [&](const setting& s) { return s.key.starts_with(prefix); });
}

error unknown_key(const std::filesystem::path& path, const std::string& key) {
  std::vector<std::string> known;
  for (const auto& s : settings())
    known.push_back(s.key);
  return {
      error_code::invalid_config, key,
      fmt::format("no such key, in file {}{}; `townkeeper config` lists all", path.string(), did_you_mean(key, known))};
}

/// Unknown keys and keys said twice, at both levels: the schema could refuse the first, but not name what was meant.
result<void> check_keys(const std::filesystem::path& path, const Value& object, const std::string& prefix) {
  std::set<std::string_view> seen;
  for (const auto& m : object.GetObject()) {
    const auto name = name_of(m);
    const auto key = prefix + std::string(name);
    if (!seen.insert(name).second)
      return error{error_code::invalid_config, key, fmt::format("stands twice in file {}", path.string())};
    if (find(key) != nullptr || (prefix.empty() && name == "$schema")) continue;
    if (!prefix.empty() || !is_section(name)) return unknown_key(path, key);
    if (m.value.IsObject())
      if (auto ok = check_keys(path, m.value, key + "."); !ok) return ok;
  }
  return {};
}

std::string compact(const Value& value) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  value.Accept(writer);
  return {buffer.GetString(), buffer.GetSize()};
}

/// `/git/connect_timeout` → `git.connect_timeout`, `/git/allow_http/0` too: the setting is what the reader can look up.
std::string key_at(const rapidjson::Pointer& pointer) {
  std::string key;
  for (std::size_t i = 0; i < std::min<std::size_t>(pointer.GetTokenCount(), 2); ++i) {
    const auto& token = pointer.GetTokens()[i];
    if (!key.empty()) key += '.';
    key.append(token.name, token.length);
    if (find(key) != nullptr) break;
  }
  return key;
}

result<void> check_schema(const std::filesystem::path& path, const rapidjson::Document& document) {
  rapidjson::Document schema_json;
  schema_json.Parse(schema_text());
  const rapidjson::SchemaDocument schema(schema_json);
  rapidjson::SchemaValidator validator(schema);
  if (document.Accept(validator)) return {};
  const auto key = key_at(validator.GetInvalidDocumentPointer());
  const auto* s = find(key);
  if (s == nullptr)
    return error{error_code::invalid_config, key,
                 fmt::format("in file {} must be an object of settings", path.string())};
  constexpr std::size_t longest = 80;
  const auto* value = validator.GetInvalidDocumentPointer().Get(document);
  auto shown = s->is_secret || value == nullptr ? std::string("the value") : compact(*value);
  if (shown.size() > longest) shown = shown.substr(0, longest) + "…";
  return error{error_code::invalid_config, key,
               redact(fmt::format("{} from file {} is not accepted (schema: {}); accepted is {}", shown, path.string(),
                                  validator.GetInvalidSchemaKeyword(), s->accepted))};
}

const Value* value_of(const rapidjson::Document& document, const setting& s) {
  const auto member = [](const Value& object, std::string_view name) -> const Value* {
    const auto found =
        object.FindMember(Value(rapidjson::StringRef(name.data(), static_cast<rapidjson::SizeType>(name.size()))));
    return found == object.MemberEnd() ? nullptr : &found->value;
  };
  const auto dot = s.key.find('.');
  if (dot == std::string::npos) return member(document, s.key);
  const auto* section = member(document, std::string_view(s.key).substr(0, dot));
  return section == nullptr ? nullptr : member(*section, std::string_view(s.key).substr(dot + 1));
}

} // namespace

result<std::vector<std::pair<const setting*, std::string>>> read_file(const std::filesystem::path& path) {
  const auto text = contents(path);
  if (!text) return text.error();
  rapidjson::Document document;
  if (const auto fault = parse_bounded(*text, document))
    return syntax_error(path, *text, fault->offset, fault->message);
  if (!document.IsObject()) return refused(path, "must hold one JSON object");
  if (auto ok = check_keys(path, document, {}); !ok) return ok.error();
  if (auto ok = check_schema(path, document); !ok) return ok.error();

  std::vector<std::pair<const setting*, std::string>> out;
  for (const auto& s : settings())
    if (const auto* value = value_of(document, s))
      out.emplace_back(&s,
                       value->IsString() ? std::string(value->GetString(), value->GetStringLength()) : compact(*value));
  return out;
}

} // namespace townkeeper::config
