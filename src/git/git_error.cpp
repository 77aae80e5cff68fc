#include "git/git_error.hpp"

#include <git2.h>

#include <string_view>
#include <utility>

#include "core/secret.hpp"

namespace townkeeper::git {
namespace {

error_code code_of_class(int error_class, std::string_view text) noexcept {
  const auto says = [text](std::string_view part) { return text.find(part) != std::string_view::npos; };
  if (says("unsupported extension") || says("unsupported repository version") || says("object format"))
    return error_code::unsupported;
  switch (error_class) {
  case GIT_ERROR_OS:
  case GIT_ERROR_FILESYSTEM:
    return error_code::disk;
  case GIT_ERROR_ODB:
  case GIT_ERROR_ZLIB:
  case GIT_ERROR_INDEXER:
  case GIT_ERROR_OBJECT:
  case GIT_ERROR_TREE:
  case GIT_ERROR_TAG:
  case GIT_ERROR_INDEX:
  case GIT_ERROR_SHA:
  case GIT_ERROR_REFERENCE:
  case GIT_ERROR_CONFIG:
    return error_code::corrupt;
  case GIT_ERROR_NET:
  case GIT_ERROR_HTTP:
    return error_code::unavailable;
  case GIT_ERROR_SSL:
    return error_code::tls_failed;
  default:
    return error_code::internal;
  }
}

error_code code_of(int code, int error_class, std::string_view text) noexcept {
  switch (code) {
  case GIT_ENOTFOUND:
  case GIT_EUNBORNBRANCH:
    return error_code::not_found;
  case GIT_EAUTH:
    return error_code::unauthorized;
  case GIT_ECERTIFICATE:
    return error_code::tls_failed;
  case GIT_EUSER:
    return error_code::cancelled;
  case GIT_ELOCKED:
    return error_code::unavailable;
  case GIT_EINVALIDSPEC:
    return error_code::invalid_argument;
  case GIT_EMISMATCH:
    return error_code::corrupt;
  case GIT_EEOF:
    return error_code::unavailable;
  default:
    return code_of_class(error_class, text);
  }
}

} // namespace

error last_error(int code, std::string object) {
  const auto* last = git_error_last();
  std::string text = last != nullptr && last->message != nullptr && *last->message != '\0'
                         ? last->message
                         : "libgit2 failed without saying why (" + std::to_string(code) + ")";
  const int error_class = last != nullptr ? last->klass : 0;
  const auto kind = code_of(code, error_class, text);
  if (code == GIT_ELOCKED) text += "; another git process holds it, or its lock file is stale";
  return {kind, std::move(object), redact(std::move(text))};
}

error object_error(int code, std::string object) {
  auto failure = last_error(code, std::move(object));
  if (failure.code == error_code::not_found) failure.code = error_code::corrupt;
  return failure;
}

} // namespace townkeeper::git
