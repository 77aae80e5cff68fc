#include "git/vanished_objects.hpp"

#include <system_error>

#include "git/point_objects.hpp"
#include "git/private_objects.hpp"

namespace townkeeper::git {

namespace fs = std::filesystem;

result<std::size_t> forget_broken_points(const fs::path& repository, const std::vector<std::string>& agents,
                                         const std::set<std::string>& points) {
  std::size_t forgotten = 0;
  for (const auto& agent : agents) {
    auto sees_all = open_with_private_objects(repository, {agent});
    if (!sees_all) return sees_all.error();
    for (const auto& point : points) {
      const auto file = private_objects_path(repository, agent) / point.substr(0, 2) / point.substr(2);
      std::error_code failed;
      if (!fs::exists(file, failed) || point_is_whole(sees_all->get(), point)) continue;
      if (fs::remove(file, failed)) ++forgotten;
    }
  }
  return forgotten;
}

result<bool> can_be_sent(const fs::path& repository, const std::string& agent, const std::string& point) {
  auto sees_all = open_with_private_objects(repository, {agent});
  if (!sees_all) return sees_all.error();
  return point_is_whole(sees_all->get(), point);
}

} // namespace townkeeper::git
