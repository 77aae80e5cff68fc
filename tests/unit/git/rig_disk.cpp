#include "rig_disk.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <random>
#include <sstream>
#include <stdexcept>

namespace townkeeper::test {

namespace fs = std::filesystem;

rig_disk::rig_disk() {
  static const auto ready = git::initialise_library({});
  if (!ready) throw std::runtime_error{to_string(ready.error())};
}

git::repository_job rig_disk::job(const std::string& url, std::vector<std::string> branches) const {
  git::repository_job job;
  job.rig_id = "r1";
  job.directory = rig();
  job.url = url;
  job.default_branch = "main";
  job.branches = std::move(branches);
  job.limits = {
      .connect = std::chrono::seconds{5}, .stall = std::chrono::seconds{10}, .total = std::chrono::seconds{30}};
  return job;
}

result<git::repository_restored> restore(const git::repository_job& job) {
  return git::restore_repository(job, {});
}

std::vector<std::string> ref_names(const fs::path& repository) {
  std::vector<std::string> names;
  for (const auto& [name, id] : refs_of(repository))
    names.push_back(name);
  return names;
}

bool is_sound(const fs::path& repository) {
  return try_git(repository, {"fsck", "--full", "--strict", "--no-dangling"}).status == 0;
}

std::vector<std::string> traces(const fs::path& directory) {
  std::vector<std::string> lines;
  const auto add = [&](const fs::path& path) {
    struct stat st {};
    if (lstat(path.c_str(), &st) != 0) throw std::runtime_error{"cannot see " + path.string()};
    std::ostringstream line;
    line << path.string() << ' ' << st.st_ino << ' ' << st.st_size << ' ' << st.st_mtim.tv_sec << '.'
         << st.st_mtim.tv_nsec << ' ' << st.st_ctim.tv_sec << '.' << st.st_ctim.tv_nsec;
    lines.push_back(line.str());
  };
  add(directory);
  for (const auto& entry : fs::recursive_directory_iterator(directory))
    add(entry.path());
  std::sort(lines.begin(), lines.end());
  return lines;
}

std::string changes_since(const std::vector<std::string>& before, const fs::path& directory) {
  const auto now = traces(directory);
  std::vector<std::string> different;
  std::set_symmetric_difference(before.begin(), before.end(), now.begin(), now.end(), std::back_inserter(different));
  std::string text;
  for (const auto& line : different)
    text += line + '\n';
  return text;
}

fs::path only_file(const fs::path& directory, const std::string& suffix) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::recursive_directory_iterator(directory))
    if (entry.path().string().ends_with(suffix)) found.push_back(entry.path());
  if (found.size() != 1)
    throw std::runtime_error{std::to_string(found.size()) + " files end in " + suffix + " below " + directory.string()};
  return found.front();
}

std::string read(const fs::path& file) {
  std::ifstream in{file, std::ios::binary};
  if (!in) throw std::runtime_error{"cannot read " + file.string()};
  return {std::istreambuf_iterator<char>{in}, {}};
}

void write(const fs::path& file, const std::string& content) {
  fs::create_directories(file.parent_path());
  std::ofstream out{file, std::ios::binary | std::ios::trunc};
  out << content;
  if (!out.flush()) throw std::runtime_error{"cannot write " + file.string()};
}

void flip_byte(const fs::path& file, long offset) {
  fs::permissions(file, fs::perms::owner_write, fs::perm_options::add);
  std::string content = read(file);
  const auto at = offset < 0 ? content.size() - static_cast<std::size_t>(-offset) : static_cast<std::size_t>(offset);
  content.at(at) = static_cast<char>(content.at(at) ^ 0x10);
  write(file, content);
}

std::string noise(std::size_t bytes, unsigned seed) {
  std::mt19937 random{seed};
  std::string out(bytes, '\0');
  std::generate(out.begin(), out.end(), [&] { return static_cast<char>(random()); });
  return out;
}

} // namespace townkeeper::test
