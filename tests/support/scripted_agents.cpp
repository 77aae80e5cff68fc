#include "scripted_agents.hpp"

#include <filesystem>
#include <fstream>
#include <sstream>

namespace townkeeper::test {

std::string worker::command() const {
  return R"(["/bin/sh",")" TOWNKEEPER_WORKER R"(","{agentId}",")" + dir_.path().string() + R"("])";
}

std::vector<worker::entry> worker::journal(const std::string& agent_id) const {
  std::vector<entry> out;
  std::ifstream in{dir_.path() / (agent_id + ".journal")};
  for (std::string line; std::getline(in, line);) {
    entry e;
    std::istringstream{line} >> e.word >> e.id >> e.what;
    if (!e.what.empty()) out.push_back(std::move(e));
  }
  return out;
}

std::vector<worker::entry> worker::all(const std::string& agent_id, const std::string& word) const {
  std::vector<entry> out;
  for (auto& e : journal(agent_id))
    if (e.word == word) out.push_back(std::move(e));
  return out;
}

void worker::let_work(bool allowed) {
  const auto go = dir_.path() / "go";
  if (allowed)
    std::ofstream{go} << "";
  else
    std::filesystem::remove(go);
}

bool worker::is_idle(const std::string& agent_id) const {
  return std::filesystem::exists(dir_.path() / (agent_id + ".idle"));
}

void worker::finish() {
  std::ofstream{dir_.path() / "finish"} << "";
}

std::string editor::command(const std::string& pause) const {
  return R"(["/usr/bin/perl",")" TOWNKEEPER_EDITOR R"(","{agentId}",")" + dir_.path().string() + R"(",")" + pause +
         R"("])";
}

std::vector<editor::edit> editor::edits(const std::string& agent_id) const {
  std::vector<edit> out;
  std::ifstream in{dir_.path() / (agent_id + ".edits")};
  for (edit e; in >> e.number >> e.at_ns;)
    out.push_back(e);
  return out;
}

void editor::forget_after(const std::string& agent_id, std::int64_t number) {
  const auto all = edits(agent_id);
  std::ofstream out{dir_.path() / (agent_id + ".edits"), std::ios::trunc};
  for (const auto& e : all)
    if (e.number <= number) out << e.number << ' ' << e.at_ns << '\n';
}

void editor::let_work(bool allowed) {
  const auto go = dir_.path() / "go";
  if (allowed)
    std::ofstream{go} << "";
  else
    std::filesystem::remove(go);
}

void editor::finish() {
  std::ofstream{dir_.path() / "finish"} << "";
}

} // namespace townkeeper::test
