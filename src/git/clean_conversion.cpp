#include "git/clean_conversion.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "git/git_error.hpp"
#include "git/handle.hpp"
#include "git/object_id.hpp"
#include "git/text_conversion.hpp"

namespace townkeeper::git {
namespace {

using actions = clean_conversion::actions;
using text_kind = actions::text_kind;
using endings = actions::endings;

/// The words without which no attributes file changes what is stored. (More than a checkout's: `text` alone makes CRLF
/// into LF on the way in.)
bool mentions_a_conversion(std::string_view attributes) {
  constexpr std::array<std::string_view, 5> words{"text", "crlf", "eol", "ident", "working-tree-encoding"};
  return std::any_of(words.begin(), words.end(), [&](auto w) { return attributes.find(w) != std::string_view::npos; });
}

std::string file_content(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string config_text(git_config* config, const char* key) {
  git_buf value{};
  std::string text;
  if (git_config_get_string_buf(&value, config, key) == 0) text.assign(value.ptr, value.size);
  git_buf_dispose(&value);
  return text;
}

/// gitattributes(5): core.attributesFile, else $XDG_CONFIG_HOME/git/attributes, else $HOME/.config/git/attributes.
std::string user_attributes_file(git_config* config) {
  git_buf value{};
  std::string path;
  if (git_config_get_path(&value, config, "core.attributesfile") == 0) path.assign(value.ptr, value.size);
  git_buf_dispose(&value);
  if (!path.empty()) return path;
  if (const auto* xdg = std::getenv("XDG_CONFIG_HOME"); xdg != nullptr && *xdg != '\0')
    return std::string(xdg) + "/git/attributes";
  if (const auto* home = std::getenv("HOME"); home != nullptr) return std::string(home) + "/.config/git/attributes";
  return {};
}

bool is_true(const char* value) {
  return git_attr_value(value) == GIT_ATTR_VALUE_TRUE;
}
bool is_false(const char* value) {
  return git_attr_value(value) == GIT_ATTR_VALUE_FALSE;
}
bool is_word(const char* value, std::string_view word) {
  return git_attr_value(value) == GIT_ATTR_VALUE_STRING && value == word;
}

} // namespace

result<clean_conversion> clean_conversion::open(git_repository* repository,
                                                const std::vector<std::string>& attribute_files, bool unsteady) {
  clean_conversion c;
  c.repository_ = repository;
  c.unsteady_ = unsteady;
  config_handle config;
  if (const auto rc = git_repository_config_snapshot(out(config), repository); rc != 0)
    return last_error(rc, git_repository_commondir(repository));
  const auto autocrlf = config_text(config.get(), "core.autocrlf");
  int value = 0;
  c.auto_input_ = autocrlf == "input";
  c.auto_crlf_ = !c.auto_input_ && git_config_parse_bool(&value, autocrlf.c_str()) == 0 && value != 0;
  const auto eol = config_text(config.get(), "core.eol");
  c.eol_crlf_ = c.auto_crlf_ || (!c.auto_input_ && eol == "crlf");
  c.active_ = c.auto_crlf_ || c.auto_input_ ||
              std::any_of(attribute_files.begin(), attribute_files.end(), mentions_a_conversion);
  c.configuration_ = fmt::format("{}\n{}\n{}\n", autocrlf, eol, unsteady);
  for (const auto& path : {std::string(git_repository_commondir(repository)) + "info/attributes",
                           user_attributes_file(config.get()), std::string("/etc/gitattributes")}) {
    const auto content = file_content(path);
    c.active_ = c.active_ || mentions_a_conversion(content);
    c.configuration_ += content + '\0';
  }
  return c;
}

actions clean_conversion::actions_for(const std::string& path) {
  actions a;
  if (!active_) return a;
  std::array<const char*, 5> names{"text", "crlf", "eol", "ident", "working-tree-encoding"};
  std::array<const char*, 5> values{};
  // libgit2 fails here only for memory or an unreadable attributes file; the file's own bytes are then the honest
  // result.
  if (git_attr_get_many(values.data(), repository_, GIT_ATTR_CHECK_FILE_THEN_INDEX, path.c_str(), names.size(),
                        names.data()) != 0)
    return a;
  const auto [text_value, crlf_value, eol_value, ident_value, encoding_value] = values;
  a.ident = is_true(ident_value);
  if (git_attr_value(encoding_value) == GIT_ATTR_VALUE_STRING && !is_utf8_name(encoding_value))
    a.encoding = encoding_value;

  // `crlf` is the old name of `text`; where `text` says nothing, it speaks.
  const auto* text =
      is_true(text_value) || is_false(text_value) || is_word(text_value, "auto") || is_word(text_value, "input")
          ? text_value
          : crlf_value;
  if (is_false(text)) return a;
  const bool to_lf = is_word(eol_value, "lf");
  const bool to_crlf = is_word(eol_value, "crlf");
  const auto on_checkout = [](bool crlf) { return crlf ? endings::crlf : endings::as_they_are; };
  if (is_word(text, "auto")) {
    a.kind = text_kind::guessed;
    a.on_checkout = on_checkout(to_crlf || (!to_lf && eol_crlf_));
  } else if (is_word(text, "input")) {
    a.kind = text_kind::text;
  } else if (is_true(text) || to_lf || to_crlf) {
    a.kind = text_kind::text;
    a.on_checkout = on_checkout(to_crlf || (!to_lf && eol_crlf_));
  } else if (auto_crlf_ || auto_input_) {
    a.kind = text_kind::guessed;
    a.on_checkout = on_checkout(auto_crlf_);
  }
  return a;
}

clean_conversion::cleaned clean_conversion::to_git(const actions& wanted, std::string_view file,
                                                   const std::function<std::string()>& index_blob) {
  if (wanted.is_trivial()) return {file, true};
  auto current = file;
  const auto replace = [&](std::string converted) {
    buffer_ = std::move(converted);
    current = buffer_;
  };
  if (!wanted.encoding.empty() && !current.empty()) {
    auto decoded = decoded_from(current, wanted.encoding);
    // git refuses to add such a file; as it is, nothing is lost.
    if (!decoded) return {file, false};
    replace(std::move(*decoded));
  }
  if (wanted.kind != text_kind::binary) {
    const auto profile = profile_of(current);
    bool convert = profile.crlf > 0;
    if (convert && wanted.kind == text_kind::guessed) {
      // A file that was stored with CRLF once stays so (convert.c, has_crlf_in_index).
      const auto stored = profile.binary ? std::string() : index_blob();
      const auto before = profile_of(stored);
      convert = !profile.binary && (before.binary || before.crlf == 0);
    }
    if (convert) replace(without_crlf(current));
  }
  if (wanted.ident) replace(with_collapsed_ident(current));
  return {current, !unsteady_ && checked_out(wanted, current) == file};
}

std::string clean_conversion::checked_out(const actions& wanted, std::string_view stored) const {
  std::string out(stored);
  if (wanted.ident) {
    git_oid id{};
    if (git_odb_hash(&id, stored.data(), stored.size(), GIT_OBJECT_BLOB) == 0)
      out = with_expanded_ident(out, to_hex(id));
  }
  if (wanted.on_checkout == endings::crlf) {
    const auto profile = profile_of(out);
    const bool mixed_or_binary = profile.lone_cr > 0 || profile.crlf > 0 || profile.binary;
    if (profile.lone_lf > 0 && !(wanted.kind == text_kind::guessed && mixed_or_binary)) out = with_crlf(out);
  }
  if (wanted.encoding.empty() || out.empty()) return out;
  return encoded_as(out, wanted.encoding).value_or(std::move(out));
}

} // namespace townkeeper::git
