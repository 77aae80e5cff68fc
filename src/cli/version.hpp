#pragma once

#include <string_view>

namespace townkeeper::cli {

/// The project's version, from CMakeLists.txt.
extern const std::string_view version;

} // namespace townkeeper::cli
