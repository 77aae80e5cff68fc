#include "git/index_writer.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

namespace townkeeper::git {
namespace {

constexpr std::size_t header_bytes = 12;
constexpr std::size_t entry_fixed_bytes = 62;
constexpr std::size_t entry_alignment = 8;
constexpr std::size_t max_flag_length = 0xFFF; // longer names are delimited by their NUL alone
constexpr std::size_t checksum_bytes = 20;
constexpr std::size_t assume_unchanged_flag = 0x8000, extended_flag = 0x4000;
constexpr unsigned stage_shift = 12;
constexpr std::size_t skip_worktree_flag = 0x4000, intent_to_add_flag = 0x2000; // of the second 16 bits, version 3

bool needs_extended_flags(const index_record& r) noexcept {
  return r.skip_worktree || r.intent_to_add;
}

void append_u16(std::string& out, std::size_t value) {
  out += static_cast<char>(static_cast<unsigned char>(value >> 8));
  out += static_cast<char>(static_cast<unsigned char>(value));
}

void append_u32(std::string& out, std::uint64_t value) {
  const std::array<char, 4> big_endian{static_cast<char>(static_cast<unsigned char>(value >> 24)),
                                       static_cast<char>(static_cast<unsigned char>(value >> 16)),
                                       static_cast<char>(static_cast<unsigned char>(value >> 8)),
                                       static_cast<char>(static_cast<unsigned char>(value))};
  out.append(big_endian.data(), big_endian.size());
}

void append_id(std::string& out, const git_oid& id) {
  out.append(reinterpret_cast<const char*>(id.id), GIT_OID_SHA1_SIZE);
}

/// Writes `value` big-endian and returns the place behind it.
char* put_u32(char* at, std::uint32_t value) noexcept {
  for (const auto shift : {24U, 16U, 8U, 0U})
    *at++ = static_cast<char>(static_cast<unsigned char>(value >> shift));
  return at;
}

void append_entry(std::string& out, const index_record& r) {
  const auto begin = out.size();
  std::array<char, 10 * sizeof(std::uint32_t) + GIT_OID_SHA1_SIZE> fixed{};
  auto* at = fixed.data();
  for (const auto field : {r.stamp.ctime_s, r.stamp.ctime_ns, r.stamp.mtime_s, r.stamp.mtime_ns, r.stamp.device,
                           r.stamp.inode, r.mode, r.stamp.uid, r.stamp.gid, r.stamp.size})
    at = put_u32(at, field);
  std::memcpy(at, r.id.id, GIT_OID_SHA1_SIZE);
  out.append(fixed.data(), fixed.size());
  auto flags = std::min(r.path.size(), max_flag_length) | static_cast<std::size_t>(r.stage) << stage_shift;
  if (r.assume_unchanged) flags |= assume_unchanged_flag;
  if (needs_extended_flags(r)) flags |= extended_flag;
  append_u16(out, flags);
  if (needs_extended_flags(r))
    append_u16(out, (r.skip_worktree ? skip_worktree_flag : 0) | (r.intent_to_add ? intent_to_add_flag : 0));
  out += r.path;
  // One to eight NULs, so that the name ends in at least one.
  out.append(entry_alignment - (out.size() - begin) % entry_alignment, '\0');
}

void append_cache_tree(std::string& out, std::span<const manifest_tree> trees) {
  std::string body;
  for (const auto& t : trees) {
    body += t.name;
    body += '\0';
    body += t.exact ? std::to_string(t.entries) : "-1";
    body += ' ';
    body += std::to_string(t.subtrees);
    body += '\n';
    if (t.exact) append_id(body, t.id);
  }
  out += "TREE";
  append_u32(out, body.size());
  out += body;
}

} // namespace

file_stamp stamp_of(const struct stat& st) noexcept {
  return {static_cast<std::uint32_t>(st.st_ctim.tv_sec), static_cast<std::uint32_t>(st.st_ctim.tv_nsec),
          static_cast<std::uint32_t>(st.st_mtim.tv_sec), static_cast<std::uint32_t>(st.st_mtim.tv_nsec),
          static_cast<std::uint32_t>(st.st_dev),         static_cast<std::uint32_t>(st.st_ino),
          static_cast<std::uint32_t>(st.st_uid),         static_cast<std::uint32_t>(st.st_gid),
          static_cast<std::uint32_t>(st.st_size)};
}

index_serialiser::index_serialiser(std::size_t entries, std::size_t path_bytes) {
  constexpr std::size_t around = 4096; // header, extension, checksum
  bytes_.reserve(entries * (entry_fixed_bytes + entry_alignment) + path_bytes + around);
  bytes_.resize(header_bytes);
}

void index_serialiser::add(const index_record& record) {
  ++entries_;
  extended_ = extended_ || needs_extended_flags(record);
  append_entry(bytes_, record);
}

result<std::string> index_serialiser::finish(std::span<const manifest_tree> trees) {
  std::string header = "DIRC";
  append_u32(header, extended_ ? 3 : 2);
  append_u32(header, entries_);
  bytes_.replace(0, header_bytes, header);
  if (!trees.empty()) append_cache_tree(bytes_, trees);

  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned length = 0;
  if (EVP_Digest(bytes_.data(), bytes_.size(), digest.data(), &length, EVP_sha1(), nullptr) != 1 ||
      length != checksum_bytes)
    return error{error_code::internal, "index", "OpenSSL offers no SHA-1 for the index checksum"};
  bytes_.append(reinterpret_cast<const char*>(digest.data()), length);
  return std::move(bytes_);
}

result<std::string> serialise_index(std::span<const index_record> records, std::span<const manifest_tree> trees) {
  std::size_t path_bytes = 0;
  for (const auto& r : records)
    path_bytes += r.path.size();
  index_serialiser index(records.size(), path_bytes);
  for (const auto& r : records)
    index.add(r);
  return index.finish(trees);
}

} // namespace townkeeper::git
