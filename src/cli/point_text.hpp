#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"
#include "git/recovery_tools.hpp"
#include "town/model.hpp"

/// Recovery points as people read them, and what the daemon says of them. Nothing here prints. A name from a repository
/// shows a `?` for every control character: it goes to a terminal.
namespace townkeeper::cli {

/// One line a point: agent, epoch and seq, commit, when and of what kind, what it holds (where that is known), ref.
std::string points_table(const std::vector<git::listed_point>& points);

/// Everything a point says of itself, path by path.
std::string shown_text(const git::shown_point& shown);

std::string applied_text(const git::point_applied& applied);
std::string exported_text(const git::point_exported& exported);

/// The points that a snapshot on demand made sure of.
std::string saved_text(const std::vector<town::recovery_point>& points);

/// The body of `POST /snapshot`.
std::string snapshot_body(const std::optional<std::string>& agent_id);

/// The answer to it: what is saved, and what is not and why. An error where the daemon could not be asked at all.
struct snapshot_told {
  std::vector<town::recovery_point> points;
  std::vector<error> unsaved;
};
result<snapshot_told> read_snapshot_answer(int status, std::string_view body);

} // namespace townkeeper::cli
