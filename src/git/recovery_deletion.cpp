#include <fmt/core.h>

#include <algorithm>
#include <string_view>

#include "git/git_error.hpp"
#include "git/git_program.hpp"
#include "git/object_id.hpp"
#include "git/recovery.hpp"
#include "git/recovery_tools.hpp"

namespace townkeeper::git {
namespace {

constexpr std::size_t refs_in_one_push = 100;

/// What is no ref of a point's could be read by `git push` as an option, or as a refspec that means something else.
result<void> check(const std::string& ref, const std::string& commit) {
  const bool plain = std::none_of(ref.begin(), ref.end(), [](unsigned char c) {
    return c <= ' ' || c >= 0x7f || std::string_view(":*?[\\^~").find(static_cast<char>(c)) != std::string_view::npos;
  });
  if (!ref.starts_with(point_namespace) || !plain)
    return error{error_code::invalid_argument, ref, "is no ref below refs/townkeeper/"};
  if (!parse_oid(commit)) return error{error_code::invalid_argument, ref, "is not said to name a commit"};
  return {};
}

} // namespace

result<std::set<std::string>> drop_refs(const clone_location& clone, const std::map<std::string, std::string>& refs) {
  for (const auto& [ref, commit] : refs)
    if (auto ok = check(ref, commit); !ok) return ok.error();
  result<void> refused;
  for (auto at = refs.begin(); at != refs.end();) {
    std::vector<std::string> arguments{"push", "--quiet", "--no-verify"};
    std::vector<std::string> deletions;
    for (; at != refs.end() && deletions.size() < refs_in_one_push; ++at) {
      arguments.push_back(fmt::format("--force-with-lease={}:{}", at->first, at->second));
      deletions.push_back(":" + at->first);
    }
    arguments.insert(arguments.end(), {"--", clone.remote});
    arguments.insert(arguments.end(), deletions.begin(), deletions.end());
    if (auto pushed = run_git_program(clone.directory, arguments); !pushed) refused = pushed.error();
  }
  // A push that is refused for one ref has deleted the others: the remote says what is so.
  const auto left = run_git_program(clone.directory, {"ls-remote", "--", clone.remote, "refs/townkeeper/*"});
  if (!left) return left.error();
  std::set<std::string> gone;
  for (const auto& [ref, commit] : refs)
    if (left->find("\t" + ref + "\n") == std::string::npos) gone.insert(ref);
  if (gone.empty() && !refused) return refused.error();
  return gone;
}

} // namespace townkeeper::git
