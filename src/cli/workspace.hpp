#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"

/// The daemon's own part of the workspace: `<workspace>/.townkeeper`, mode 0700.
namespace townkeeper::cli {

struct workspace_layout {
  std::filesystem::path root;
  std::filesystem::path rigs() const { return root / "rigs"; }
  std::filesystem::path own() const { return root / ".townkeeper"; }
  std::filesystem::path agents() const { return own() / "agents"; }       ///< prime context, prompts, logs
  std::filesystem::path processes() const { return own() / "processes"; } ///< records of running agents
  std::filesystem::path commands() const { return own() / "bin"; }        ///< gt_checkpoint and its sisters
  std::filesystem::path sockets() const { return own() / "sockets"; }
  std::filesystem::path control_file() const { return own() / "control.json"; }
  std::filesystem::path lock_file() const { return own() / "lock"; }
};

/// A workspace that belongs to this process until the object goes (or the process dies, however).
class owned_workspace {
public:
  /// Makes the directories (also `rigs`) and takes the lock. `disk`: a directory cannot be made or is a symbolic link,
  /// or another daemon has the lock; the message says which.
  static result<owned_workspace> take(const std::filesystem::path& root);

  owned_workspace(owned_workspace&& other) noexcept;
  owned_workspace& operator=(owned_workspace&&) = delete;
  ~owned_workspace();

  const workspace_layout& layout() const noexcept { return layout_; }
  /// True where an earlier container left anything below `rigs`.
  bool warm() const noexcept { return warm_; }

private:
  explicit owned_workspace(workspace_layout layout, int lock);
  workspace_layout layout_;
  int lock_ = -1;
  bool warm_ = false;
};

/// How the CLI finds the daemon of a workspace.
struct control_address {
  int pid = 0;
  std::string url; ///< `http://127.0.0.1:<port>`
};

/// Atomically, mode 0600. `disk`.
result<void> write_control_file(const std::filesystem::path& file, const control_address& address);

/// `unavailable` where there is none, or none that can be read: no daemon runs there.
result<control_address> read_control_file(const std::filesystem::path& file);

/// Puts a link to `executable` under each of the names in `directory`, in place of whatever has that name. `disk`.
result<void> link_commands(const std::filesystem::path& directory, const std::filesystem::path& executable);

/// Where the agents' sockets are to be: `preferred`, or where its path is too long for sockets (unix(7): 108 bytes) a
/// new directory of mode 0700 below /run or /tmp, to be removed by the caller. `disk`.
result<std::filesystem::path> make_socket_directory(const std::filesystem::path& preferred);

} // namespace townkeeper::cli
