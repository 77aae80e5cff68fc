#include "process/group_record.hpp"

#include <fcntl.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <utility>

#include "core/bounded_json.hpp"
#include "core/fault_point.hpp"
#include "core/log.hpp"
#include "git/descriptor.hpp"
#include "process/private_files.hpp"

namespace townkeeper {

std::filesystem::path record_path(const std::filesystem::path& records_directory, int pid) {
  return records_directory / (std::to_string(pid) + ".json");
}

result<void> write_record(const std::filesystem::path& records_directory, const group_record& record) {
  if (const int failed = fault_point("process-recorded"); failed != 0)
    return git::disk_error(failed, record_path(records_directory, record.pid).string(), "cannot be written");
  rapidjson::StringBuffer text;
  rapidjson::Writer<rapidjson::StringBuffer> json(text);
  json.StartObject();
  json.Key("agentId");
  json.String(record.agent_id);
  json.Key("rigId");
  json.String(record.rig_id);
  json.Key("pid");
  json.Int(record.pid);
  json.Key("startTime");
  json.Uint64(record.start_time);
  json.Key("bootId");
  json.String(record.boot_id);
  json.Key("pidNamespace");
  json.String(record.pid_namespace);
  json.EndObject();
  return write_private_file(record_path(records_directory, record.pid), {text.GetString(), text.GetSize()});
}

result<group_record> read_record(const std::filesystem::path& file) {
  constexpr std::size_t longest = 4096;
  const auto text = git::read_small_file(AT_FDCWD, file.c_str(), longest);
  if (!text) return text.error();
  rapidjson::Document parsed;
  const error damaged{error_code::corrupt, file.string(), "is no record of an agent's process"};
  if (parse_bounded(*text, parsed) || !parsed.IsObject()) return damaged;
  const auto& document = std::as_const(parsed); // its iterators can be compared in C++20
  const auto string = [&](const char* name) -> std::string {
    const auto found = document.FindMember(name);
    return found != document.MemberEnd() && found->value.IsString() ? found->value.GetString() : "";
  };
  const auto pid = document.FindMember("pid"), start_time = document.FindMember("startTime");
  if (pid == document.MemberEnd() || !pid->value.IsInt() || pid->value.GetInt() <= 1 ||
      start_time == document.MemberEnd() || !start_time->value.IsUint64())
    return damaged;
  group_record out{string("agentId"), string("rigId"),       pid->value.GetInt(), start_time->value.GetUint64(),
                   string("bootId"),  string("pidNamespace")};
  if (out.agent_id.empty() || out.boot_id.empty()) return damaged;
  return out;
}

void remove_record(const std::filesystem::path& file) {
  std::error_code failed;
  std::filesystem::remove(file, failed);
  if (failed)
    log::warn("record of a process cannot be removed", {{"file", file.string()}, {"error", failed.message()}});
}

} // namespace townkeeper
