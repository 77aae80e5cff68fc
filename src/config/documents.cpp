// The table of settings as documents: the schema, the file of defaults, the README's table, and a loaded configuration.

#include <fmt/format.h>
#include <rapidjson/document.h>
#include <rapidjson/prettywriter.h>
#include <rapidjson/stringbuffer.h>

#include <utility>

#include "config/settings.hpp"

namespace townkeeper::config {
namespace {

using pretty_writer = rapidjson::PrettyWriter<rapidjson::StringBuffer>;

std::string_view section_of(const setting& s) {
  const auto dot = s.key.find('.');
  return dot == std::string::npos ? std::string_view{} : std::string_view(s.key).substr(0, dot);
}

std::string_view name_in_section(const setting& s) {
  return std::string_view(s.key).substr(s.key.find('.') + 1); // npos + 1 is 0: a key without a section
}

void write(pretty_writer& out, std::string_view text) {
  out.String(text.data(), static_cast<rapidjson::SizeType>(text.size()));
}

void write_key(pretty_writer& out, std::string_view key) {
  out.Key(key.data(), static_cast<rapidjson::SizeType>(key.size()));
}

void write_json(pretty_writer& out, const std::string& json) {
  rapidjson::Document value;
  value.Parse(json);
  value.Accept(out);
}

/// A value of the table in its JSON shape; null for what is not set.
void write_value(pretty_writer& out, const setting& s, const std::string& text) {
  if (s.shape != value_shape::text)
    write_json(out, text);
  else if (text.empty())
    out.Null();
  else
    write(out, text);
}

/// Calls `write_one` for each setting that `wanted` takes, between the objects that their sections make.
template <class Wanted, class Open, class WriteOne, class Close>
void by_section(Wanted wanted, Open open, WriteOne write_one, Close close) {
  std::string_view current;
  for (const auto& s : settings()) {
    if (!wanted(s)) continue;
    if (const auto section = section_of(s); section != current) {
      if (!current.empty()) close();
      if (!section.empty()) open(section);
      current = section;
    }
    write_one(s);
  }
  if (!current.empty()) close();
}

std::string finished(const rapidjson::StringBuffer& buffer) {
  return std::string(buffer.GetString(), buffer.GetSize()) + "\n";
}

/// A `|` would end a cell.
std::string cell(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

} // namespace

std::string schema_text() {
  rapidjson::StringBuffer buffer;
  pretty_writer out(buffer);
  out.SetIndent(' ', 2);
  const auto begin_object = [&] {
    out.StartObject();
    out.Key("type");
    out.String("object");
    out.Key("additionalProperties");
    out.Bool(false);
    out.Key("properties");
    out.StartObject();
  };
  const auto end_object = [&] {
    out.EndObject();
    out.EndObject();
  };
  begin_object();
  out.Key("$schema");
  write_json(out, R"({"type":"string"})");
  by_section([](const setting&) { return true; },
             [&](std::string_view section) {
               write_key(out, section);
               begin_object();
             },
             [&](const setting& s) {
               rapidjson::Document schema;
               schema.Parse(s.schema);
               const auto description = fmt::format("{} Accepted: {}.", s.meaning, s.accepted);
               schema.AddMember("description", rapidjson::Value(description, schema.GetAllocator()),
                                schema.GetAllocator());
               write_key(out, name_in_section(s));
               schema.Accept(out);
             },
             end_object);
  end_object();
  return finished(buffer);
}

std::string defaults_text() {
  rapidjson::StringBuffer buffer;
  pretty_writer out(buffer);
  out.SetIndent(' ', 2);
  out.SetFormatOptions(rapidjson::kFormatSingleLineArray);
  out.StartObject();
  by_section([](const setting& s) { return !s.default_text.empty(); },
             [&](std::string_view section) {
               write_key(out, section);
               out.StartObject();
             },
             [&](const setting& s) {
               write_key(out, name_in_section(s));
               write_value(out, s, s.default_text);
             },
             [&] { out.EndObject(); });
  out.EndObject();
  return finished(buffer);
}

std::string markdown_table() {
  std::string out = "| key | environment | default | accepted | meaning |\n|---|---|---|---|---|\n";
  for (const auto& s : settings()) {
    auto variables = fmt::format("`{}`", s.variable);
    for (const auto& other : s.other_variables)
      variables += fmt::format(" or `{}`", other);
    const auto value = s.default_text.empty() ? std::string("not set") : fmt::format("`{}`", s.default_text);
    out += fmt::format("| `{}`", s.key) +
           fmt::format(" | {} | {} | {} | {} |\n", variables, cell(value), cell(s.accepted), cell(s.meaning));
  }
  return out;
}

std::string describe(const config& c) {
  rapidjson::StringBuffer buffer;
  pretty_writer out(buffer);
  out.SetIndent(' ', 2);
  out.SetFormatOptions(rapidjson::kFormatSingleLineArray);
  out.StartObject();
  for (const auto& s : settings()) {
    const auto origin = c.origins.find(s.key);
    write_key(out, s.key);
    out.StartObject();
    out.Key("value");
    write_value(out, s, s.show(c));
    out.Key("origin");
    write(out, origin == c.origins.end() ? std::string_view("default") : std::string_view(origin->second));
    out.EndObject();
  }
  out.EndObject();
  return finished(buffer);
}

} // namespace townkeeper::config
