// The body of POST /agents/start: what is taken becomes paths, arguments and an environment.

#include <algorithm>
#include <string>

#include "core/ids.hpp"
#include "tests/fuzz/property.hpp"
#include "town/decode.hpp"
#include "town/field_rules.hpp"

using namespace townkeeper;
using fuzz::require;

namespace {

bool is_variable_name(std::string_view name) {
  const auto letter = [](char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_'; };
  const auto more = [&](char c) { return letter(c) || (c >= '0' && c <= '9'); };
  return !name.empty() && letter(name.front()) && std::all_of(name.begin(), name.end(), more);
}

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto request = town::decode_start_request(fuzz::bytes_of(data, size));
  if (!request) {
    require(request.error().code == error_code::invalid_argument, "a refused body is invalid_argument");
    return 0;
  }
  for (const auto& id : {request->agent_id, request->rig_id, request->town_id, request->role})
    require(is_valid_id(id) && id.find('/') == std::string::npos && id.find("..") == std::string::npos,
            "an id is one segment of a path");
  require(is_valid_branch(request->branch) && is_valid_branch(request->default_branch), "a branch is one");
  require(request->branch.front() != '-', "a branch is no option");
  require(town::url_shape(request->git_url) == nullptr, "a URL has the shape of one");
  require(request->prompt.find('\0') == std::string::npos, "a prompt can be an argument");
  for (const auto& [name, value] : request->env_vars)
    require(is_variable_name(name) && value.find('\0') == std::string::npos, "a variable can be set");
  return 0;
}
