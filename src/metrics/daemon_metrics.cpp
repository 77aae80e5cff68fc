#include "metrics/daemon_metrics.hpp"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
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

prometheus::Family<prometheus::Histogram>& histogram(prometheus::Registry& registry, const char* name,
                                                     const char* help) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry);
}

std::map<std::string, std::string> label(const char* key, std::string_view value) {
  return {{key, std::string{value}}};
}

const prometheus::Histogram::BucketBoundaries duration_buckets{0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300};

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
  prometheus::Family<prometheus::Gauge>& unsaved = gauge(
      registry, "townkeeper_unsaved_age_seconds", "Age of the oldest change that is not off the machine; 0: none is.");
  prometheus::Family<prometheus::Gauge>& last_saved =
      gauge(registry, "townkeeper_last_saved_timestamp_seconds", "When a remote last acknowledged a recovery point.");
  prometheus::Family<prometheus::Counter>& saves =
      counter(registry, "townkeeper_saves_total", "Saves of one agent that ended, by result.");
  prometheus::Family<prometheus::Histogram>& snapshots =
      histogram(registry, "townkeeper_snapshot_seconds", "Duration of the snapshots of worktrees.");
  prometheus::Family<prometheus::Histogram>& pushes =
      histogram(registry, "townkeeper_push_seconds", "Duration of the pushes of recovery points.");
  prometheus::Family<prometheus::Counter>& pushed =
      counter(registry, "townkeeper_pushed_bytes_total", "Bytes sent to git remotes.");
};

daemon_metrics::daemon_metrics(std::string_view version)
    : families_(std::make_unique<families>()) {
  families_->build.Add(label("version", version)).Set(1);
  families_->ready.Add({}).Set(0);
  families_->fetched.Add({});
  for (const auto* kind : {"rig", "worktree", "agent", "keeper", "saver"})
    families_->restarts.Add(label("kind", kind));
  families_->requests.Add(label("result", "ok"));
  families_->unsaved.Add({}).Set(0);
  for (const auto* result : {"saved", "unchanged", "clean"})
    families_->saves.Add(label("result", result));
  families_->snapshots.Add({}, duration_buckets);
  families_->pushes.Add({}, duration_buckets);
  families_->pushed.Add({});
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

void daemon_metrics::set_unsaved_age(double seconds) {
  families_->unsaved.Add({}).Set(seconds);
}

void daemon_metrics::point_saved() {
  families_->last_saved.Add({}).SetToCurrentTime();
}

void daemon_metrics::save_ended(std::string_view result) {
  families_->saves.Add(label("result", result)).Increment();
}

void daemon_metrics::snapshot_took(double seconds) {
  families_->snapshots.Add({}, duration_buckets).Observe(seconds);
}

void daemon_metrics::push_took(double seconds) {
  families_->pushes.Add({}, duration_buckets).Observe(seconds);
}

void daemon_metrics::add_pushed_bytes(std::int64_t bytes) {
  if (bytes > 0) families_->pushed.Add({}).Increment(static_cast<double>(bytes));
}

std::string daemon_metrics::text() const {
  return prometheus::TextSerializer{}.Serialize(families_->registry.Collect());
}

} // namespace townkeeper::metrics
