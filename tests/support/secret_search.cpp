#include "secret_search.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <stdexcept>
#include <system_error>

#include "files.hpp"
#include "git_cli.hpp"

namespace townkeeper::test {

namespace fs = std::filesystem;

namespace {

std::string base64(const std::string& bytes) {
  std::string out(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int length =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  out.resize(static_cast<std::size_t>(length));
  return out;
}

std::string for_urls(std::string text) {
  std::replace(text.begin(), text.end(), '+', '-');
  std::replace(text.begin(), text.end(), '/', '_');
  return text;
}

std::string percent_encoded(const std::string& bytes) {
  constexpr std::string_view kept = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string out;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (kept.find(c) != std::string_view::npos)
      out += c;
    else
      (out += '%').append({digits[byte >> 4], digits[byte & 15]});
  }
  return out;
}

/// Regular files below `root` whatever becomes of them meanwhile.
template <class F>
void for_each_entry(const fs::path& root, const F& f) {
  std::error_code failed;
  auto at = fs::recursive_directory_iterator(root, fs::directory_options::skip_permission_denied, failed);
  for (; !failed && at != fs::recursive_directory_iterator{}; at.increment(failed))
    f(*at);
}

} // namespace

void secret_search::add(const std::string& name, const std::string& value) {
  if (value.size() < 8) throw std::invalid_argument{name + " is too short to be looked for"};
  forms_.push_back({name, value});
  forms_.push_back({name + " (percent-encoded)", percent_encoded(value)});
  for (std::size_t before = 0; before < 3; ++before) {
    // Without the characters that also depend on what stands in front and behind.
    const auto begin = (before * 8 + 5) / 6, end = (before + value.size()) * 8 / 6;
    const auto inside = base64(std::string(before, '\0') + value).substr(begin, end - begin);
    forms_.push_back({name + " (base64)", inside});
    forms_.push_back({name + " (base64 for URLs)", for_urls(inside)});
  }
}

std::vector<std::string> secret_search::in(const std::string& where, std::string_view text) const {
  std::vector<std::string> found;
  for (const auto& [name, bytes] : forms_)
    if (text.find(bytes) != std::string_view::npos) found.push_back(where + ": " + name);
  return found;
}

std::vector<std::string> secret_search::in(const std::vector<found_text>& texts) const {
  std::vector<std::string> all;
  for (const auto& [where, text] : texts)
    for (auto& found : in(where, text))
      all.push_back(std::move(found));
  return all;
}

std::vector<std::string> secret_search::in_files(const fs::path& root) const {
  std::vector<std::string> all;
  const auto look = [&](const std::string& where, const std::string& text) {
    for (auto& found : in(where, text))
      all.push_back(std::move(found));
  };
  for_each_entry(root, [&](const fs::directory_entry& entry) {
    std::error_code gone;
    look(entry.path().string(), entry.path().filename().string());
    if (entry.is_symlink(gone))
      look(entry.path().string(), fs::read_symlink(entry.path(), gone).string());
    else if (entry.is_regular_file(gone))
      look(entry.path().string(), bytes_of(entry.path()));
  });
  return all;
}

std::vector<std::string> secret_search::in_objects(const fs::path& root, std::size_t& looked_at) const {
  std::vector<std::string> all;
  for_each_entry(root, [&](const fs::directory_entry& entry) {
    std::error_code gone;
    if (!entry.is_directory(gone) || entry.path().filename() != "objects") return;
    // cat-file wants a repository: any will do, with this directory for its objects.
    auto repository = entry.path().parent_path();
    while (repository != root && !fs::exists(repository / "HEAD"))
      repository = repository.parent_path();
    const std::map<std::string, std::string> here{{"GIT_OBJECT_DIRECTORY", entry.path().string()}};
    const auto objects =
        try_git(repository, {"cat-file", "--batch-all-objects", "--batch", "--unordered", "--buffer"}, here);
    if (objects.status != 0) throw std::runtime_error{entry.path().string() + ": " + objects.err};
    const auto ids = try_git(repository, {"cat-file", "--batch-all-objects", "--batch-check", "--unordered"}, here);
    looked_at += static_cast<std::size_t>(std::count(ids.out.begin(), ids.out.end(), '\n'));
    for (auto& found : in(entry.path().string(), objects.out))
      all.push_back(std::move(found));
    for (const auto& [ref, id] : refs_of(repository))
      for (auto& found : in(repository.string() + " " + ref, ref))
        all.push_back(std::move(found));
  });
  return all;
}

// -- processes --------------------------------------------------------------------------------------------------------

std::string note_processes_script(const fs::path& file) {
  // `/proc/12/environ:NAME=value` and a NUL, one after the other.
  // Several at once: each writes by itself, and appends in one piece.
  const auto name = file.string();
  return "grep -a -z -H '' /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null >'" + name + "'.$$\n" +
         "( flock 9; cat '" + name + "'.$$ >&9 ) 9>>'" + name + "'; rm -f '" + name + "'.$$\n";
}

bool noted_process::has_variable(std::string_view name) const {
  return std::any_of(environment.begin(), environment.end(), [&](const std::string& entry) {
    return std::string_view{entry}.substr(0, entry.find('=')) == name;
  });
}

std::vector<noted_process> read_processes(const fs::path& file) {
  constexpr std::string_view proc = "/proc/";
  std::map<int, noted_process> all;
  const auto text = bytes_of(file);
  for (std::size_t at = 0; at < text.size();) {
    const auto end = std::min(text.find('\0', at), text.size());
    const auto record = text.substr(at, end - at);
    at = end + 1;
    const auto slash = record.find('/', proc.size()), colon = record.find(':');
    if (!record.starts_with(proc) || slash == std::string::npos || colon == std::string::npos) continue;
    int pid = 0;
    if (std::from_chars(record.data() + proc.size(), record.data() + slash, pid).ec != std::errc{}) continue;
    auto& process = all[pid];
    const bool is_argument = record.substr(slash + 1, colon - slash - 1) == "cmdline";
    (is_argument ? process.arguments : process.environment).push_back(record.substr(colon + 1));
  }
  std::vector<noted_process> out;
  for (auto& [pid, process] : all) {
    process.pid = pid;
    out.push_back(std::move(process));
  }
  return out;
}

} // namespace townkeeper::test
