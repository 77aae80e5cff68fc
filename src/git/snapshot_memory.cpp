#include "git/snapshot_memory.hpp"

#include <map>
#include <system_error>
#include <utility>

namespace townkeeper::git {

std::shared_ptr<snapshot_memory> snapshot_memory::of(const std::filesystem::path& repository,
                                                     const std::string& agent_id) {
  static std::mutex mutex;
  static std::map<std::pair<std::string, std::string>, std::shared_ptr<snapshot_memory>> all;
  std::error_code failed;
  const auto real = std::filesystem::weakly_canonical(repository, failed);
  const std::lock_guard lock(mutex);
  auto& memory = all[{(failed ? repository : real).native(), agent_id}];
  if (!memory) memory = std::make_shared<snapshot_memory>();
  return memory;
}

} // namespace townkeeper::git
