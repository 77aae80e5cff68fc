#pragma once

#include <string>
#include <vector>

namespace townkeeper::contract {

/// One line of the contract's route tables, about agent `a1` of rig `rig`, with a body that is accepted.
struct route {
  std::string method;
  std::string path;
  std::string body = {};
  /// `write`: fenced; `read`: not; `admin`: needs that scope and is not fenced.
  enum class kind { boot, read, write, admin } what = kind::read;
};

/// All of them. The bodies are those of the container `instance` of epoch 1 in town `town`.
std::vector<route> all_routes(const std::string& town, const std::string& instance);

} // namespace townkeeper::contract
