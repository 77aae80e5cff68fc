#include "metrics/daemon_metrics.hpp"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <map>

namespace townkeeper::metrics {
namespace {

prometheus::Family<prometheus::Gauge>& gauge(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry);
}

prometheus::Family<prometheus::Counter>& counter(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

std::map<std::string, std::string> label(const char* key, std::string_view value) {
  return {{key, std::string{value}}};
}

} // namespace

struct daemon_metrics::families {
  prometheus::Registry registry;
  prometheus::Family<prometheus::Gauge>& build =
      gauge(registry, "townkeeper_build_info", "Version of the daemon, as a label.");
  prometheus::Family<prometheus::Gauge>& ready =
      gauge(registry, "townkeeper_ready", "1 once every rig and agent has settled, else 0.");
  prometheus::Family<prometheus::Gauge>& restore =
      gauge(registry, "townkeeper_restore_seconds", "Duration of the first restore, by phase; total is the wake time.");
  prometheus::Family<prometheus::Gauge>& rigs = gauge(registry, "townkeeper_rigs", "Rigs by phase.");
  prometheus::Family<prometheus::Gauge>& agents = gauge(registry, "townkeeper_agents", "Agents by outcome.");
  prometheus::Family<prometheus::Counter>& fetched =
      counter(registry, "townkeeper_fetched_bytes_total", "Bytes received from git remotes.");
  prometheus::Family<prometheus::Counter>& restarts = counter(
      registry, "townkeeper_actor_restarts_total", "Child actors that crashed and were started again, by kind.");
  prometheus::Family<prometheus::Counter>& requests =
      counter(registry, "townkeeper_town_requests_total", "Requests to the town, by result.");
};

daemon_metrics::daemon_metrics(std::string_view version)
    : families_(std::make_unique<families>()) {
  families_->build.Add(label("version", version)).Set(1);
  families_->ready.Add({}).Set(0);
  families_->fetched.Add({});
  for (const auto* kind : {"rig", "worktree", "agent"})
    families_->restarts.Add(label("kind", kind));
  families_->requests.Add(label("result", "ok"));
}

daemon_metrics::~daemon_metrics() = default;

void daemon_metrics::restore_took(std::string_view phase, double seconds) {
  families_->restore.Add(label("phase", phase)).Set(seconds);
}

void daemon_metrics::set_rigs(std::string_view state, std::int64_t count) {
  families_->rigs.Add(label("phase", state)).Set(static_cast<double>(count));
}

void daemon_metrics::set_agents(std::string_view state, std::int64_t count) {
  families_->agents.Add(label("outcome", state)).Set(static_cast<double>(count));
}

void daemon_metrics::add_fetched_bytes(std::int64_t bytes) {
  if (bytes > 0) families_->fetched.Add({}).Increment(static_cast<double>(bytes));
}

void daemon_metrics::actor_restarted(std::string_view kind) {
  families_->restarts.Add(label("kind", kind)).Increment();
}

void daemon_metrics::town_request(std::string_view result) {
  families_->requests.Add(label("result", result)).Increment();
}

void daemon_metrics::set_ready(bool ready) {
  families_->ready.Add({}).Set(ready ? 1 : 0);
}

std::string daemon_metrics::text() const {
  return prometheus::TextSerializer{}.Serialize(families_->registry.Collect());
}

} // namespace townkeeper::metrics
