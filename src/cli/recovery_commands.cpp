#include <iostream>

#include "cli/commands.hpp"
#include "cli/exit_code.hpp"
#include "cli/point_text.hpp"

/// `townkeeper recovery list|show|apply|export`: in any clone, without a daemon and without a town.
namespace townkeeper::cli {
namespace {

/// Does `act` with libgit2 up, and prints what it made.
template <class Act, class Text>
int with_git(Act act, Text text) {
  if (const auto up = git::initialise_library({}); !up) return fail(up.error());
  const auto made = act();
  if (!made) return fail(made.error());
  std::cout << text(*made) << std::flush;
  return done;
}

} // namespace

int list(const list_points& what) {
  return with_git([&] { return git::list_points(what.clone, what.agent_id, what.fetch); },
                  [&](const auto& points) {
                    return points.empty() ? "no recovery point on " + what.clone.remote + "\n" : points_table(points);
                  });
}

int show(const show_point& what) {
  return with_git([&] { return git::show_point(what.clone, what.point); }, shown_text);
}

int apply(const apply_point& what) {
  return with_git([&] { return git::apply_point(what.clone, what.point); }, applied_text);
}

int write_out(const export_point& what) {
  return with_git([&] { return git::export_point(what.clone, what.point, what.directory); }, exported_text);
}

} // namespace townkeeper::cli
