#include "town.hpp"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <ctime>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <vector>

#include "core/ids.hpp"
#include "exec_arguments.hpp"

extern char** environ; // NOLINT(readability-redundant-declaration)

namespace townkeeper::test {

namespace {

constexpr std::chrono::milliseconds start_deadline{20'000};

/// The descriptor on which workerd reports its port, in the child.
constexpr int control_fd = 3;

std::string base64url(const unsigned char* bytes, std::size_t size) {
  std::string out(4 * ((size + 2) / 3) + 1, '\0');
  const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), bytes, static_cast<int>(size));
  out.resize(static_cast<std::size_t>(length));
  for (char& c : out) {
    if (c == '+') c = '-';
    if (c == '/') c = '_';
  }
  out.erase(out.find_last_not_of('=') + 1);
  return out;
}

std::string base64url(std::string_view text) {
  return base64url(reinterpret_cast<const unsigned char*>(text.data()), text.size());
}

/// Reads what the child writes until it is a whole line; empty when the child ends or the deadline passes.
std::string read_line(int fd) {
  const auto until = std::chrono::steady_clock::now() + start_deadline;
  std::string line;
  while (line.find('\n') == std::string::npos) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    pollfd waiting{fd, POLLIN, 0};
    if (left.count() <= 0 || poll(&waiting, 1, static_cast<int>(left.count())) <= 0) return {};
    std::array<char, 256> chunk{};
    const ssize_t n = read(fd, chunk.data(), chunk.size());
    if (n <= 0) return {};
    line.append(chunk.data(), static_cast<std::size_t>(n));
  }
  return line;
}

/// The port in `{"event":"listen","socket":"http","port":N}`; 0 when it is not there.
int port_of(const std::string& line) {
  constexpr std::string_view key = "\"port\":";
  const auto at = line.find(key);
  return at == std::string::npos ? 0 : std::atoi(line.c_str() + at + key.size());
}

std::vector<std::string> environment_with(const std::map<std::string, std::string>& more) {
  std::vector<std::string> out;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text{*entry};
    if (more.count(std::string{text.substr(0, text.find('='))}) == 0) out.emplace_back(text);
  }
  for (const auto& [name, value] : more)
    out.push_back(name + "=" + value);
  return out;
}

} // namespace

std::string sign_token(std::string_view secret, std::string_view header, std::string_view payload) {
  const std::string text = base64url(header) + "." + base64url(payload);
  std::array<unsigned char, EVP_MAX_MD_SIZE> mac{};
  unsigned int size = 0;
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), mac.data(), &size);
  return text + "." + base64url(mac.data(), size);
}

town::town(town_options options)
    : options_{std::move(options)}
    , secret_{random_hex(32)} {
  start();
}

town::~town() {
  kill();
}

void town::kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
}

void town::hang() {
  if (running()) ::kill(pid_, SIGSTOP);
}

void town::resume() {
  if (running()) ::kill(pid_, SIGCONT);
}

void town::start() {
  if (running()) return;
  auto more = options_.environment;
  more["TOWN_SECRET"] = secret_;
  if (options_.time_scale > 1) more["TOWN_TIME_SCALE"] = std::to_string(options_.time_scale);
  std::vector<std::string> arguments{TOWNKEEPER_TOWN_SERVE, std::to_string(port_), (dir_.path() / "state").string(),
                                     "--control-fd", std::to_string(control_fd)};
  std::vector<std::string> environment = environment_with(more);
  const auto argv = pointers(arguments);
  const auto envp = pointers(environment);

  const int log = open(log_path().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  std::array<int, 2> ends{};
  if (log < 0 || pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error{"town: no log file or pipe"};
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(127);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    // A descriptor that already has the right number would keep its close-on-exec flag.
    if (ends[1] == control_fd)
      fcntl(control_fd, F_SETFD, 0);
    else
      dup2(ends[1], control_fd);
    execve(argv[0], argv.data(), envp.data());
    _exit(127);
  }
  close(log);
  close(ends[1]);
  if (child < 0) {
    close(ends[0]);
    throw std::runtime_error{"town: fork failed"};
  }
  pid_ = child;
  const int port = port_of(read_line(ends[0]));
  close(ends[0]);
  if (port == 0) {
    kill();
    throw std::runtime_error{"town: " TOWNKEEPER_TOWN_SERVE " did not start:\n" + this->log()};
  }
  port_ = port;
}

std::string town::base_url() const {
  return "http://127.0.0.1:" + std::to_string(port_);
}

std::string town::mint(std::string_view town_id, std::string_view scope, std::chrono::seconds ttl) const {
  const auto now = static_cast<long long>(std::time(nullptr));
  std::ostringstream payload;
  // An expired token was issued before it expired.
  const auto issued = ttl.count() < 0 ? now + ttl.count() - 3600 : now;
  payload << R"({"townId":")" << town_id << R"(","scope":")" << scope << R"(","iat":)" << issued << R"(,"exp":)"
          << now + ttl.count() << '}';
  return sign_token(secret_, R"({"alg":"HS256","typ":"JWT"})", payload.str());
}

std::string town::log() const {
  std::ifstream file{log_path()};
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

} // namespace townkeeper::test
