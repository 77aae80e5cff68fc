#include "git/point_meta.hpp"

#include <fmt/format.h>
#include <rapidjson/document.h>

#include <utility>

#include "core/bounded_json.hpp"
#include "core/utf8.hpp"
#include "town/codec.hpp"
#include "town/decode.hpp"
#include "town/field_rules.hpp"
#include "town/json_writer.hpp"
#include "town/object_reader.hpp"

namespace townkeeper::git {
namespace {

bool is_plain_utf8(std::string_view bytes) noexcept {
  while (!bytes.empty()) {
    const auto length = utf8_sequence_length(bytes);
    if (length == 0 || bytes.front() == '%' || bytes.front() == '\0') return false;
    bytes.remove_prefix(length);
  }
  return true;
}

int digit_of(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

template <class Convert>
void convert_names(town::recovery_point& point, Convert convert) {
  point.ref = convert(point.ref);
  point.branch = convert(point.branch);
  if (point.head.ref) point.head.ref = convert(*point.head.ref);
}

error damaged(std::string_view document, std::string what) {
  return {error_code::corrupt, std::string(document), std::move(what)};
}

result<rapidjson::Document> parse_object(std::string_view name, std::string_view json) {
  rapidjson::Document document;
  if (const auto fault = parse_bounded(json, document))
    return damaged(name, fmt::format("is not JSON: {} at byte {}", fault->message, fault->offset));
  if (!document.IsObject()) return damaged(name, "is no JSON object");
  return document;
}

std::vector<town::left_out_file> read_left_out(town::object_reader& in) {
  std::vector<town::left_out_file> out;
  const auto* list = in.find_array("leftOut");
  for (rapidjson::SizeType i = 0; list != nullptr && i < list->Size(); ++i) {
    town::object_reader inner((*list)[i], fmt::format("leftOut[{}]", i));
    out.push_back({percent_decoded(inner.text("path")), inner.text("reason")});
    in.adopt(inner);
  }
  return out;
}

/// The point's object as text of its own, for the one who reads points.
std::string text_of(const rapidjson::Value& value) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  value.Accept(writer);
  return {buffer.GetString(), buffer.GetSize()};
}

std::string read_id(town::object_reader& in, std::string_view key) {
  return in.text(key, town::full_commit);
}

} // namespace

std::string percent_encoded(std::string_view bytes) {
  if (is_plain_utf8(bytes)) return std::string(bytes);
  std::string out;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x80 || c == '%' || c == '\0')
      out += fmt::format("%{:02X}", byte);
    else
      out += c;
  }
  return out;
}

std::string percent_decoded(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool has_digits = text[i] == '%' && i + 2 < text.size();
    const int high = has_digits ? digit_of(text[i + 1]) : -1;
    const int low = has_digits ? digit_of(text[i + 2]) : -1;
    if (high < 0 || low < 0) {
      out += text[i];
      continue;
    }
    out += static_cast<char>(static_cast<unsigned char>(high * 16 + low));
    i += 2;
  }
  return out;
}

std::string encode_meta(const point_meta& meta) {
  auto point = meta.point;
  point.commit.clear();
  convert_names(point, [](const std::string& name) { return percent_encoded(name); });
  town::json_writer out;
  out.begin_object();
  out.member("format", point_format);
  out.key("point");
  out.raw(town::encode(point));
  out.member("identity", meta.identity);
  out.list("leftOut", meta.left_out, [&](const town::left_out_file& f) {
    out.begin_object();
    out.member("path", percent_encoded(f.path));
    out.member("reason", f.reason);
    out.end_object();
  });
  out.end_object();
  return out.text();
}

result<point_meta> decode_meta(std::string_view json, const std::string& commit) {
  constexpr std::string_view name = "meta.json";
  auto document = parse_object(name, json);
  if (!document) return document.error();
  town::object_reader in(*document, {});
  const auto format = in.integer("format", 1);
  if (in.ok() && format > point_format)
    return error{
        error_code::unsupported, commit,
        fmt::format("the recovery point has format {}; this townkeeper reads formats up to {}: use a newer one", format,
                    point_format)};
  point_meta meta;
  meta.identity = in.text("identity");
  meta.left_out = read_left_out(in);
  const auto* point = in.find_object("point");
  if (point == nullptr) in.fail("point", "is missing");
  if (!in.ok()) return damaged(name, in.problem());
  auto decoded = town::decode_recovery_point(text_of(*point), commit);
  if (!decoded) return damaged(name, decoded.error().message);
  meta.point = std::move(*decoded);
  convert_names(meta.point, [](const std::string& text) { return percent_decoded(text); });
  // What stood behind a %XX has been through no rule yet.
  if (town::recovery_ref(meta.point.ref) != nullptr || town::valid_branch(meta.point.branch) != nullptr ||
      (meta.point.head.ref && town::valid_ref(*meta.point.head.ref) != nullptr))
    return damaged(name, "percent-encodes a name that is no ref");
  return meta;
}

std::string encode_refs(const point_refs& refs) {
  town::json_writer out;
  out.begin_object();
  out.key("operation");
  out.begin_object();
  for (const auto& [why, id] : refs.operation)
    out.member(percent_encoded(why), id);
  out.end_object();
  out.list("refs", refs.refs, [&](const auto& ref) {
    out.begin_object();
    out.member("name", percent_encoded(ref.first));
    out.member("id", ref.second);
    out.end_object();
  });
  out.list("stash", refs.stash, [&](const std::string& id) { out.value(id); });
  out.end_object();
  return out.text();
}

result<point_refs> decode_refs(std::string_view json) {
  constexpr std::string_view name = "refs.json";
  auto document = parse_object(name, json);
  if (!document) return document.error();
  town::object_reader in(*document, {});
  point_refs refs;
  if (const auto* operation = in.find_object("operation")) {
    town::object_reader inner(*operation, "operation");
    for (const auto& m : operation->GetObject()) {
      const std::string why(m.name.GetString(), m.name.GetStringLength());
      refs.operation.emplace(percent_decoded(why), read_id(inner, why));
    }
    in.adopt(inner);
  }
  const auto* list = in.find_array("refs");
  for (rapidjson::SizeType i = 0; list != nullptr && i < list->Size(); ++i) {
    town::object_reader inner((*list)[i], fmt::format("refs[{}]", i));
    auto ref = percent_decoded(inner.text("name"));
    if (const auto* wrong = town::valid_ref(ref)) inner.fail("name", wrong);
    refs.refs.emplace(std::move(ref), read_id(inner, "id"));
    in.adopt(inner);
  }
  const auto* stash = in.find_array("stash");
  for (rapidjson::SizeType i = 0; stash != nullptr && i < stash->Size(); ++i) {
    const auto& id = (*stash)[i];
    if (!id.IsString() || town::full_commit(id.GetString()) != nullptr)
      in.fail("stash", "holds something else than ids");
    if (in.ok()) refs.stash.emplace_back(id.GetString(), id.GetStringLength());
  }
  if (!in.ok()) return damaged(name, in.problem());
  return refs;
}

} // namespace townkeeper::git
