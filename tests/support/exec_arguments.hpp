#pragma once

#include <string>
#include <vector>

namespace townkeeper::test {

/// `strings` as exec and posix_spawn take them, a null pointer last; they point into `strings`.
inline std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> out;
  out.reserve(strings.size() + 1);
  for (auto& s : strings)
    out.push_back(s.data());
  out.push_back(nullptr);
  return out;
}

} // namespace townkeeper::test
