#include "remote.hpp"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace townkeeper::test {

namespace {

namespace fs = std::filesystem;

/// Replaces a file at once: the server reads it at any moment.
void replace(const fs::path& path, std::string_view content) {
  fs::create_directories(path.parent_path());
  const fs::path temporary = path.string() + ".new";
  {
    std::ofstream file{temporary, std::ios::binary};
    file << content;
    if (!file.flush()) throw std::runtime_error{"remote: cannot write " + temporary.string()};
  }
  fs::rename(temporary, path);
}

/// What stands between lighttpd and git: notes the request, and gives the fixed answer where there is one. PATH_INFO is
/// `/<name>.git/<service>`. A push that has begun is ended whoever hangs up, as hosts of git do: lighttpd would send
/// SIGTERM, and git killed in the moment it creates a ref's lock leaves it there for good.
constexpr std::string_view gate_script = R"(#!/bin/sh
printf '%s %s%s%s\n' "$REQUEST_METHOD" "$PATH_INFO" "${QUERY_STRING:+?$QUERY_STRING}" \
  "${HTTP_AUTHORIZATION:+ +credentials}" >> "$TOWN_REMOTE/requests"
answer="$TOWN_REMOTE/answers${PATH_INFO%%.git/*}"
[ -f "$answer" ] && exec cat "$answer"
[ "$REQUEST_METHOD" = POST ] && [ -f "$answer.post" ] && exec cat "$answer.post"
if [ "${PATH_INFO##*/}" = git-receive-pack ]; then
  trap '' TERM
  "$GIT_HTTP_BACKEND"
  exit
fi
exec "$GIT_HTTP_BACKEND"
)";

std::string text_of(const fixed_answer& answer) {
  std::string text = "Status: " + std::to_string(answer.status) + "\r\n";
  for (const auto& [header, value] : answer.headers)
    text += header + ": " + value + "\r\n";
  return text + "\r\n" + answer.body;
}

/// Asked once: a git process per request would be the dearest part of a small one.
const std::string& http_backend() {
  static const std::string path = run_git({}, {"--exec-path"}) + "/git-http-backend";
  return path;
}

/// As a regular expression of lighttpd that matches the repository's URLs and no other's.
std::string url_pattern(const std::string& name) {
  std::string out = "^/";
  for (const char c : name) {
    if (c == '.' || c == '+') out += '\\';
    out += c;
  }
  return out + "\\.git/";
}

} // namespace

remote::remote(remote_options options)
    : options_{options} {
  for (const char* part : {"repositories", "answers", "tokens", "uploads"})
    fs::create_directory(dir_.path() / part);
  replace(dir_.path() / "gate", gate_script);
  fs::permissions(dir_.path() / "gate", fs::perms::owner_all);
  start();
}

// -- the server -------------------------------------------------------------

std::string remote::url(const std::string& name) const {
  return (options_.tls == certificate::none ? "http" : "https") + std::string{"://127.0.0.1:"} +
         std::to_string(port()) + "/" + name + ".git";
}

void remote::start() {
  if (!running()) server_.start(configuration());
}

void remote::restart() {
  stop();
  start();
}

std::string remote::configuration() {
  const std::string dir = dir_.path();
  std::ostringstream text;
  text << "server.modules = (\"mod_auth\", \"mod_authn_file\", \"mod_alias\", \"mod_setenv\", \"mod_cgi\""
       << (options_.tls == certificate::none ? "" : ", \"mod_openssl\"") << ")\n"
       << "server.document-root = \"" << dir << "/repositories\"\n"
       << "server.upload-dirs = (\"" << dir << "/uploads\")\n"
       << "server.stream-response-body = 2\n" // as it comes, so that a transfer can be broken in its middle
       << "alias.url = (\"/\" => \"" << dir << "/gate/\")\n"
       << "cgi.assign = (\"\" => \"\")\n"
       << "setenv.set-environment = (\"GIT_PROJECT_ROOT\" => \"" << dir << "/repositories\","
       << " \"GIT_HTTP_BACKEND\" => \"" << http_backend()
       << "\", \"GIT_HTTP_EXPORT_ALL\" => \"1\", \"TOWN_REMOTE\" => \"" << dir << "\"";
  for (const auto& [name, value] : git_environment())
    if (name.starts_with("GIT_CONFIG") || name == "HOME") text << ", \"" << name << "\" => \"" << value << "\"";
  text << ")\n";
  if (options_.tls != certificate::none)
    text << "ssl.engine = \"enable\"\nssl.pemfile = \"" << certificate_file().string() << "\"\n";
  for (const auto& name : guarded_)
    text
        << "$HTTP[\"url\"] =~ \"" << url_pattern(name) << "\" {\n  auth.backend = \"plain\"\n"
        << "  auth.backend.plain.userfile = \"" << dir << "/tokens/" << name << "\"\n"
        << "  auth.require = (\"\" => (\"method\" => \"basic\", \"realm\" => \"git\", \"require\" => \"valid-user\"))\n"
        << "}\n";
  return text.str();
}

void remote::set_certificate(certificate tls) {
  options_.tls = tls;
  restart();
}

const private_ca& remote::authority() {
  if (!authority_) {
    fs::create_directory(dir_.path() / "ca");
    authority_.emplace(dir_.path() / "ca");
    ca_file_ = authority_->file();
  }
  return *authority_;
}

const fs::path& remote::ca_file() {
  authority();
  return ca_file_;
}

fs::path remote::certificate_file() {
  if (options_.tls == certificate::wrong_host) return authority().issue("elsewhere.invalid");
  if (options_.tls == certificate::good) return authority().issue("127.0.0.1");
  fs::create_directories(dir_.path() / "unknown-ca");
  return private_ca{dir_.path() / "unknown-ca"}.issue("127.0.0.1");
}

std::vector<std::string> remote::requests() const {
  std::ifstream file{dir_.path() / "requests"};
  std::vector<std::string> all;
  for (std::string line; std::getline(file, line);)
    all.push_back(line);
  return all;
}

// -- one repository's manners -----------------------------------------------

void remote::demand_token(const std::string& name, const std::string& user, const std::string& token) {
  replace(dir_.path() / "tokens" / name, user + ":" + token + "\n");
  if (std::find(guarded_.begin(), guarded_.end(), name) != guarded_.end()) return;
  guarded_.push_back(name);
  restart();
}

void remote::demand_nothing(const std::string& name) {
  if (std::erase(guarded_, name) > 0) restart();
}

void remote::answer_with(const std::string& name, const fixed_answer& answer) {
  replace(dir_.path() / "answers" / name, text_of(answer));
}

void remote::answer_posts_with(const std::string& name, const fixed_answer& answer) {
  replace(dir_.path() / "answers" / (name + ".post"), text_of(answer));
}

void remote::answer_normally(const std::string& name) {
  fs::remove(dir_.path() / "answers" / name);
  fs::remove(dir_.path() / "answers" / (name + ".post"));
}

void remote::expire_token(const std::string& name) {
  replace(dir_.path() / "tokens" / name, "nobody:has-expired\n");
}

void remote::set_read_only(const std::string& name, bool read_only) const {
  run_git(repository_path(name), {"config", "http.receivepack", read_only ? "false" : "true"});
}

void remote::put_hook(const std::string& name, const std::string& hook, const std::string& script) const {
  const auto file = repository_path(name) / "hooks" / hook;
  replace(file, "#!/bin/sh\n" + script);
  fs::permissions(file, fs::perms::owner_all);
}

void remote::remove_hook(const std::string& name, const std::string& hook) const {
  fs::remove(repository_path(name) / "hooks" / hook);
}

void remote::set_quota(const std::string& name, int kib) const {
  // What is pushed lies in a quarantine until the hook has agreed (git-receive-pack(1)). Its apparent size: blocks are
  // given out later.
  put_hook(name, "pre-receive",
           "used=$(du -sk --apparent-size \"$GIT_QUARANTINE_PATH\" | cut -f1)\n[ \"$used\" -le " + std::to_string(kib) +
               " ] || { echo 'quota exceeded' >&2; exit 1; }\n");
}

void remote::refuse_paths(const std::string& name, const std::string& expression) const {
  put_hook(name, "pre-receive",
           "while read -r old new ref; do\n  case $new in *[!0]*) ;; *) continue;; esac\n"
           "  git ls-tree -r --name-only \"$new\" | grep -Eq '" +
               expression + "' && { echo 'path refused' >&2; exit 1; }\ndone\nexit 0\n");
}

// -- repositories -----------------------------------------------------------

fs::path remote::repository_path(const std::string& name) const {
  return dir_.path() / "repositories" / (name + ".git");
}

std::string remote::make_repository(const std::string& name, const repository_options& options) {
  const auto path = repository_path(name);
  fs::create_directories(path);
  run_git(path, {"init", "--quiet", "--bare", "--template=", "--object-format=" + options.object_format,
                 "--initial-branch=" + options.default_branch});
  run_git(path, {"config", "http.receivepack", "true"});
  if (options.empty) return {};
  return commit(
      name,
      {.branch = options.default_branch, .files = {{"README", "This is " + name + ".\n"}}, .message = "Begin " + name});
}

std::string remote::commit(const std::string& name, const new_commit& commit) const {
  return commit_into(repository_path(name), commit);
}

std::string remote::tip(const std::string& name, const std::string& branch) const {
  return id_of(repository_path(name), "refs/heads/" + branch);
}

void remote::delete_branch(const std::string& name, const std::string& branch) const {
  run_git(repository_path(name), {"update-ref", "-d", "refs/heads/" + branch});
}

void remote::set_default_branch(const std::string& name, const std::string& branch) const {
  run_git(repository_path(name), {"symbolic-ref", "HEAD", "refs/heads/" + branch});
}

} // namespace townkeeper::test
