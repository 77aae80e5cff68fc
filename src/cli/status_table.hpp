#pragma once

#include <string>
#include <string_view>

#include "core/error.hpp"

namespace townkeeper::cli {

/// A health document for people: one line for the town, one for each rig, below it one for each of its agents, with
/// what is wrong. `corrupt` where the text is no health document.
result<std::string> status_table(std::string_view health_document);

} // namespace townkeeper::cli
