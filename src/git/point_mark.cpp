#include <unistd.h>

#include <charconv>
#include <string>
#include <string_view>

#include "core/fault_point.hpp"
#include "git/descriptor.hpp"
#include "git/object_id.hpp"
#include "git/recovery.hpp"

namespace townkeeper::git {
namespace {

constexpr std::size_t max_mark_bytes = 256;

std::filesystem::path registration_of(const std::filesystem::path& repository, const std::string& agent_id) {
  return repository / "worktrees" / agent_id;
}

result<descriptor> open_registration(const std::filesystem::path& repository, const std::string& agent_id) {
  return open_directory(AT_FDCWD, registration_of(repository, agent_id).c_str(),
                        registration_of(repository, agent_id).native());
}

bool take_number(std::string_view& text, std::int64_t& into) {
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), into);
  if (failure != std::errc{} || into < 0 || end == text.data() + text.size() || *end != ' ') return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()) + 1);
  return true;
}

} // namespace

std::optional<point_mark> read_point_mark(const std::filesystem::path& repository, const std::string& agent_id) {
  auto directory = open_registration(repository, agent_id);
  if (!directory) return std::nullopt;
  auto content = read_small_file(directory->get(), point_mark_file, max_mark_bytes);
  if (!content) return std::nullopt;
  std::string_view text(*content);
  if (!text.ends_with('\n')) return std::nullopt;
  text.remove_suffix(1);
  point_mark mark;
  if (!take_number(text, mark.epoch) || !take_number(text, mark.seq) || !parse_oid(text)) return std::nullopt;
  mark.commit = text;
  return mark;
}

result<void> write_point_mark(const std::filesystem::path& repository, const std::string& agent_id,
                              const point_mark& mark) {
  if (auto id = parse_oid(mark.commit); !id) return id.error();
  auto directory = open_registration(repository, agent_id);
  if (!directory) return directory.error();
  if (const int failed = fault_point("point-marked"); failed != 0)
    return disk_error(failed, point_mark_file, "cannot be written");
  // One writer per worktree: a lock that is there is a dead one's.
  ::unlinkat(directory->get(), (std::string(point_mark_file) + ".lock").c_str(), 0);
  return replace_file(directory->get(), point_mark_file, point_mark_text(mark));
}

} // namespace townkeeper::git
