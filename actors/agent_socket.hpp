#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

/// One Unix socket per agent. A path of more than 107 bytes cannot be bound (unix(7)), `http::listen_on_unix` binds one
/// that is four bytes longer first, and an agent's id alone may have 128.
namespace townkeeper {

inline constexpr std::size_t max_socket_path_bytes = 103;
inline constexpr std::size_t short_socket_name_bytes = 21; ///< 16 digits and `.sock`

/// True where the sockets of all agents, whatever their ids, can be in this directory.
inline bool agent_socket_fits(const std::filesystem::path& directory) {
  return directory.native().size() + 1 + short_socket_name_bytes <= max_socket_path_bytes;
}

/// `<directory>/<agentId>.sock`, or 16 digits of the id's FNV-1a hash in place of an id that is too long.
inline std::filesystem::path agent_socket_path(const std::filesystem::path& directory, const std::string& agent_id) {
  auto path = directory / (agent_id + ".sock");
  if (path.native().size() <= max_socket_path_bytes) return path;
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : agent_id)
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  std::string digits;
  for (int shift = 60; shift >= 0; shift -= 4)
    digits += "0123456789abcdef"[(hash >> shift) & 15U];
  return directory / (digits + ".sock");
}

} // namespace townkeeper
