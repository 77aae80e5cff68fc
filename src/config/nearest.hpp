#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace townkeeper::config {

/// `"; did you mean X?"` for the known name that takes the fewest edits (at most 3, and fewer than half of the name),
/// else empty.
std::string did_you_mean(std::string_view misspelt, const std::vector<std::string>& known);

} // namespace townkeeper::config
