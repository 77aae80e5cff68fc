#pragma once

#include <memory>
#include <string>

#include "actors/published_health.hpp"
#include "cli/actor_gateway.hpp"
#include "cli/town_transport.hpp"
#include "core/secret.hpp"
#include "http/router.hpp"
#include "metrics/daemon_metrics.hpp"

namespace townkeeper::cli {

struct control_context {
  std::string town_id;
  secret control_token;
  std::shared_ptr<const published_health> published;
  std::shared_ptr<const metrics::daemon_metrics> metrics;
  std::shared_ptr<current_token> container_token;
  std::shared_ptr<actor_gateway> actors;
};

/// CONTRACT.md, "Town to container": what the control port answers. Probes and metrics ask no actor.
http::router control_routes(const control_context& context);

} // namespace townkeeper::cli
