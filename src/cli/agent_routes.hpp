#pragma once

#include <memory>
#include <string>

#include "cli/actor_gateway.hpp"
#include "http/router.hpp"

namespace townkeeper::cli {

/// Who speaks on an agent's socket, as the socket's label has it. Ids hold no slash.
std::string agent_label(const std::string& rig_id, const std::string& agent_id);

/// What an agent may say and ask on its own socket; the label alone says which agent it is. Everything but the login of
/// its own rig's remote goes to the town, with the container's token and epoch.
http::router agent_routes(const std::shared_ptr<actor_gateway>& actors);

} // namespace townkeeper::cli
