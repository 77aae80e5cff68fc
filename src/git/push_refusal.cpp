#include "git/push_refusal.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "core/secret.hpp"

namespace townkeeper::git {
namespace {

constexpr std::array<std::string_view, 4> words_about_content = {"hook declined", "unpacker error", "unpack",
                                                                 "exceeds"};
/// Another push holds the ref, or set it meanwhile: worth another attempt.
constexpr std::array<std::string_view, 4> words_about_now = {"failed to update ref", "failed to lock",
                                                             "cannot lock ref", "reference already exists"};

template <std::size_t N>
bool holds_any(const std::string& text, const std::array<std::string_view, N>& words) {
  return std::any_of(words.begin(), words.end(),
                     [&](std::string_view word) { return text.find(word) != std::string::npos; });
}

std::string with_words(const upload_report& report, std::string text) {
  if (!report.remote_says.empty()) text += "; it says: " + report.remote_says;
  return redact(std::move(text));
}

} // namespace

ref_refusal refusal_of(const upload_report& report, const std::string& agent_id, const std::string& ref) {
  if (!report.unpacked)
    return {refusal::content,
            {error_code::too_large, agent_id,
             with_words(report, "the remote did not take the objects of " + ref + ": too much, or no room")}};
  const auto answer = report.answers.find(ref);
  if (answer == report.answers.end())
    return {refusal::other, {error_code::unavailable, agent_id, "the remote did not say whether it set " + ref}};
  const auto& why = answer->second;
  if (why.empty()) return {};
  const auto kind = holds_any(why, words_about_content) ? refusal::content : refusal::other;
  const auto code = holds_any(why, words_about_now) ? error_code::unavailable : error_code::forbidden;
  const auto* remedy =
      kind == refusal::content
          ? ""
          : "; let it accept pushes to refs/townkeeper/ (receive.hideRefs, rights of the token, rules for refs)";
  return {kind, {code, agent_id, with_words(report, fmt::format("the remote refuses {}: {}{}", ref, why, remedy))}};
}

ref_refusal refused_size(const std::string& agent_id, const error& why) {
  return {refusal::content, {error_code::too_large, agent_id, why.message}};
}

} // namespace townkeeper::git
