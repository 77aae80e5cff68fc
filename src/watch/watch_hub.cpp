#include <utility>

#include "watch/hub_core.hpp"

namespace townkeeper::watch {

watch_hub::watch_hub(std::shared_ptr<core> c)
    : core_(std::move(c)) {}

result<std::unique_ptr<watch_hub>> watch_hub::create(watch_hub_options options) {
  auto made = core::create(std::move(options));
  if (!made) return made.error();
  (*made)->run_thread();
  return std::unique_ptr<watch_hub>(new watch_hub(std::move(*made)));
}

watch_hub::~watch_hub() {
  core_->shut_down();
}

result<watch_handle> watch_hub::watch(watch_request request, watch_callback callback) {
  for (const auto* path : {&request.worktree, &request.repository})
    if (!path->is_absolute())
      return error{error_code::invalid_argument, path->string(), "cannot be watched: the path must be absolute"};
  if (request.agent_id.empty() || request.agent_id.find('/') != std::string::npos || !callback)
    return error{error_code::invalid_argument, request.worktree.string(),
                 "cannot be watched: it needs an agent id without a slash, and a callback"};
  request.worktree = request.worktree.lexically_normal();
  request.repository = request.repository.lexically_normal();
  auto who = std::make_shared<subscription>(std::move(request), std::move(callback));
  core_->add(who);
  return watch_handle([hub = std::weak_ptr(core_), who = std::move(who)] {
    who->close();
    if (const auto alive = hub.lock()) alive->remove(who);
  });
}

watch_statistics watch_hub::statistics() const {
  return core_->statistics();
}

} // namespace townkeeper::watch
