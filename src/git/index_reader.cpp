#include "git/index_reader.hpp"

#include <fmt/core.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <utility>

#include "git/path_rules.hpp"

namespace townkeeper::git {
namespace {

constexpr std::size_t header_bytes = 12;
constexpr std::size_t checksum_bytes = 20;
constexpr std::size_t fixed_bytes = 62; // an entry up to its flags
constexpr std::size_t alignment = 8;
constexpr unsigned flag_assume_unchanged = 0x8000, flag_extended = 0x4000, flag_stages = 0x3000;
constexpr unsigned extended_skip_worktree = 0x4000, extended_intent_to_add = 0x2000;
constexpr std::size_t max_tree_depth = 4096;

std::uint32_t u32(const char* at) noexcept {
  const auto byte = [at](int i) { return std::uint32_t{static_cast<unsigned char>(at[i])}; };
  return byte(0) << 24 | byte(1) << 16 | byte(2) << 8 | byte(3);
}
unsigned u16(const char* at) noexcept {
  return unsigned{static_cast<unsigned char>(at[0])} << 8 | unsigned{static_cast<unsigned char>(at[1])};
}
git_oid id_at(const char* at) noexcept {
  git_oid id{};
  git_oid_fromraw(&id, reinterpret_cast<const unsigned char*>(at));
  return id;
}

/// git writes zeros in place of the checksum where `index.skipHash` is set.
bool has_good_checksum(std::string_view bytes) {
  const auto stored = bytes.substr(bytes.size() - checksum_bytes);
  if (stored.find_first_not_of('\0') == std::string_view::npos) return true;
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned length = 0;
  return EVP_Digest(bytes.data(), bytes.size() - checksum_bytes, digest.data(), &length, EVP_sha1(), nullptr) == 1 &&
         stored == std::string_view(reinterpret_cast<const char*>(digest.data()), length);
}

} // namespace

/// Reads front to back; whatever does not fit ends it.
class index_parser {
public:
  explicit index_parser(index_image& into)
      : into_(into)
      , text_(*into.bytes_) {}

  /// What is wrong, or nothing.
  std::optional<std::string> run() {
    if (text_.size() < header_bytes + checksum_bytes || !text_.starts_with("DIRC")) return "is no git index";
    version_ = u32(text_.data() + 4);
    if (version_ < 2 || version_ > 4) return fmt::format("has index version {}, which is not known here", version_);
    if (!has_good_checksum(text_)) return "does not have the checksum it says";
    end_ = text_.size() - checksum_bytes;
    at_ = header_bytes;
    const auto count = u32(text_.data() + 8);
    if (count > end_ / fixed_bytes) return "names more entries than it can hold";
    into_.entries_.reserve(count);
    for (std::uint32_t i = 0; i < count; ++i)
      if (!read_entry()) return fmt::format("has a damaged entry {}", i);
    while (at_ < end_)
      if (!read_extension()) return feature_.empty() ? std::string("has a damaged extension") : std::string();
    // Not before: the entries of a split index have neither names nor an order.
    if (!is_ordered()) return "has entries out of order";
    return std::nullopt;
  }

  const std::string& feature() const noexcept { return feature_; }

private:
  bool read_entry() {
    if (end_ - at_ < fixed_bytes) return false;
    const auto begin = at_;
    const auto* p = text_.data() + at_;
    index_entry e;
    e.stamp = {u32(p),      u32(p + 4),  u32(p + 8),  u32(p + 12), u32(p + 16),
               u32(p + 20), u32(p + 28), u32(p + 32), u32(p + 36)};
    e.mode = u32(p + 24);
    e.id = id_at(p + 40);
    const auto flags = u16(p + 60);
    e.assume_unchanged = (flags & flag_assume_unchanged) != 0;
    e.stage = static_cast<int>((flags & flag_stages) >> 12);
    at_ += fixed_bytes;
    if ((flags & flag_extended) != 0) {
      if (version_ < 3 || end_ - at_ < 2) return false;
      const auto more = u16(text_.data() + at_);
      e.skip_worktree = (more & extended_skip_worktree) != 0;
      e.intent_to_add = (more & extended_intent_to_add) != 0;
      at_ += 2;
    }
    if (!(version_ == 4 ? read_packed_path(e) : read_path(e, begin))) return false;
    into_.entries_.push_back(e);
    return true;
  }

  bool is_ordered() const {
    const auto& all = into_.entries_;
    if (!all.empty() && all.front().path.empty()) return false;
    return std::adjacent_find(all.begin(), all.end(), [](const auto& a, const auto& b) {
             return std::pair(a.path, a.stage) >= std::pair(b.path, b.stage);
           }) == all.end();
  }

  bool read_path(index_entry& e, std::size_t begin) {
    const auto nul = text_.find('\0', at_);
    if (nul == std::string_view::npos || nul >= end_) return false;
    e.path = text_.substr(at_, nul - at_);
    const auto unpadded = nul - begin;
    at_ = begin + (unpadded + alignment) / alignment * alignment;
    return at_ <= end_;
  }

  /// Version 4: how many bytes of the path before go, and what follows the rest.
  bool read_packed_path(index_entry& e) {
    std::size_t dropped = 0;
    for (bool first = true;; first = false) {
      if (at_ >= end_ || dropped > text_.size()) return false;
      const auto byte = static_cast<unsigned char>(text_[at_++]);
      if (!first) ++dropped;
      dropped = dropped << 7 | (byte & 0x7FU);
      if ((byte & 0x80U) == 0) break;
    }
    const auto nul = text_.find('\0', at_);
    if (nul == std::string_view::npos || nul >= end_) return false;
    const std::string_view before = into_.entries_.empty() ? std::string_view() : into_.entries_.back().path;
    if (dropped > before.size()) return false;
    auto& path = into_.unpacked_paths_.emplace_back(before.substr(0, before.size() - dropped));
    path += text_.substr(at_, nul - at_);
    e.path = path;
    at_ = nul + 1;
    return true;
  }

  bool read_extension() {
    if (end_ - at_ < 8) return false;
    const auto name = text_.substr(at_, 4);
    const auto size = u32(text_.data() + at_ + 4);
    at_ += 8;
    if (size > end_ - at_) return false;
    const auto body = text_.substr(at_, size);
    at_ += size;
    if (name == "TREE") {
      // A cache only: what cannot be read is not used.
      std::size_t at = 0;
      cached_tree root;
      if (!body.empty() && read_tree(body, at, root, 0)) into_.trees_ = std::move(root);
      return true;
    }
    if (std::isupper(static_cast<unsigned char>(name.front())) != 0) return true;
    feature_ = name == "link"   ? "a split index; `git update-index --no-split-index`"
               : name == "sdir" ? "a sparse index; `git sparse-checkout disable`"
                                : "an index extension that is not known here; `git update-index "
                                  "--force-write-index` with a plain git";
    return false;
  }

  static bool take_number(std::string_view body, std::size_t& at, char end, long& into) {
    const auto* begin = body.data() + at;
    const auto [stop, failure] = std::from_chars(begin, body.data() + body.size(), into);
    if (failure != std::errc{} || stop == body.data() + body.size() || *stop != end) return false;
    at += static_cast<std::size_t>(stop - begin) + 1;
    return true;
  }

  static bool read_tree(std::string_view body, std::size_t& at, cached_tree& into, std::size_t depth) {
    const auto nul = body.find('\0', at);
    if (nul == std::string_view::npos || depth > max_tree_depth) return false;
    into.name = body.substr(at, nul - at);
    at = nul + 1;
    long entries = 0;
    long subtrees = 0;
    if (!take_number(body, at, ' ', entries) || !take_number(body, at, '\n', subtrees) || subtrees < 0) return false;
    if (entries >= 0) {
      if (body.size() - at < GIT_OID_SHA1_SIZE) return false;
      into.id = id_at(body.data() + at);
      into.entries = static_cast<std::size_t>(entries);
      at += GIT_OID_SHA1_SIZE;
    }
    for (long i = 0; i < subtrees; ++i)
      if (!read_tree(body, at, into.children.emplace_back(), depth + 1)) return false;
    return true;
  }

  index_image& into_;
  std::string_view text_;
  std::size_t at_ = 0, end_ = 0;
  std::uint32_t version_ = 0;
  std::string feature_;
};

result<index_image> index_image::parse(std::string bytes, const std::string& path) {
  index_image image;
  *image.bytes_ = std::move(bytes);
  index_parser parser(image);
  if (const auto wrong = parser.run()) {
    if (!parser.feature().empty())
      return error{error_code::unsupported, printable(path),
                   fmt::format("the worktree has {} in it makes it readable again", parser.feature())};
    return error{error_code::corrupt, printable(path), *wrong};
  }
  return image;
}

} // namespace townkeeper::git
