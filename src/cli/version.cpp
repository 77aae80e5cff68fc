#include "cli/version.hpp"

namespace townkeeper::cli {

const std::string_view version = TOWNKEEPER_VERSION;

} // namespace townkeeper::cli
