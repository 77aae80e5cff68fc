#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace townkeeper::test {

/// Everything about a worktree that an agent could miss, by git's own word and by looking at the files. Kinds of facts,
/// as the first word of each key:
///
///     head            content of HEAD            branch        `# branch.oid` and `# branch.head` of status
///     status <entry>  of status --porcelain=v2   says <nn>     lines of the long status, without those on the remote
///     index <entry>   of ls-files -s -v, with extended flags
///     file <path>     mode, size and SHA-256 of files that are not ignored, targets of links; with untracked
///     repositories nested <path>   the same of what is in the `.git` of such a repository ref <name>      local
///     branches, tags, refs of the worktree: id and type stash <n>       id and message             log <n>       id
///     and tree of HEAD's history operation <file>  files in the admin directory (MERGE_HEAD, rebase-merge/…): their
///     bytes
struct worktree_picture {
  std::map<std::string, std::string> facts;

  bool is_born() const;
  bool has_unmerged() const;
  bool has_intent_to_add() const;
  bool has_flags() const; ///< assume-unchanged or skip-worktree
};

/// Looks without writing anything, not even a refreshed index. Throws when git fails.
worktree_picture describe(const std::filesystem::path& worktree);

/// One line for each fact that came (`+`), went (`-`) or changed (`-` and `+`); empty: there is none. With `kinds`,
/// only facts of these.
std::string differences(const worktree_picture& before, const worktree_picture& after,
                        const std::vector<std::string>& kinds = {});

} // namespace townkeeper::test
