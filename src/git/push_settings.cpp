#include "git/push_settings.hpp"

#include <git2/sys/config.h>
#include <git2/sys/errors.h>

#include <array>
#include <string_view>

#include "git/git_error.hpp"
#include "git/handle.hpp"

namespace townkeeper::git {
namespace {

struct setting {
  const char* name; ///< as libgit2 normalises it
  const char* value;
};

/// libgit2 1.8 reads the size from which on nothing is searched for deltas (git's core.bigFileThreshold) from
/// pack.deltaCacheSize. The others are its defaults: a value of the repository's that it cannot read would fail the
/// push.
constexpr std::array settings{
    setting{"pack.deltacachesize", "1"},
    setting{"pack.deltacachelimit", "1000"},
    setting{"pack.windowmemory", "0"},
};

// -- the settings as a source of configuration; libgit2 1.8 exports no constructor of its own

#if LIBGIT2_VERSION_MINOR >= 9 // Debian 13
using source_entry = git_config_backend_entry;
git_config_entry& entry_of(source_entry& e) {
  return e.entry;
}
#else
using source_entry = git_config_entry;
git_config_entry& entry_of(source_entry& e) {
  return e;
}
#endif

int refuse() noexcept {
  git_error_set_str(GIT_ERROR_CONFIG, "these settings are fixed");
  return GIT_EREADONLY;
}

int get(git_config_backend*, const char* name, source_entry** out) {
  for (const auto& each : settings) {
    if (std::string_view(each.name) != name) continue;
    auto* made = new source_entry{};
    auto& entry = entry_of(*made);
    entry.name = each.name;
    entry.value = each.value;
    entry.backend_type = "townkeeper";
    entry.level = GIT_CONFIG_LEVEL_APP;
    made->free = [](source_entry* given) { delete given; };
    *out = made;
    return 0;
  }
  return GIT_ENOTFOUND;
}

/// Lists nothing: each setting is asked for by its name.
int list_nothing(git_config_iterator** out, git_config_backend* backend) {
  auto* iterator = new git_config_iterator{};
  iterator->backend = backend;
  iterator->next = [](source_entry**, git_config_iterator*) -> int { return GIT_ITEROVER; };
  iterator->free = [](git_config_iterator* given) { delete given; };
  *out = iterator;
  return 0;
}

git_config_backend* make_source() {
  auto* made = new git_config_backend{};
  made->version = GIT_CONFIG_BACKEND_VERSION;
  made->readonly = 1;
  made->open = [](git_config_backend*, git_config_level_t, const git_repository*) { return 0; };
  made->get = get;
  made->set = [](git_config_backend*, const char*, const char*) { return refuse(); };
  made->set_multivar = [](git_config_backend*, const char*, const char*, const char*) { return refuse(); };
  made->del = [](git_config_backend*, const char*) { return refuse(); };
  made->del_multivar = [](git_config_backend*, const char*, const char*) { return refuse(); };
  made->iterator = list_nothing;
  made->snapshot = [](git_config_backend** out, git_config_backend*) {
    *out = make_source();
    return 0;
  };
  made->lock = [](git_config_backend*) { return refuse(); };
  made->unlock = [](git_config_backend*, int) { return refuse(); };
  made->free = [](git_config_backend* given) { delete given; };
  return made;
}

} // namespace

result<void> pack_quickly(git_repository* repository) {
  config_handle config;
  if (const auto rc = git_repository_config(out(config), repository); rc != 0) return last_error(rc, "configuration");
  auto* source = make_source();
  if (const auto rc = git_config_add_backend(config.get(), source, GIT_CONFIG_LEVEL_APP, repository, 0); rc != 0) {
    source->free(source);
    return last_error(rc, "configuration");
  }
  return {};
}

} // namespace townkeeper::git
