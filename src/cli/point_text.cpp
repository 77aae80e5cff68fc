#include "cli/point_text.hpp"

#include <fmt/format.h>
#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <algorithm>

#include "core/bounded_json.hpp"
#include "town/answer.hpp"
#include "town/decode.hpp"

namespace townkeeper::cli {
namespace {

std::string plain(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; }, '?');
  return text;
}

std::string short_commit(const std::string& commit) {
  return commit.substr(0, 12);
}

std::string holds(const town::recovery_point& p) {
  if (p.clean) return "clean";
  const auto& f = p.files;
  return fmt::format("{} staged, {} modified, {} untracked{}", f.staged, f.modified, f.untracked,
                     f.left_out > 0 ? fmt::format(", {} left out", f.left_out) : "");
}

std::string or_none(const std::optional<std::string>& commit) {
  return commit ? *commit : "none";
}

void add_paths(std::string& out, const char* title, const std::vector<std::string>& paths) {
  if (paths.empty()) return;
  out += fmt::format("{} ({}):\n", title, paths.size());
  for (const auto& path : paths)
    out += "  " + plain(path) + "\n";
}

void add_left_out(std::string& out, const std::vector<town::left_out_file>& files) {
  if (files.empty()) return;
  out += fmt::format("left out, not in the point ({}):\n", files.size());
  for (const auto& f : files)
    out += fmt::format("  {}: {}\n", plain(f.path), plain(f.reason));
}

void add_reported(std::string& out, const std::vector<std::string>& reported) {
  for (const auto& what : reported)
    out += "note: " + plain(what) + "\n";
}

std::string text_of(const rapidjson::Value& object, const char* key) {
  const auto it = object.FindMember(key);
  return it != object.MemberEnd() && it->value.IsString() ? it->value.GetString() : "";
}

error not_readable(std::string why) {
  return {error_code::corrupt, "snapshot", "the daemon's answer cannot be read: " + std::move(why)};
}

result<std::vector<town::recovery_point>> read_points(const rapidjson::Value& list) {
  std::vector<town::recovery_point> points;
  if (!list.IsArray()) return not_readable("data is no array");
  for (const auto& each : list.GetArray()) {
    rapidjson::StringBuffer text;
    rapidjson::Writer<rapidjson::StringBuffer> writer(text);
    each.Accept(writer);
    auto point = town::decode_recovery_point({text.GetString(), text.GetSize()});
    if (!point) return not_readable(point.error().message);
    points.push_back(std::move(*point));
  }
  return points;
}

} // namespace

std::string points_table(const std::vector<git::listed_point>& points) {
  std::string out;
  for (const auto& p : points) {
    const auto order = p.details ? fmt::format("{}.{}", p.epoch, p.details->point.seq) : std::to_string(p.epoch);
    out += fmt::format("{:<20} {:>8}{} {}", p.agent_id, order, p.kept ? " kept" : "", short_commit(p.commit));
    if (p.details) {
      const auto& point = p.details->point;
      out += fmt::format("  {} {:<6} {}", plain(point.saved_at), plain(point.kind), holds(point));
    }
    out += "  " + plain(p.ref) + "\n";
  }
  return out;
}

std::string shown_text(const git::shown_point& shown) {
  const auto& p = shown.found.point;
  std::string out = fmt::format("recovery point {}\n", plain(p.ref));
  out += fmt::format("commit   {}\n", p.commit);
  out += fmt::format("taken    {} ({}), epoch {}, seq {}\n", plain(p.saved_at), plain(p.kind), p.epoch, p.seq);
  if (!shown.identity.empty()) out += fmt::format("agent    {}\n", plain(shown.identity));
  out += fmt::format("branch   {}: {} on the remote then, {} here\n", plain(p.branch), or_none(p.remote_commit),
                     or_none(p.branch_commit));
  out += fmt::format("HEAD     {}{}\n", p.head.ref ? plain(*p.head.ref) : "detached",
                     p.head.commit ? " at " + *p.head.commit : ", no commit yet");
  out += fmt::format("holds    {}\n", holds(p));
  add_paths(out, "staged", shown.staged);
  add_paths(out, "modified", shown.modified);
  add_paths(out, "deleted", shown.deleted);
  add_paths(out, "untracked", shown.untracked);
  add_paths(out, "in conflict", shown.conflicted);
  add_paths(out, "operation in progress", shown.operation);
  add_left_out(out, shown.found.left_out);
  return out;
}

std::string applied_text(const git::point_applied& applied) {
  auto out = fmt::format("applied {}: HEAD is {}, {} path(s) of the point are in files and index\n",
                         plain(applied.found.point.ref), plain(applied.head), applied.files);
  add_reported(out, applied.reported);
  add_left_out(out, applied.found.left_out);
  return out;
}

std::string exported_text(const git::point_exported& exported) {
  const auto& ref = exported.found.point.ref;
  auto out = fmt::format("{}: {} file(s) as they were\n{}: for `git fetch {} {}`\n", exported.files.string(),
                         exported.file_count, exported.bundle.string(), exported.bundle.string(), plain(ref));
  add_reported(out, exported.reported);
  add_left_out(out, exported.found.left_out);
  return out;
}

std::string saved_text(const std::vector<town::recovery_point>& points) {
  std::string out;
  for (const auto& p : points)
    out += fmt::format("saved  {}  {}  {}  {}\n", short_commit(p.commit), plain(p.saved_at), holds(p), plain(p.ref));
  if (points.empty()) out = "nothing to save: no agent has uncommitted or unpushed work\n";
  return out;
}

std::string snapshot_body(const std::optional<std::string>& agent_id) {
  rapidjson::StringBuffer text;
  rapidjson::Writer<rapidjson::StringBuffer> out(text);
  out.StartObject();
  if (agent_id) {
    out.Key("agentId");
    out.String(agent_id->data(), static_cast<rapidjson::SizeType>(agent_id->size()));
  }
  out.EndObject();
  return {text.GetString(), text.GetSize()};
}

result<snapshot_told> read_snapshot_answer(int status, std::string_view body) {
  rapidjson::Document document;
  const bool is_json = !parse_bounded(body, document) && document.IsObject();
  const auto member = [&](const char* name) -> const rapidjson::Value* {
    if (!is_json) return nullptr;
    const auto found = document.FindMember(name);
    return found == document.MemberEnd() ? nullptr : &found->value;
  };
  const auto* unsaved = member("unsaved");
  const bool lists_unsaved = unsaved != nullptr && unsaved->IsArray();
  if (!lists_unsaved)
    if (const auto read = town::classify("snapshot", status, body, {}); !read.data) return read.data.error();
  const auto* data = member("data");
  if (data == nullptr) return not_readable("it has no data");
  auto points = read_points(*data);
  if (!points) return points.error();
  snapshot_told told{std::move(*points), {}};
  if (!lists_unsaved) return told;
  for (const auto& each : unsaved->GetArray())
    if (each.IsObject())
      told.unsaved.push_back(
          {error_code::dirty, "agent " + plain(text_of(each, "agentId")), "unsaved: " + plain(text_of(each, "error"))});
  return told;
}

} // namespace townkeeper::cli
