#include "git/snapshot_contents.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <system_error>
#include <utility>

#include "git/git_error.hpp"
#include "git/object_id.hpp"
#include "git/path_rules.hpp"
#include "git/tree_reader.hpp"

namespace townkeeper::git {
namespace {

constexpr int max_reads = 4;
/// Time stamps of files come from the kernel's coarse clock, which ticks at least this often.
constexpr std::int64_t clock_tick_ns = 20'000'000;

using kind = content_outcome::kind;

content_outcome left_out(std::string reason) {
  return {kind::left_out, {}, std::nullopt, false, std::move(reason)};
}

std::int64_t coarse_now_ns() noexcept {
  struct timespec now {};
  ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

/// git compares no content where the sizes differ (read-cache.c, ie_modified). An entry without a size was never
/// stamped.
bool has_other_size(const found_path& found, const seen_stat& stat) noexcept {
  return found.entry != nullptr && found.entry->stage == 0 && found.entry->stamp.size != 0 &&
         found.entry->stamp.size != static_cast<std::uint32_t>(stat.size);
}

std::string message_of(std::string_view what, int number) {
  return fmt::format("{}: {}", what, std::generic_category().message(number));
}

} // namespace

std::string content_reader::too_large(std::int64_t size) const {
  if (size > p_.limits->file_bytes)
    return fmt::format("has {} bytes, more than the limit of {} for one file", size, p_.limits->file_bytes);
  if (stored_bytes_ + size > p_.limits->point_bytes)
    return fmt::format("would make the point larger than the limit of {} bytes", p_.limits->point_bytes);
  return {};
}

const remembered_file* content_reader::recalled(const found_path& found) const {
  const auto known = p_.memory->files.find(found.path);
  return known == p_.memory->files.end() || known->second.stat != found.stat ? nullptr : &known->second;
}

result<content_outcome> content_reader::read(const found_path& found) {
  if (const auto* known = recalled(found)) {
    const bool as_indexed = found.entry != nullptr && same(known->id, found.entry->id);
    const bool has_item = as_indexed || p_.store->contains(known->id);
    const bool other_size = as_indexed && has_other_size(found, found.stat);
    if (has_item && (known->raw || !other_size) && (!known->raw || p_.store->contains(*known->raw))) {
      if (auto why = as_indexed ? std::string() : too_large(found.stat.size); !why.empty())
        return left_out(std::move(why));
      if (!as_indexed) stored_bytes_ += found.stat.size;
      const auto mode = index_mode(found.stat, found.entry, p_.trusts_mode);
      const content_outcome outcome{kind::read, {known->id, mode}, known->raw, other_size, {}};
      next_.insert_or_assign(found.path, *known);
      return outcome;
    }
  }
  auto got = read_moment(found.path);
  if (got.what != kind::read) return content_outcome{got.what, {}, std::nullopt, false, std::move(got.reason)};
  return convert(found, got.moment, false);
}

result<content_outcome> content_reader::check_unchanged(const found_path& found) {
  const content_outcome as_indexed{kind::read, {found.entry->id, found.entry->mode}, std::nullopt, false, {}};
  if (!p_.conversion->is_active() || !found.stat.is_file()) return as_indexed;
  if (const auto* known = recalled(found); known != nullptr && (!known->raw || p_.store->contains(*known->raw))) {
    auto outcome = as_indexed;
    outcome.raw = known->raw;
    next_.insert_or_assign(found.path, *known);
    return outcome;
  }
  if (p_.conversion->actions_for(found.path).is_trivial()) {
    next_.insert_or_assign(found.path, remembered_file{found.stat, found.entry->id, std::nullopt});
    return as_indexed;
  }
  auto got = read_moment(found.path);
  // It changed under our eyes, or cannot be read: the next snapshot sees it as changed.
  if (got.what != kind::read || got.moment.stat != found.stat) return as_indexed;
  return convert(found, got.moment, true);
}

result<content_outcome> content_reader::convert(const found_path& found, const file_moment& moment, bool is_unchanged) {
  content_outcome outcome{
      kind::read, {{}, index_mode(moment.stat, found.entry, p_.trusts_mode)}, std::nullopt, false, {}};
  const bool is_file = moment.stat.is_file();
  const auto wanted = is_file ? p_.conversion->actions_for(found.path) : clean_conversion::actions{};
  const auto cleaned = p_.conversion->to_git(wanted, moment.bytes, [&] { return index_blob(found.entry); });
  if (const auto rc = git_odb_hash(&outcome.item.id, cleaned.bytes.data(), cleaned.bytes.size(), GIT_OBJECT_BLOB);
      rc != 0)
    return last_error(rc, printable(found.path));
  const bool as_indexed = found.entry != nullptr && same(outcome.item.id, found.entry->id);
  outcome.has_other_size = is_file && as_indexed && has_other_size(found, moment.stat);
  const bool needs_raw = !cleaned.comes_back || (is_unchanged && !as_indexed) || outcome.has_other_size;
  const auto size = static_cast<std::int64_t>(moment.bytes.size());
  if (!is_unchanged && !as_indexed) {
    if (auto why = too_large(size); !why.empty()) return left_out(std::move(why));
    if (auto id = p_.store->put(cleaned.bytes, GIT_OBJECT_BLOB); !id) return id.error();
    stored_bytes_ += size;
  }
  if (needs_raw && too_large(size).empty()) {
    auto raw = p_.store->put(moment.bytes, GIT_OBJECT_BLOB);
    if (!raw) return raw.error();
    outcome.raw = *raw;
    stored_bytes_ += size;
  }
  if (moment.at_rest) next_.insert_or_assign(found.path, remembered_file{moment.stat, outcome.item.id, outcome.raw});
  if (is_unchanged) outcome.item = {found.entry->id, found.entry->mode};
  return outcome;
}

result<content_outcome> content_reader::read_exactly(const std::string& path, const seen_stat& stat) {
  const found_path found{path, stat, nullptr};
  if (const auto* known = recalled(found); known != nullptr && p_.store->contains(known->id)) {
    if (auto why = too_large(stat.size); !why.empty()) return left_out(std::move(why));
    stored_bytes_ += stat.size;
    next_.insert_or_assign(path, *known);
    return content_outcome{kind::read, {known->id, index_mode(stat, nullptr, true)}, std::nullopt, false, {}};
  }
  auto got = read_moment(path);
  if (got.what != kind::read) return content_outcome{got.what, {}, std::nullopt, false, std::move(got.reason)};
  auto id = p_.store->put(got.moment.bytes, GIT_OBJECT_BLOB);
  if (!id) return id.error();
  stored_bytes_ += static_cast<std::int64_t>(got.moment.bytes.size());
  if (got.moment.at_rest) next_.insert_or_assign(path, remembered_file{got.moment.stat, *id, std::nullopt});
  return content_outcome{kind::read, {*id, index_mode(got.moment.stat, nullptr, true)}, std::nullopt, false, {}};
}

content_reader::reading content_reader::read_moment(const std::string& path) {
  for (int attempt = 0; attempt < max_reads; ++attempt) {
    reading got;
    auto directory = directories_.enter(parent_of(path), directory_stack::on_missing::fail);
    if (!directory) {
      directories_.leave_all();
      const auto code = directory.error().code;
      if (code == error_code::not_found || code == error_code::invalid_argument || attempt + 1 < max_reads) {
        if (attempt + 1 < max_reads) continue;
        return {kind::vanished, {}, {}};
      }
      return {kind::left_out, {}, directory.error().message};
    }
    if (read_once(*directory, leaf_of(path), got)) return got;
    directories_.leave_all();
  }
  return {kind::left_out, {}, "kept changing while it was read"};
}

/// False: it changed meanwhile, and is to be read again.
bool content_reader::read_once(int directory, const char* leaf, reading& into) {
  const auto begin = coarse_now_ns();
  const descriptor fd(::openat(directory, leaf, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOATIME));
  const descriptor plain(
      fd || errno != EPERM ? -1 : ::openat(directory, leaf, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  const int file = fd ? fd.get() : plain.get();
  if (file < 0) {
    if (errno == ELOOP) return read_link(directory, leaf, into);
    if (errno == ENOENT || errno == ENOTDIR || errno == ENXIO) {
      into.what = kind::vanished;
      return true;
    }
    into.what = kind::left_out;
    into.reason = message_of("cannot be opened", errno);
    return true;
  }
  struct stat before {};
  struct stat after {};
  if (::fstat(file, &before) != 0) return false;
  if (!S_ISREG(before.st_mode)) {
    into.what = kind::vanished;
    return true;
  }
  if (auto why = too_large(before.st_size); !why.empty()) {
    into.what = kind::left_out;
    into.reason = std::move(why);
    return true;
  }
  if (p_.observe != nullptr && *p_.observe) (*p_.observe)(snapshot_step::reading);
  auto& bytes = into.moment.bytes;
  bytes.resize(static_cast<std::size_t>(before.st_size));
  std::size_t got = 0;
  while (got < bytes.size()) {
    const auto n = ::read(file, bytes.data() + got, bytes.size() - got);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      into.what = kind::left_out;
      into.reason = message_of("cannot be read", errno);
      return true;
    }
    if (n == 0) break;
    got += static_cast<std::size_t>(n);
  }
  if (::fstat(file, &after) != 0 || got != bytes.size() || seen(before) != seen(after)) return false;
  into.what = kind::read;
  into.moment.stat = seen(after);
  into.moment.at_rest = std::max(into.moment.stat.modified_ns, into.moment.stat.changed_ns) + clock_tick_ns < begin;
  return true;
}

bool content_reader::read_link(int directory, const char* leaf, reading& into) {
  struct stat before {};
  struct stat after {};
  if (::fstatat(directory, leaf, &before, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISLNK(before.st_mode)) return false;
  std::array<char, 4096> target{}; // PATH_MAX
  const auto n = ::readlinkat(directory, leaf, target.data(), target.size());
  if (n < 0 || ::fstatat(directory, leaf, &after, AT_SYMLINK_NOFOLLOW) != 0 || seen(before) != seen(after))
    return false;
  into.what = kind::read;
  into.moment.bytes.assign(target.data(), static_cast<std::size_t>(n));
  into.moment.stat = seen(after);
  return true;
}

std::string content_reader::index_blob(const index_entry* entry) const {
  odb_object_handle object;
  if (entry == nullptr || git_odb_read(out(object), p_.objects, &entry->id) != 0) return {};
  return {static_cast<const char*>(git_odb_object_data(object.get())), git_odb_object_size(object.get())};
}

} // namespace townkeeper::git
