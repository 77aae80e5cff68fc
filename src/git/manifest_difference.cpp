#include "git/manifest_difference.hpp"

#include "git/object_id.hpp"

namespace townkeeper::git {

manifest_difference difference(const manifest& from, const manifest& to) {
  manifest_difference d;
  auto a = from.entries.begin();
  auto b = to.entries.begin();
  while (a != from.entries.end() || b != to.entries.end()) {
    const auto order = a == from.entries.end() ? 1 : b == to.entries.end() ? -1 : a->path.compare(b->path);
    if (order < 0) {
      d.removed.push_back(&*a++);
    } else if (order > 0) {
      d.written.push_back({&*b++, nullptr});
    } else {
      // A directory cannot be renamed over a file, nor a file over a directory.
      if ((a->mode == mode_submodule) != (b->mode == mode_submodule)) d.removed.push_back(&*a);
      if (a->mode != b->mode || !same(a->id, b->id)) d.written.push_back({&*b, &*a});
      ++a;
      ++b;
    }
  }
  return d;
}

} // namespace townkeeper::git
