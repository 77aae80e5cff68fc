#include "fault_points.hpp"

#include <fstream>
#include <iterator>
#include <string_view>

namespace townkeeper::faults {

namespace fs = std::filesystem;

std::set<std::string> fault_points_in(const fs::path& sources) {
  constexpr std::string_view call = "fault_point(\"";
  std::set<std::string> names;
  for (const auto* part : {"src", "actors"})
    for (const auto& entry : fs::recursive_directory_iterator(sources / part)) {
      if (entry.path().extension() != ".cpp") continue;
      std::ifstream in{entry.path(), std::ios::binary};
      const std::string text{std::istreambuf_iterator<char>{in}, {}};
      for (auto at = text.find(call); at != std::string::npos; at = text.find(call, at + 1)) {
        const auto begin = at + call.size();
        names.insert(text.substr(begin, text.find('"', begin) - begin));
      }
    }
  return names;
}

std::map<std::string, int> passed_points(const fs::path& log) {
  std::map<std::string, int> counts;
  std::ifstream in{log};
  for (std::string line; std::getline(in, line);)
    ++counts[line];
  return counts;
}

} // namespace townkeeper::faults
