#include "failure_notes.hpp"

#include <chrono>
#include <cstdio>
#include <list>
#include <mutex>
#include <optional>
#include <vector>

#include "container.hpp"

namespace townkeeper::test {

namespace {

using clock_type = std::chrono::steady_clock;

struct noted_container {
  container* who = nullptr; ///< null once it is gone
  std::string town_id;
  std::string health; ///< empty: it never said anything
  clock_type::time_point at{};
};

struct notes {
  std::mutex mutex;
  std::optional<std::uint64_t> seed;
  std::list<noted_container> containers;

  noted_container* of(const container& who) {
    for (auto& each : containers)
      if (each.who == &who) return &each;
    return nullptr;
  }
};

notes& all_notes() {
  static notes n;
  return n;
}

} // namespace

void note_seed(std::uint64_t seed) {
  const std::lock_guard lock{all_notes().mutex};
  all_notes().seed = seed;
}

void ask_all_containers() {
  std::vector<container*> living;
  {
    const std::lock_guard lock{all_notes().mutex};
    for (const auto& each : all_notes().containers)
      if (each.who != nullptr) living.push_back(each.who);
  }
  for (auto* each : living) {
    if (each->process() == nullptr || !each->process()->running() || each->url().empty()) continue;
    http_request request;
    request.url = each->url() + "/health";
    request.timeout = std::chrono::seconds{2};
    if (const auto answer = send(request); answer && answer->status == 200) note_health(*each, answer->body);
  }
}

std::string failure_report() {
  const std::lock_guard lock{all_notes().mutex};
  std::string out;
  if (all_notes().seed) {
    const auto seed = std::to_string(*all_notes().seed);
    out += "seed " + seed + "; TOWNKEEPER_SEED=" + seed + " repeats it\n";
  }
  for (const auto& each : all_notes().containers) {
    out += "last health of a container of " + each.town_id;
    if (each.health.empty()) {
      out += ": none was seen\n";
      continue;
    }
    char age[32];
    std::snprintf(age, sizeof age, "%.1f", std::chrono::duration<double>{clock_type::now() - each.at}.count());
    out += std::string{" ("} + age + " s ago): " + each.health + "\n";
  }
  return out;
}

void forget_notes() {
  const std::lock_guard lock{all_notes().mutex};
  all_notes().seed.reset();
  all_notes().containers.remove_if([](const noted_container& each) { return each.who == nullptr; });
  for (auto& each : all_notes().containers)
    each.health.clear();
}

void note_container(container& who) {
  const std::lock_guard lock{all_notes().mutex};
  all_notes().containers.push_back({&who, who.options().town_id, {}, {}});
}

void note_health(const container& who, const std::string& document) {
  const std::lock_guard lock{all_notes().mutex};
  auto* noted = all_notes().of(who);
  if (noted == nullptr) return;
  noted->town_id = who.options().town_id;
  noted->health = document;
  noted->at = clock_type::now();
}

void note_end(const container& who) {
  const std::lock_guard lock{all_notes().mutex};
  if (auto* noted = all_notes().of(who)) noted->who = nullptr;
}

} // namespace townkeeper::test
