#include "git/private_pack.hpp"

#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>

#include "core/fault_point.hpp"

namespace townkeeper::git {
namespace {

namespace fs = std::filesystem;

constexpr int pack_compression = 1;
constexpr std::size_t header_bytes = 12, hash_bytes = 20;
constexpr std::size_t write_bytes = std::size_t{256} * 1024;
/// Offsets in an index of this kind have 31 bits.
constexpr std::int64_t max_pack_bytes = std::int64_t{1} << 30;

using hash_context = std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)>;

hash_context begin_hash() {
  hash_context hash(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  EVP_DigestInit_ex(hash.get(), EVP_sha1(), nullptr);
  return hash;
}

std::string end_hash(const hash_context& hash) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  EVP_DigestFinal_ex(hash.get(), digest.data(), nullptr);
  return {reinterpret_cast<const char*>(digest.data()), hash_bytes};
}

void append_number(std::string& to, std::uint32_t value) {
  for (const auto shift : {24U, 16U, 8U, 0U})
    to += static_cast<char>(value >> shift & 0xffU);
}

/// gitformat-pack(5): three bits of type and the size, the least significant first.
std::string entry_header(git_object_t type, std::size_t size) {
  constexpr unsigned more = 0x80;
  std::string header;
  auto byte = static_cast<unsigned>(type) << 4U | static_cast<unsigned>(size & 0xfU);
  for (size >>= 4U; size > 0; size >>= 7U) {
    header += static_cast<char>(byte | more);
    byte = static_cast<unsigned>(size & 0x7fU);
  }
  return header + static_cast<char>(byte);
}

void append_deflated(std::string& to, std::string_view bytes) {
  auto room = ::compressBound(bytes.size());
  const auto before = to.size();
  to.resize(before + room);
  // Cannot fail with that much room, but for memory.
  if (::compress2(reinterpret_cast<Bytef*>(to.data() + before), &room, reinterpret_cast<const Bytef*>(bytes.data()),
                  bytes.size(), pack_compression) != Z_OK)
    throw std::bad_alloc();
  to.resize(before + room);
}

std::uint32_t checksum_of(std::string_view bytes) {
  return static_cast<std::uint32_t>(
      ::crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<z_size_t>(bytes.size())));
}

} // namespace

pack_file::~pack_file() {
  for (const auto& each : temporaries_)
    ::unlink(each.c_str());
}

error pack_file::failure(int errno_value) const {
  return disk_error(errno_value, directory_.native(), "takes no pack");
}

result<descriptor> pack_file::make_temporary(const char* pattern) {
  auto path = (directory_ / pattern).native();
  descriptor file(::mkostemp(path.data(), O_CLOEXEC));
  if (!file) return failure(errno);
  temporaries_.push_back(std::move(path));
  if (::fchmod(file.get(), 0444) != 0) return failure(errno);
  return file;
}

result<pack_file> pack_file::begin(const fs::path& objects) {
  pack_file pack(objects / "pack");
  if (::mkdir(pack.directory_.c_str(), 0777) != 0 && errno != EEXIST) return pack.failure(errno);
  auto file = pack.make_temporary("tmp_pack_XXXXXX");
  if (!file) return file.error();
  pack.file_ = std::move(*file);
  if (auto done = pack.append(std::string(header_bytes, '\0')); !done) return done.error();
  return pack;
}

result<void> pack_file::append(std::string_view bytes) {
  unwritten_ += bytes;
  size_bytes_ += static_cast<std::int64_t>(bytes.size());
  return unwritten_.size() < write_bytes ? result<void>() : flush();
}

result<void> pack_file::flush() {
  if (const int failed = write_all(file_.get(), unwritten_); failed != 0) return failure(failed);
  unwritten_.clear();
  return {};
}

result<void> pack_file::add(const git_oid& id, std::string_view bytes, git_object_t type) {
  auto stored = entry_header(type, bytes.size());
  append_deflated(stored, bytes);
  entries_.emplace(id, entry{static_cast<std::uint32_t>(size_bytes_), checksum_of(stored)});
  return append(stored);
}

/// Writes the header, which says how many objects there are, and the hash of all. Returns the hash.
result<std::string> pack_file::seal() {
  if (auto done = flush(); !done) return done.error();
  std::string header = "PACK";
  append_number(header, 2);
  append_number(header, static_cast<std::uint32_t>(entries_.size()));
  const auto written = ::pwrite(file_.get(), header.data(), header.size(), 0);
  if (written != static_cast<ssize_t>(header.size())) return failure(written < 0 ? errno : ENOSPC);
  const auto hash = begin_hash();
  std::string chunk(write_bytes, '\0');
  for (off_t at = 0; at < size_bytes_;) {
    const auto n = ::pread(file_.get(), chunk.data(), chunk.size(), at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return failure(n < 0 ? errno : EIO);
    EVP_DigestUpdate(hash.get(), chunk.data(), static_cast<std::size_t>(n));
    at += n;
  }
  auto trailer = end_hash(hash);
  if (const int failed = write_all(file_.get(), trailer); failed != 0) return failure(failed);
  return trailer;
}

/// gitformat-pack(5), version 2 of the index.
std::string pack_file::index_text(std::string_view pack_hash) const {
  std::string text{"\377tOc", 4};
  append_number(text, 2);
  std::array<std::uint32_t, 256> counts{};
  for (const auto& [id, where] : entries_)
    ++counts.at(id.id[0]);
  std::uint32_t up_to = 0;
  for (const auto count : counts)
    append_number(text, up_to += count);
  for (const auto& [id, where] : entries_)
    text.append(reinterpret_cast<const char*>(id.id), hash_bytes);
  for (const auto& [id, where] : entries_)
    append_number(text, where.checksum);
  for (const auto& [id, where] : entries_)
    append_number(text, where.offset);
  text += pack_hash;
  const auto hash = begin_hash();
  EVP_DigestUpdate(hash.get(), text.data(), text.size());
  return text + end_hash(hash);
}

result<fs::path> pack_file::publish() {
  const auto pack_hash = seal();
  if (!pack_hash) return pack_hash.error();
  const auto index = make_temporary("tmp_idx_XXXXXX");
  if (!index) return index.error();
  if (const int failed = write_all(index->get(), index_text(*pack_hash)); failed != 0) return failure(failed);
  git_oid id{};
  git_oid_fromraw(&id, reinterpret_cast<const unsigned char*>(pack_hash->data()));
  const auto stem = (directory_ / ("pack-" + to_hex(id))).native();
  if (const int failed = fault_point("private-pack-written"); failed != 0) return failure(failed);
  // Without its index a pack is nobody's.
  if (::rename(temporaries_[0].c_str(), (stem + ".pack").c_str()) != 0 ||
      ::rename(temporaries_[1].c_str(), (stem + ".idx").c_str()) != 0)
    return failure(errno);
  temporaries_.clear();
  return fs::path(stem + ".idx");
}

bool private_pack::contains(const git_oid& id) const {
  return held_.contains(id) || (file_ && file_->contains(id));
}

result<void> private_pack::write(git_odb_object* object) {
  return file_->add(*git_odb_object_id(object), bytes_of(object), git_odb_object_type(object));
}

result<void> private_pack::add(odb_object_handle object) {
  if (git_odb_object_size(object.get()) >= small_bytes) {
    auto put = store_.put(bytes_of(object.get()), git_odb_object_type(object.get()));
    return put ? result<void>() : put.error();
  }
  if (file_ && file_->size_bytes() >= max_pack_bytes)
    if (auto done = finish(); !done) return done;
  if (file_) return write(object.get());
  const auto id = *git_odb_object_id(object.get());
  held_.emplace(id, std::move(object));
  if (held_.size() < many_objects) return {};
  auto begun = pack_file::begin(store_.path());
  if (!begun) return begun.error();
  file_.emplace(std::move(*begun));
  for (const auto& [each, held] : held_)
    if (auto done = write(held.get()); !done) return done;
  held_.clear();
  return {};
}

result<void> private_pack::finish() {
  for (const auto& [id, held] : held_)
    if (auto put = store_.put(bytes_of(held.get()), git_odb_object_type(held.get())); !put) return put.error();
  held_.clear();
  if (!file_) return {};
  const auto index = file_->publish();
  file_.reset();
  if (!index) return index.error();
  return store_.take_pack(*index, reader_);
}

} // namespace townkeeper::git
