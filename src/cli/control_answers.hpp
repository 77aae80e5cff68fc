#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "actors/published_health.hpp"
#include "core/error.hpp"
#include "http/message.hpp"
#include "messages/lifecycle.hpp"

/// What the control server answers, as functions of what it knows.
namespace townkeeper::cli {

/// `/readyz`: 200 once all have converged, `ready` or `degraded` (`strict`: only `ready`), and not draining or fenced;
/// else 503 with Retry-After. The body says which phase it is.
http::response readiness(const health_snapshot& now, bool strict);

/// Why a control call with this `X-Gastown-Epoch` changes nothing here: another epoch (409 `fenced`), no epoch at all
/// (400), or not booted yet (503). Nothing where it may go on, as without the header (an operator's call).
std::optional<http::response> epoch_refusal(std::optional<std::string_view> header, std::int64_t epoch);

/// `/agents/start`.
http::response start_response(const result<start_answer>& answer);

/// `/snapshot`: 200 with the points where all that was asked for is saved. Otherwise 503 (404 where there is no such
/// agent), and the body lists both: the points as `data`, and under `unsaved` each agent with its reason.
http::response snapshot_response(const result<snapshot_answer>& answer);

/// An actor that could not be asked: 503 with Retry-After, or 500 for a bug.
http::response unanswered(const error& why);

/// A body that is not what the route takes.
http::response invalid_body(const error& why);

} // namespace townkeeper::cli
