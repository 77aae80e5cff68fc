#include "git/repository_features.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "git/git_error.hpp"
#include "git/handle.hpp"

namespace townkeeper::git {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view extensions = "extensions.";

/// What a configuration entry means that we cannot live with; nothing when it is harmless. Names are in lower case, as
/// libgit2 gives them, but for the part between the dots.
std::optional<std::string> unsupported_by(std::string_view name, std::string_view value) {
  if (name.starts_with("remote.") && (name.ends_with(".promisor") || name.ends_with(".partialclonefilter")))
    return value == "false" ? std::nullopt : std::optional<std::string>("a partial clone");
  if (!name.starts_with(extensions)) return std::nullopt;
  const auto extension = name.substr(extensions.size());
  if (extension == "objectformat")
    return value == "sha1" ? std::nullopt : std::optional(fmt::format("the object format {} (only sha1)", value));
  if (extension == "refstorage")
    return value == "files" ? std::nullopt : std::optional(fmt::format("the ref storage {} (only files)", value));
  if (extension == "partialclone") return "a partial clone";
  constexpr std::string_view harmless[] = {"noop", "preciousobjects", "worktreeconfig"};
  if (std::find(std::begin(harmless), std::end(harmless), extension) != std::end(harmless)) return std::nullopt;
  return fmt::format("the extension {}", extension);
}

error unsupported(const fs::path& repository, const std::string& feature) {
  return {error_code::unsupported, repository.string(),
          fmt::format("the repository on the disk uses {}, which townkeeper does not support; move it away to have it "
                      "cloned afresh",
                      feature)};
}

} // namespace

result<void> check_features(const fs::path& repository) {
  std::error_code ignored;
  if (!fs::exists(repository / "config", ignored))
    return error{error_code::not_found, repository.string(), "it has no configuration"};
  config_handle config;
  if (const int code = git_config_open_ondisk(out(config), (repository / "config").c_str()); code < 0)
    return error{error_code::corrupt, repository.string(), last_error(code, {}).message};
  std::optional<std::string> feature;
  const auto look = [](const git_config_entry* entry, void* into) {
    auto& found = *static_cast<std::optional<std::string>*>(into);
    if (!found) found = unsupported_by(entry->name, entry->value != nullptr ? entry->value : "true");
    return 0;
  };
  if (const int code = git_config_foreach(config.get(), look, &feature); code < 0)
    return error{error_code::corrupt, repository.string(), last_error(code, {}).message};
  if (feature) return unsupported(repository, *feature);
  if (fs::file_size(repository / "shallow", ignored) > 0 && !ignored) return unsupported(repository, "shallow history");
  return {};
}

} // namespace townkeeper::git
