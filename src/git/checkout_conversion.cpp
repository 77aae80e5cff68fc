#include "git/checkout_conversion.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "git/directory_stack.hpp"
#include "git/git_error.hpp"
#include "git/object_id.hpp"
#include "git/path_rules.hpp"
#include "git/text_conversion.hpp"

namespace townkeeper::git {
namespace {

constexpr std::string_view system_attributes_file = "/etc/gitattributes";

/// The only words in an attributes file that can change a file on its way to a Linux disk. `text`, `eol=lf` and
/// `binary` alone change nothing there, and most repositories have no others: their paths then need no look-up at all.
bool mentions_a_conversion(std::string_view attributes) {
  constexpr std::array<std::string_view, 4> words{"eol=crlf", "ident", "filter", "working-tree-encoding"};
  return std::any_of(words.begin(), words.end(), [&](auto w) { return attributes.find(w) != std::string_view::npos; });
}

std::string file_content(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

template <class Get>
std::string config_value(Get get, git_config* config, const char* key) {
  git_buf value{};
  std::string text;
  if (get(&value, config, key) == 0) text.assign(value.ptr, value.size);
  git_buf_dispose(&value);
  return text;
}

/// gitattributes(5): core.attributesFile, else $XDG_CONFIG_HOME/git/attributes, else $HOME/.config/git/attributes.
std::string user_attributes_file(git_config* config) {
  if (auto configured = config_value(git_config_get_path, config, "core.attributesfile"); !configured.empty())
    return configured;
  if (const auto* xdg = std::getenv("XDG_CONFIG_HOME"); xdg != nullptr && *xdg != '\0')
    return std::string(xdg) + "/git/attributes";
  if (const auto* home = std::getenv("HOME"); home != nullptr) return std::string(home) + "/.config/git/attributes";
  return {};
}

result<bool> tree_mentions_a_conversion(object_store& objects, const manifest& files) {
  if (!files.has_attributes_file) return false;
  for (const auto& entry : files.entries) {
    if (entry.mode != mode_file && entry.mode != mode_executable) continue;
    if (std::string_view(leaf_of(entry)) != ".gitattributes") continue;
    auto blob = objects.read(entry.id, GIT_OBJECT_BLOB);
    if (!blob) return blob.error();
    if (mentions_a_conversion((*blob)->bytes)) return true;
  }
  return false;
}

bool is_false(const char* value) {
  return git_attr_value(value) == GIT_ATTR_VALUE_FALSE;
}
bool is_true(const char* value) {
  return git_attr_value(value) == GIT_ATTR_VALUE_TRUE;
}
bool is_word(const char* value, std::string_view word) {
  return git_attr_value(value) == GIT_ATTR_VALUE_STRING && value == word;
}
std::string word_of(const char* value) {
  return git_attr_value(value) == GIT_ATTR_VALUE_STRING ? std::string(value) : std::string();
}

std::string described(std::size_t count, const std::string& first_path, std::string_view what) {
  return fmt::format("{} {} {} ({}{})", count, count == 1 ? "path" : "paths", what, printable(first_path),
                     count == 1 ? "" : ", …");
}

} // namespace

void checkout_conversion::occurrence::note(std::string_view path) {
  if (count++ == 0) first_path = path;
}

result<checkout_conversion> checkout_conversion::open(object_store& objects, const git_oid& commit,
                                                      const manifest& files) {
  checkout_conversion c;
  c.repository_ = objects.repository();
  c.commit_ = commit;
  config_handle config;
  if (const auto rc = git_repository_config(out(config), c.repository_); rc != 0)
    return last_error(rc, git_repository_commondir(c.repository_));

  const auto autocrlf = config_value(git_config_get_string_buf, config.get(), "core.autocrlf");
  int value = 0;
  c.auto_crlf_ = autocrlf != "input" && git_config_parse_bool(&value, autocrlf.c_str()) == 0 && value != 0;
  c.auto_any_ = c.auto_crlf_ || autocrlf == "input";
  const auto eol = config_value(git_config_get_string_buf, config.get(), "core.eol");
  c.eol_crlf_ = c.auto_crlf_ || (!c.auto_any_ && eol == "crlf");

  auto in_tree = tree_mentions_a_conversion(objects, files);
  if (!in_tree) return in_tree.error();
  c.active_ =
      c.eol_crlf_ || *in_tree ||
      mentions_a_conversion(file_content(std::string(git_repository_commondir(c.repository_)) + "info/attributes")) ||
      mentions_a_conversion(file_content(user_attributes_file(config.get()))) ||
      mentions_a_conversion(file_content(std::string(system_attributes_file)));
  if (!c.active_) return c;

  // Which drivers have a command that git would run: those paths are named.
  git_config_iterator* raw = nullptr;
  if (git_config_iterator_glob_new(&raw, config.get(), "^filter\\..*\\.(smudge|process)$") == 0) {
    const std::unique_ptr<git_config_iterator, free_with<git_config_iterator_free>> iterator(raw);
    git_config_entry* entry = nullptr;
    while (git_config_next(&entry, iterator.get()) == 0) {
      const std::string_view name(entry->name);
      const auto begin = name.find('.') + 1;
      c.configured_filters_.emplace(name.substr(begin, name.rfind('.') - begin));
    }
  }
  return c;
}

checkout_conversion::actions checkout_conversion::actions_for(const manifest_entry& entry) {
  std::array<const char*, 6> names{"text", "crlf", "eol", "ident", "filter", "working-tree-encoding"};
  std::array<const char*, 6> values{};
  git_attr_options options{};
  options.version = GIT_ATTR_OPTIONS_VERSION;
  options.flags = GIT_ATTR_CHECK_INCLUDE_COMMIT;
  options.attr_commit_id = commit_;
  actions a;
  // libgit2 fails here only for memory or an unreadable attributes file; the blob's own bytes are then the honest
  // result.
  if (git_attr_get_many_ext(values.data(), repository_, &options, entry.path.data(), names.size(), names.data()) != 0)
    return a;
  const auto [text_value, crlf_value, eol_value, ident_value, filter_value, encoding_value] = values;

  a.ident = is_true(ident_value);
  a.filter = word_of(filter_value);
  a.encoding = word_of(encoding_value);
  if (is_utf8_name(a.encoding)) a.encoding.clear();

  // `crlf` is the old name of `text`; where `text` says nothing, it speaks.
  const auto* text =
      is_true(text_value) || is_false(text_value) || is_word(text_value, "auto") || is_word(text_value, "input")
          ? text_value
          : crlf_value;
  const bool is_auto = is_word(text, "auto");
  if (is_false(text) || is_word(eol_value, "lf")) return a;
  if (is_word(eol_value, "crlf")) {
    a.endings = is_auto ? line_endings::crlf_when_text : line_endings::crlf;
  } else if (is_word(text, "input")) {
    return a;
  } else if (is_true(text)) {
    a.endings = eol_crlf_ ? line_endings::crlf : line_endings::as_they_are;
  } else if (is_auto ? eol_crlf_ : auto_crlf_) {
    a.endings = line_endings::crlf_when_text;
  }
  return a;
}

std::string_view checkout_conversion::to_worktree(const manifest_entry& entry, std::string_view blob,
                                                  std::string& buffer) {
  if (!active_) return blob;
  const auto wanted = actions_for(entry);
  note_filter(wanted.filter, entry.path);

  auto current = blob;
  const auto replace = [&](std::string converted) {
    buffer = std::move(converted);
    current = buffer;
  };
  if (wanted.ident) replace(with_expanded_ident(current, to_hex(entry.id)));
  if (wanted.endings != line_endings::as_they_are) {
    const auto profile = profile_of(current);
    const bool mixed_or_binary = profile.lone_cr > 0 || profile.crlf > 0 || profile.binary;
    if (profile.lone_lf > 0 && !(wanted.endings == line_endings::crlf_when_text && mixed_or_binary))
      replace(with_crlf(current));
  }
  if (!wanted.encoding.empty() && !current.empty()) {
    if (auto encoded = encoded_as(current, wanted.encoding)) {
      replace(std::move(*encoded));
    } else {
      encodings_not_known_[wanted.encoding].note(entry.path);
    }
  }
  return current;
}

void checkout_conversion::note_filter(const std::string& driver, std::string_view path) {
  if (driver.empty()) return;
  if (driver == "lfs") {
    lfs_.note(path);
  } else if (configured_filters_.contains(driver)) {
    filters_not_run_[driver].note(path);
  }
}

std::vector<std::string> checkout_conversion::reports() const {
  std::vector<std::string> out;
  if (lfs_.count > 0)
    out.push_back(
        described(lfs_.count, lfs_.first_path, "kept as Git LFS pointers; `git lfs pull` fetches the content"));
  for (const auto& [driver, seen] : filters_not_run_)
    out.push_back(
        described(seen.count, seen.first_path,
                  fmt::format("written without the filter '{}', which is never run here", printable(driver))));
  for (const auto& [encoding, seen] : encodings_not_known_)
    out.push_back(
        described(seen.count, seen.first_path,
                  fmt::format("left in UTF-8: working-tree-encoding '{}' is not known here or cannot hold them",
                              printable(encoding))));
  return out;
}

} // namespace townkeeper::git
