#include "git/snapshot_fingerprint.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <array>
#include <optional>
#include <string_view>

#include "git/object_id.hpp"

namespace townkeeper::git {
namespace {

/// Fields with their lengths, so that no two lists of them look the same.
class field_list {
public:
  void add(std::string_view text) { text_ += fmt::format("{}:{}\n", text.size(), text); }
  void add(const std::optional<std::string>& text) { text ? add(std::string_view(*text)) : add_nothing(); }
  void add_nothing() { text_ += "-\n"; }

  std::string digest() const {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned length = 0;
    if (EVP_Digest(text_.data(), text_.size(), digest.data(), &length, EVP_sha256(), nullptr) != 1) return {};
    return fmt::format("{:02x}", fmt::join(digest.begin(), digest.begin() + length, ""));
  }

private:
  std::string text_;
};

} // namespace

std::string fingerprint_of(const snapshot& s, const stash_trees& trees, const git_oid& extras,
                           const index_image& index) {
  field_list all;
  all.add(std::string_view(s.branch));
  all.add(std::string_view(s.identity));
  all.add(s.head.ref);
  all.add(s.head.commit);
  all.add(s.branch_commit);
  all.add(std::string_view(to_hex(trees.worktree)));
  all.add(std::string_view(to_hex(trees.index)));
  all.add(trees.untracked ? std::optional(to_hex(*trees.untracked)) : std::nullopt);
  all.add(std::string_view(to_hex(extras)));
  for (const auto& e : index.entries()) {
    if (!e.assume_unchanged && !e.skip_worktree && !e.intent_to_add) continue;
    all.add(e.path);
    all.add(std::string_view(
        fmt::format("{:o} {} {} {} {}", e.mode, e.stage, e.assume_unchanged, e.skip_worktree, e.intent_to_add)));
  }
  for (const auto& each : s.left_out)
    all.add(std::string_view(each.path));
  all.add(std::string_view(fmt::format("{} {} {}", s.files.left_out, s.files.modified, s.uncommitted)));
  return all.digest();
}

} // namespace townkeeper::git
