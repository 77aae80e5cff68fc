#include "git/stored_object.hpp"

#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "core/fault_point.hpp"
#include "git/descriptor.hpp"
#include "git/object_id.hpp"

namespace townkeeper::git {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t sample_bytes = 4096, max_samples = 4;
constexpr std::size_t max_block = 65535;

/// RFC 1950 section 8.2.
class adler32 {
public:
  void add(std::string_view bytes) noexcept {
    constexpr std::uint32_t base = 65521;
    constexpr std::size_t before_overflow = 5552;
    for (std::size_t at = 0; at < bytes.size(); at += before_overflow) {
      for (const char c : bytes.substr(at, before_overflow)) {
        a_ += static_cast<unsigned char>(c);
        b_ += a_;
      }
      a_ %= base;
      b_ %= base;
    }
  }
  std::uint32_t value() const noexcept { return b_ << 16U | a_; }

private:
  std::uint32_t a_ = 1, b_ = 0;
};

void append_byte(std::string& to, std::uint32_t value) {
  to += static_cast<char>(value & 0xffU);
}

void append_block_header(std::string& to, std::size_t size, bool is_last) {
  const auto length = static_cast<std::uint32_t>(size);
  append_byte(to, is_last ? 1 : 0);
  for (const auto each : {length, ~length}) {
    append_byte(to, each);
    append_byte(to, each >> 8U);
  }
}

/// The errno of the first failure, else 0.
int write_stream(int fd, std::string_view header, std::string_view bytes) {
  adler32 checksum;
  checksum.add(header);
  checksum.add(bytes);
  std::string out{"\x78\x01", 2};
  append_block_header(out, header.size(), bytes.empty());
  out += header;
  for (std::size_t at = 0; at < bytes.size(); at += max_block) {
    const auto block = bytes.substr(at, max_block);
    append_block_header(out, block.size(), at + block.size() == bytes.size());
    out += block;
    if (const int failed = write_all(fd, out); failed != 0) return failed;
    out.clear();
  }
  for (const auto shift : {24U, 16U, 8U, 0U})
    append_byte(out, checksum.value() >> shift);
  return write_all(fd, out);
}

} // namespace

bool looks_compressed(std::string_view bytes) noexcept {
  if (bytes.size() < sample_bytes) return false;
  std::array<std::uint64_t, 256> counts{};
  const auto samples = std::min(bytes.size() / sample_bytes, max_samples);
  const auto step = bytes.size() / samples;
  for (std::size_t i = 0; i < samples; ++i)
    for (const char c : bytes.substr(i * step, sample_bytes))
      ++counts[static_cast<unsigned char>(c)];
  // Pearson's chi-squared against all bytes being equally frequent: 255 for noise, with a deviation of 23. What is
  // added grows with the number of bytes as that of a slight unevenness would: one that Huffman codes gain 0.4 % from.
  const auto total = samples * sample_bytes;
  std::uint64_t squares = 0;
  for (const auto count : counts)
    squares += count * count;
  return squares * counts.size() / total - total < 255 + total / 25;
}

result<void> write_stored_object(const fs::path& objects, const git_oid& id, std::string_view bytes,
                                 git_object_t type) {
  const auto hex = to_hex(id);
  const auto directory = objects / hex.substr(0, 2);
  if (::mkdir(directory.c_str(), 0777) != 0 && errno != EEXIST)
    return disk_error(errno, directory.native(), "cannot be made");
  auto temporary = (directory / "tmp_obj_XXXXXX").native();
  const descriptor file(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!file) return disk_error(errno, directory.native(), "takes no file");
  auto header = fmt::format("{} {}", git_object_type2string(type), bytes.size());
  header += '\0';
  int failed = write_stream(file.get(), header, bytes);
  if (failed == 0 && ::fchmod(file.get(), 0444) != 0) failed = errno;
  const auto path = (directory / hex.substr(2)).native();
  if (failed == 0) failed = fault_point("stored-object-renamed");
  if (failed == 0 && ::rename(temporary.c_str(), path.c_str()) != 0) failed = errno;
  if (failed == 0) return {};
  ::unlink(temporary.c_str());
  return disk_error(failed, path, "cannot be written");
}

} // namespace townkeeper::git
