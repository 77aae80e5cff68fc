#include "cli/status_table.hpp"

#include <fmt/format.h>
#include <rapidjson/document.h>

#include "core/bounded_json.hpp"

namespace townkeeper::cli {
namespace {

using json = rapidjson::Value;

const json* member(const json& object, const char* name) {
  if (!object.IsObject()) return nullptr;
  const auto found = object.FindMember(name);
  return found == object.MemberEnd() ? nullptr : &found->value;
}

/// Control characters in a name or message would be the terminal's.
std::string text(const json& object, const char* name) {
  const auto* value = member(object, name);
  if (value == nullptr || !value->IsString()) return {};
  std::string out(value->GetString(), value->GetStringLength());
  for (auto& c : out)
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') c = ' ';
  return out;
}

std::int64_t number(const json& object, const char* name) {
  const auto* value = member(object, name);
  return value != nullptr && value->IsInt64() ? value->GetInt64() : 0;
}

double real(const json& object, const char* name) {
  const auto* value = member(object, name);
  return value != nullptr && value->IsNumber() ? value->GetDouble() : 0;
}

template <class Visit>
void each(const json& object, const char* name, Visit visit) {
  const auto* list = member(object, name);
  if (list == nullptr || !list->IsArray()) return;
  for (const auto& item : list->GetArray())
    visit(item);
}

std::string process_of(const json& document, const std::string& agent_id) {
  std::string status;
  each(document, "agents", [&](const json& process) {
    if (text(process, "agentId") == agent_id) status = text(process, "status");
  });
  return status;
}

std::string bytes(std::int64_t count) {
  constexpr double mebi = 1024.0 * 1024.0;
  return fmt::format("{:.1f} MiB", static_cast<double>(count) / mebi);
}

std::string with_error(const json& of) {
  const auto why = text(of, "error");
  return why.empty() ? why : "  " + why;
}

} // namespace

result<std::string> status_table(std::string_view health_document) {
  rapidjson::Document document;
  const bool read = !parse_bounded(health_document, document);
  const auto* recovery = read ? member(document, "recovery") : nullptr;
  if (recovery == nullptr) return error{error_code::corrupt, "/health", "the answer is no health document"};

  std::string out;
  out += fmt::format("{}  {:.0f} %  epoch {}  up {:.0f} s\n", text(*recovery, "phase"),
                     100 * real(*recovery, "progress"), number(*recovery, "epoch"), real(document, "uptime"));
  if (const auto* trouble = member(*recovery, "trouble"); trouble != nullptr)
    out += fmt::format("held up by {}\n", text(*trouble, "error"));
  each(*recovery, "rigs", [&](const json& rig) {
    out += fmt::format("\nrig {:<28} {:<10} {:>12}{}\n", text(rig, "rigId"), text(rig, "phase"),
                       bytes(number(rig, "receivedBytes")), with_error(rig));
    each(rig, "agents", [&](const json& agent) {
      const auto id = text(agent, "agentId");
      const auto outcome = text(agent, "outcome");
      out +=
          fmt::format("  {:<30} {:<14} {:<10} {:<28} {:.12}{}\n", id, outcome.empty() ? text(agent, "phase") : outcome,
                      process_of(document, id), text(agent, "branch"), text(agent, "commit"), with_error(agent));
    });
  });
  each(*recovery, "setAside", [&](const json& entry) {
    out += fmt::format("\nset aside: {} {}  {}\n", text(entry, "rigId"), text(entry, "agentId"), text(entry, "reason"));
  });
  return out;
}

} // namespace townkeeper::cli
