#include "git/repository_packs.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <string_view>

#include "git/descriptor.hpp"
#include "git/handle.hpp"
#include "git/repository_layout.hpp"
#include "git/repository_mend.hpp"

namespace townkeeper::git {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t trailer_bytes = 20;
constexpr std::size_t chunk_bytes = std::size_t{1} << 20;

enum class verdict { sound, damaged, gone, unread };

/// Reads a file that ends in the SHA-1 of all before it. `each` sees every chunk of it, trailer included.
verdict read_hashed(const fs::path& path, const std::function<bool(std::string_view)>& each) {
  const descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file) return errno == ENOENT ? verdict::gone : verdict::damaged;
  struct stat st {};
  if (::fstat(file.get(), &st) != 0 || static_cast<std::size_t>(st.st_size) <= trailer_bytes) return verdict::damaged;
  const auto hashed_bytes = static_cast<std::size_t>(st.st_size) - trailer_bytes;
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> hash(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  EVP_DigestInit_ex(hash.get(), EVP_sha1(), nullptr);
  std::string trailer;
  std::vector<char> chunk(std::min(chunk_bytes, static_cast<std::size_t>(st.st_size)));
  for (std::size_t done = 0;;) {
    const auto n = ::read(file.get(), chunk.data(), chunk.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return verdict::damaged;
    if (n == 0) break;
    const std::string_view bytes(chunk.data(), static_cast<std::size_t>(n));
    const auto of_body = std::min(bytes.size(), hashed_bytes - std::min(hashed_bytes, done));
    EVP_DigestUpdate(hash.get(), bytes.data(), of_body);
    trailer += bytes.substr(of_body);
    done += bytes.size();
    if (!each(bytes)) return verdict::unread;
  }
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  EVP_DigestFinal_ex(hash.get(), digest.data(), nullptr);
  const std::string_view expected(reinterpret_cast<const char*>(digest.data()), trailer_bytes);
  return trailer == expected ? verdict::sound : verdict::damaged;
}

struct free_indexer {
  void operator()(git_indexer* indexer) const noexcept { git_indexer_free(indexer); }
};

class pack_check {
public:
  pack_check(const fs::path& repository, const std::function<bool()>& cancelled, std::vector<std::string>& healed)
      : repository_(repository)
      , packs_(repository / "objects" / "pack")
      , cancelled_(cancelled)
      , healed_(healed) {}

  result<void> run();

private:
  result<void> check(const std::string& name);
  result<verdict> look(const fs::path& path);
  bool make_index(const std::string& name);
  result<void> put_aside(const std::string& name, std::string_view why);
  result<void> check_derived();
  result<void> remove_empty_objects();

  const fs::path& repository_;
  const fs::path packs_;
  const std::function<bool()>& cancelled_;
  std::vector<std::string>& healed_;
  bool one_went_ = false;
};

result<void> pack_check::run() {
  std::vector<std::string> names;
  std::error_code failure;
  for (const auto& entry : fs::directory_iterator(packs_, failure)) {
    const auto extension = entry.path().extension();
    const auto name = entry.path().stem().string();
    if (name.starts_with("pack-") && (extension == ".pack" || extension == ".idx")) names.push_back(name);
  }
  if (failure) return disk_error(packs_, "cannot list", failure.value());
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  for (const auto& name : names)
    if (const auto checked = check(name); !checked) return checked;
  if (auto checked = check_derived(); !checked) return checked;
  return remove_empty_objects();
}

result<verdict> pack_check::look(const fs::path& path) {
  const auto seen = read_hashed(path, [&](std::string_view) { return !cancelled_(); });
  if (seen == verdict::unread) return error{error_code::cancelled, repository_.string(), "cancelled"};
  return seen;
}

result<void> pack_check::check(const std::string& name) {
  const auto pack = look(packs_ / (name + ".pack"));
  if (!pack) return pack.error();
  const auto index = look(packs_ / (name + ".idx"));
  if (!index) return index.error();
  if (*pack == verdict::gone && *index == verdict::gone) return {}; // an agent's own repack took it
  if (*pack == verdict::gone) return put_aside(name, "is missing");
  if (*pack == verdict::damaged) return put_aside(name, "is damaged");
  if (*index == verdict::sound) return {};
  if (!make_index(name)) return put_aside(name, "has no usable index");
  healed_.push_back("index of " + name + " made again");
  return {};
}

/// Indexes the pack anew beside itself.
bool pack_check::make_index(const std::string& name) {
  temporary_directory building(repository_ / "objects" / temporary_name("tmp_objdir-townkeeper"));
  std::error_code failure;
  fs::create_directory(building.path(), failure);
  git_indexer_options options = GIT_INDEXER_OPTIONS_INIT;
  git_indexer* made = nullptr;
  if (failure || git_indexer_new(&made, building.path().c_str(), 0, nullptr, &options) < 0) return false;
  std::unique_ptr<git_indexer, free_indexer> indexer(made);
  git_indexer_progress progress{};
  const auto append = [&](std::string_view bytes) {
    return git_indexer_append(indexer.get(), bytes.data(), bytes.size(), &progress) == 0;
  };
  if (read_hashed(packs_ / (name + ".pack"), append) != verdict::sound ||
      git_indexer_commit(indexer.get(), &progress) < 0)
    return false;
  const auto index = building.path() / fmt::format("pack-{}.idx", git_indexer_name(indexer.get()));
  indexer.reset();
  fs::rename(index, packs_ / (name + ".idx"), failure);
  return !failure;
}

result<void> pack_check::put_aside(const std::string& name, std::string_view why) {
  for (const char* suffix : {".idx", ".pack"})
    if (auto moved = set_aside(repository_, packs_ / (name + suffix)); !moved) return moved;
  std::error_code ignored;
  for (const char* suffix : {".rev", ".bitmap", ".mtimes", ".keep", ".promisor"})
    fs::remove(packs_ / (name + suffix), ignored);
  one_went_ = true;
  healed_.push_back(fmt::format("{} {}: what was left of it set aside", name, why));
  return {};
}

result<void> pack_check::check_derived() {
  std::vector<fs::path> derived{packs_ / "multi-pack-index", repository_ / "objects" / "info" / "commit-graph"};
  std::error_code failure;
  for (const auto& entry : fs::directory_iterator(packs_, failure))
    if (entry.path().extension() == ".rev" || entry.path().extension() == ".bitmap") derived.push_back(entry.path());
  for (const auto& path : derived) {
    const auto seen = look(path);
    if (!seen) return seen.error();
    if (*seen == verdict::gone || (*seen == verdict::sound && !one_went_)) continue;
    fs::remove(path, failure);
    healed_.push_back(path.filename().string() + " removed");
  }
  const auto chain = repository_ / "objects" / "info" / "commit-graphs";
  if (one_went_ && fs::remove_all(chain, failure) > 0 && !failure) healed_.emplace_back("commit-graphs removed");
  return {};
}

result<void> pack_check::remove_empty_objects() {
  int removed = 0;
  std::error_code failure;
  for (const auto& directory : fs::directory_iterator(repository_ / "objects", failure)) {
    if (directory.path().filename().native().size() != 2) continue;
    for (const auto& object : fs::directory_iterator(directory.path(), failure))
      if (object.file_size(failure) == 0 && !failure && fs::remove(object.path(), failure)) ++removed;
  }
  if (removed > 0) healed_.push_back(fmt::format("{} empty loose objects removed", removed));
  return {};
}

} // namespace

result<void> check_packs(const fs::path& repository, const std::function<bool()>& cancelled,
                         std::vector<std::string>& healed) {
  return pack_check(repository, cancelled, healed).run();
}

result<void> adopt_packs(const fs::path& from, const fs::path& into) {
  std::error_code failure;
  std::vector<fs::path> packs;
  for (const auto& entry : fs::directory_iterator(from / "objects" / "pack", failure))
    if (entry.path().extension() == ".pack") packs.push_back(entry.path());
  for (const auto& pack : packs)
    for (const char* suffix : {".pack", ".idx"}) {
      const auto name = pack.stem().string() + suffix;
      fs::rename(pack.parent_path() / name, into / "objects" / "pack" / name, failure);
      if (failure) return disk_error(into / "objects" / "pack" / name, "cannot be put in place", failure.value());
    }
  return {};
}

} // namespace townkeeper::git
