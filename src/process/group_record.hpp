#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "core/error.hpp"

namespace townkeeper {

/// What is written down of a group while it runs, so that a successor of the daemon can end it and nothing else.
struct group_record {
  std::string agent_id, rig_id;
  int pid = 0;                  ///< of the leader; the number of its group and session as well
  std::uint64_t start_time = 0; ///< of the leader, as `process_entry` has it
  std::string boot_id, pid_namespace;

  friend bool operator==(const group_record&, const group_record&) = default;
};

/// `<records_directory>/<pid>.json`.
std::filesystem::path record_path(const std::filesystem::path& records_directory, int pid);

/// Atomic; mode 0600.
result<void> write_record(const std::filesystem::path& records_directory, const group_record& record);

/// `disk`, or `corrupt` where it is no record.
result<group_record> read_record(const std::filesystem::path& file);

/// A record that cannot be removed is logged: it is harmless, its leader's start time will not be seen again.
void remove_record(const std::filesystem::path& file);

} // namespace townkeeper
