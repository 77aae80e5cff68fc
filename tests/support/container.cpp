#include "container.hpp"

#include <signal.h>
#include <unistd.h>

#include <fstream>
#include <set>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "failure_notes.hpp"
#include "files.hpp"

extern char** environ; // NOLINT(readability-redundant-declaration)

namespace townkeeper::test {

namespace {

constexpr std::chrono::milliseconds poll_interval{5};

/// SIGKILL to every process that runs in a directory below `root`. Returns how many there were.
int kill_processes_in(const std::filesystem::path& root) {
  int found = 0;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator{"/proc", ignored}) {
    const auto name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const auto directory = std::filesystem::read_symlink(entry.path() / "cwd", ignored).string();
    if (ignored || !directory.starts_with(root.string() + "/")) continue;
    ++found;
    ::kill(std::stoi(name), SIGKILL);
  }
  return found;
}

} // namespace

bool wait_until(const std::function<bool()>& reached, std::chrono::milliseconds deadline) {
  const auto until = std::chrono::steady_clock::now() + deadline;
  while (!reached()) {
    if (std::chrono::steady_clock::now() >= until) return false;
    std::this_thread::sleep_for(poll_interval);
  }
  return true;
}

// -- container --------------------------------------------------------------------------------------------------------

container::container(container_options options)
    : options_{std::move(options)}
    , workspace_{dir_.path() / "workspace"} {
  if (options_.disk_bytes > 0) disk_ = std::make_unique<small_disk>(workspace_, options_.disk_bytes);
  note_container(*this);
}

container::~container() {
  note_end(*this);
}

void container::launch() {
  url_.clear();
  std::filesystem::create_directories(workspace_);
  // What a predecessor wrote on a warm disk says nothing about this one.
  std::filesystem::remove(workspace_ / ".townkeeper" / "control.json");
  const auto file = dir_.path() / "townkeeper.json";
  std::ofstream{file, std::ios::trunc} << options_.config;
  child_options child;
  child.argv = {TOWNKEEPER_BINARY,   "run",      "--config",   file.string(), "--workspace",
                workspace_.string(), "--listen", "127.0.0.1:0"};
  child.argv.insert(child.argv.end(), options_.arguments.begin(), options_.arguments.end());
  child.argv.insert(child.argv.begin(), options_.launcher.begin(), options_.launcher.end());
  // What the tests themselves are told is no setting of the daemon's.
  for (char** entry = environ; *entry != nullptr; ++entry)
    if (const std::string_view variable{*entry}; variable.starts_with("TOWNKEEPER_"))
      child.environment[std::string{variable.substr(0, variable.find('='))}] = {};
  for (const auto& [name, value] : options_.environment)
    child.environment[name] = value;
  child.environment["GASTOWN_API_URL"] = options_.api_url;
  child.environment["GASTOWN_TOWN_ID"] = options_.town_id;
  child.environment["GASTOWN_CONTAINER_TOKEN"] = options_.token;
  child.log = dir_.path() / "daemon.log";
  process_ = std::make_unique<child_process>(child);
}

bool container::wait_until_listening(std::chrono::milliseconds deadline) {
  const auto file = workspace_ / ".townkeeper" / "control.json";
  return wait_until(
             [&] {
               rapidjson::Document control;
               control.Parse(bytes_of(file));
               if (control.IsObject() && control.HasMember("url")) url_ = control["url"].GetString();
               return !url_.empty() || !process_->running();
             },
             deadline) &&
         !url_.empty();
}

void container::start() {
  launch();
  if (!wait_until_listening()) throw std::runtime_error{"townkeeper did not start:\n" + log()};
}

void container::kill() {
  if (process_) process_->kill();
  // The agents die with the daemon; what they had forked (a git push in the middle) has to go with the container as
  // well.
  if (!wait_until([&] { return kill_processes_in(workspace_) == 0; }))
    throw std::runtime_error{"processes of the container do not end"};
}

void container::terminate() {
  if (process_) process_->signal(SIGTERM);
}

std::optional<int> container::wait_for_exit(std::chrono::milliseconds deadline) {
  return process_ ? process_->wait(deadline) : std::nullopt;
}

container_ending container::end(std::chrono::milliseconds grace) {
  const auto begun = std::chrono::steady_clock::now();
  const auto since = [&] {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begun);
  };
  terminate();
  container_ending out;
  if (const auto code = wait_for_exit(grace)) {
    out.code = *code;
  } else {
    out.killed = true;
    out.code = 128 + SIGKILL;
  }
  out.took = since();
  kill();
  return out;
}

std::int64_t container::descriptors() const {
  if (!process_ || !process_->running()) return 0;
  std::error_code gone;
  std::int64_t count = 0;
  const auto directory = "/proc/" + std::to_string(process_->pid()) + "/fd";
  for (auto it = std::filesystem::directory_iterator{directory, gone}; !gone && it != std::filesystem::end(it);
       it.increment(gone))
    ++count;
  return count;
}

std::filesystem::path container::socket_of(const std::string& agent_id) const {
  std::filesystem::path found;
  const auto listens = [&] {
    std::set<std::string> own;
    std::error_code gone;
    const auto directory = "/proc/" + std::to_string(process_->pid()) + "/fd";
    for (auto it = std::filesystem::directory_iterator{directory, gone}; !gone && it != std::filesystem::end(it);
         it.increment(gone))
      own.insert(std::filesystem::read_symlink(it->path(), gone).string());
    // proc(5): Num RefCount Protocol Flags Type St Inode Path
    std::istringstream all{bytes_of("/proc/net/unix")};
    for (std::string line; std::getline(all, line);) {
      std::istringstream fields{line};
      std::string skipped, inode, path;
      for (int i = 0; i < 6; ++i)
        fields >> skipped;
      if (fields >> inode >> path && own.contains("socket:[" + inode + "]") &&
          path.ends_with("/" + agent_id + ".sock.new")) // the name it was bound to, and moved away from
        found = path.substr(0, path.size() - std::string_view{".new"}.size());
    }
    return !found.empty();
  };
  if (!wait_until(listens)) throw std::runtime_error{"the daemon has no socket for " + agent_id};
  return found;
}

std::int64_t container::resident_bytes() const {
  if (!process_ || !process_->running()) return 0;
  std::int64_t pages = 0, resident = 0;
  std::ifstream{"/proc/" + std::to_string(process_->pid()) + "/statm"} >> pages >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

std::int64_t container::anonymous_bytes() const {
  if (!process_ || !process_->running()) return 0;
  std::ifstream status{"/proc/" + std::to_string(process_->pid()) + "/status"};
  for (std::string word; status >> word;)
    if (std::int64_t kib = 0; word == "RssAnon:" && status >> kib) return kib * 1024;
  return 0;
}

void container::wipe_disk() {
  if (disk_) return disk_->wipe();
  std::filesystem::remove_all(workspace_);
}

std::filesystem::path container::worktree(std::string_view rig_id, std::string_view agent_id) const {
  return workspace_ / "rigs" / rig_id / "worktrees" / agent_id;
}

std::string container::log() const {
  return bytes_of(dir_.path() / "daemon.log");
}

http_response container::get(const std::string& path) const {
  http_request request;
  request.url = url_ + path;
  auto answer = send(request);
  return answer ? *answer : http_response{};
}

int container::port() const {
  return std::stoi(url_.substr(url_.rfind(':') + 1));
}

http_response container::post(const std::string& path, const std::string& body, const std::string& token,
                              std::vector<std::pair<std::string, std::string>> headers) const {
  http_request request;
  request.method = "POST";
  request.url = url_ + path;
  request.headers = std::move(headers);
  request.headers.emplace_back("Content-Type", "application/json");
  if (!token.empty()) request.headers.emplace_back("Authorization", "Bearer " + token);
  request.body = body;
  auto answer = send(request);
  return answer ? *answer : http_response{};
}

rapidjson::Document container::health() const {
  rapidjson::Document document;
  const auto answer = get("/health");
  if (answer.status != 200) return document;
  note_health(*this, answer.body);
  document.Parse(answer.body);
  return document;
}

bool container::wait_for_health(const std::function<bool(const rapidjson::Value&)>& reached,
                                std::chrono::milliseconds deadline) const {
  return wait_until(
      [&] {
        const auto document = health();
        return document.IsObject() && reached(document);
      },
      deadline);
}

bool container::wait_for_phase(std::string_view phase, std::chrono::milliseconds deadline) const {
  return wait_for_health([&](const rapidjson::Value& h) { return h["recovery"]["phase"].GetString() == phase; },
                         deadline);
}

// -- town_admin -------------------------------------------------------------------------------------------------------

town_admin::town_admin(const town& where, std::string town_id)
    : base_{where.base_url() + "/api/towns/" + town_id}
    , token_{where.mint(town_id, "admin", std::chrono::hours{24})} {}

rapidjson::Document town_admin::call(const std::string& method, const std::string& path,
                                     const std::string& body) const {
  http_request request;
  request.method = method;
  request.url = base_ + path;
  request.headers = {{"Authorization", "Bearer " + token_}, {"Content-Type", "application/json"}};
  request.body = body;
  const auto answer = send(request);
  if (!answer) throw std::runtime_error{method + " " + path + ": " + to_string(answer.error())};
  if (answer->status / 100 != 2)
    throw std::runtime_error{method + " " + path + ": " + std::to_string(answer->status) + " " + answer->body};
  rapidjson::Document whole;
  whole.Parse(answer->body);
  rapidjson::Document data;
  data.CopyFrom(whole["data"], data.GetAllocator());
  return data;
}

void town_admin::put_rig(std::string_view rig_id, std::string_view git_url, std::string_view default_branch) const {
  std::ostringstream body;
  body << R"({"name":")" << rig_id << R"(","gitUrl":")" << git_url << R"(","defaultBranch":")" << default_branch
       << R"("})";
  call("PUT", "/rigs/" + std::string{rig_id}, body.str());
}

void town_admin::put_agent(std::string_view rig_id, std::string_view agent_id, std::string_view branch,
                           std::string_view fields) const {
  std::ostringstream body;
  body << R"({"name":")" << agent_id << R"(","role":"polecat","identity":"Agent )" << agent_id << " <" << agent_id
       << R"(@example.invalid>","status":"pending","branch":")" << branch << R"(","priority":0)" << fields << "}";
  call("PUT", "/rigs/" + std::string{rig_id} + "/agents/" + std::string{agent_id}, body.str());
}

void town_admin::put_git_token(std::string_view rig_id, std::string_view token) const {
  call("PUT", "/rigs/" + std::string{rig_id} + "/git-token", R"({"token":")" + std::string{token} + R"("})");
}

void town_admin::remove_agent(std::string_view rig_id, std::string_view agent_id) const {
  call("DELETE", "/rigs/" + std::string{rig_id} + "/agents/" + std::string{agent_id});
}

void town_admin::remove_rig(std::string_view rig_id) const {
  call("DELETE", "/rigs/" + std::string{rig_id});
}

rapidjson::Document town_admin::state() const {
  return call("GET", "/state");
}

rapidjson::Document town_admin::dispatches() const {
  return call("GET", "/dispatches?after=0");
}

} // namespace townkeeper::test
