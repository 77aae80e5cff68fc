#include "git/recovery_clone.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <tuple>

#include "core/ids.hpp"
#include "git/git_error.hpp"
#include "git/git_program.hpp"
#include "git/loose_reader.hpp"
#include "git/object_id.hpp"
#include "git/path_rules.hpp"
#include "git/recovery.hpp"

namespace townkeeper::git {
namespace {

constexpr std::size_t refs_in_one_fetch = 200;

std::vector<std::string_view> parts_of(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const auto end = std::min(text.find(at, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

bool is_epoch(std::string_view text, std::int64_t& epoch) {
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), epoch);
  return failure == std::errc{} && end == text.data() + text.size() && epoch > 0;
}

/// One line of `git ls-remote`; nothing for a ref that is no point's.
std::optional<listed_point> parse(std::string_view line) {
  const auto tab = line.find('\t');
  if (tab == std::string_view::npos) return std::nullopt;
  const auto ref = line.substr(tab + 1);
  if (!ref.starts_with(point_namespace) || !parse_oid(line.substr(0, tab))) return std::nullopt;
  const auto parts = parts_of(ref.substr(point_namespace.size()), '/');
  listed_point point;
  point.ref = ref;
  point.commit = line.substr(0, tab);
  if (parts.size() < 3 || !is_valid_id(parts[0]) || !is_valid_id(parts[1])) return std::nullopt;
  point.town_id = parts[0];
  point.agent_id = parts[1];
  point.kept = parts.size() == 4 && parts[2] == "kept";
  if (parts.size() != (point.kept ? 4U : 3U)) return std::nullopt;
  if (!is_epoch(parts.back().substr(0, point.kept ? parts.back().find('-') : std::string_view::npos), point.epoch))
    return std::nullopt;
  return point;
}

result<void> check_remote(const clone_location& clone) {
  if (!clone.remote.empty() && clone.remote.front() != '-') return {};
  return error{error_code::invalid_argument, printable(clone.remote), "is no remote's name and no URL"};
}

result<std::vector<listed_point>> advertised(const clone_location& clone, const std::string& agent_id) {
  if (auto ok = check_remote(clone); !ok) return ok.error();
  auto lines = run_git_program(clone.directory, {"ls-remote", clone.remote, fmt::format("{}*", point_namespace)});
  if (!lines) return lines.error();
  std::vector<listed_point> points;
  for (const auto line : parts_of(*lines, '\n'))
    if (auto point = parse(line); point && (agent_id.empty() || point->agent_id == agent_id))
      points.push_back(std::move(*point));
  std::sort(points.begin(), points.end(), [](const listed_point& a, const listed_point& b) {
    return std::tie(a.town_id, a.agent_id, a.kept, a.epoch, a.ref) <
           std::tie(b.town_id, b.agent_id, b.kept, b.epoch, b.ref);
  });
  return points;
}

result<void> fetch_refs(const clone_location& clone, const std::vector<listed_point>& points) {
  for (std::size_t at = 0; at < points.size(); at += refs_in_one_fetch) {
    std::vector<std::string> arguments{"fetch", "--quiet", "--no-tags", "--no-write-fetch-head", clone.remote};
    for (auto i = at; i < std::min(points.size(), at + refs_in_one_fetch); ++i)
      arguments.push_back(fmt::format("+{0}:{0}", points[i].ref));
    if (auto done = run_git_program(clone.directory, arguments); !done) return done.error();
  }
  return {};
}

found_recovery found_in(const point_parts& parts) {
  return {parts.meta.point, parts.meta.left_out};
}

error missing(const std::string& point, const clone_location& clone) {
  return {error_code::recovery_point_missing, printable(point),
          fmt::format("is neither in this clone nor on {}; `townkeeper recovery list` names the points there are",
                      printable(clone.remote))};
}

class search {
public:
  search(const clone_location& clone, git_repository* repository)
      : clone_(clone)
      , repository_(repository) {}

  result<point_parts> run(const std::string& point) {
    if (point.starts_with(point_namespace)) return by_ref(point);
    if (parse_oid(point)) return by_commit(point);
    if (is_valid_id(point)) return by_agent(point);
    return error{error_code::invalid_argument, printable(point),
                 "is neither a ref below refs/townkeeper/, nor a commit (40 hexadecimal digits), nor an agent id"};
  }

private:
  result<point_parts> by_ref(const std::string& ref) {
    auto points = advertised(clone_, {});
    if (!points) {
      git_oid here{};
      if (git_reference_name_to_id(&here, repository_, ref.c_str()) == 0)
        return read_point_parts(repository_, to_hex(here)); // the remote is away, the clone remembers
      return points.error();
    }
    for (const auto& each : *points)
      if (each.ref == ref) return bring(each);
    git_oid here{};
    if (git_reference_name_to_id(&here, repository_, ref.c_str()) != 0) return missing(ref, clone_);
    return read_point_parts(repository_, to_hex(here));
  }

  result<point_parts> by_commit(const std::string& commit) {
    auto here = read_point_parts(repository_, commit);
    if (here || here.error().code != error_code::recovery_point_missing) return here;
    auto points = advertised(clone_, {});
    if (!points) return points.error();
    for (const auto& each : *points)
      if (each.commit == commit) return bring(each);
    return missing(commit, clone_);
  }

  result<point_parts> by_agent(const std::string& agent) {
    auto points = advertised(clone_, agent);
    if (!points) return points.error();
    const listed_point* greatest = nullptr;
    for (const auto& each : *points)
      if (!each.kept && (greatest == nullptr || each.epoch > greatest->epoch)) greatest = &each;
    if (greatest == nullptr) return missing(agent, clone_);
    for (const auto& each : *points)
      if (each.town_id != greatest->town_id)
        return error{error_code::conflict, agent,
                     fmt::format("has points in two towns, {} and {}; name the ref", each.town_id, greatest->town_id)};
    return bring(*greatest);
  }

  result<point_parts> bring(const listed_point& point) {
    auto here = read_point_parts(repository_, point.commit);
    if (here || here.error().code == error_code::unsupported) return here;
    if (auto done = fetch_refs(clone_, {point}); !done) return done.error();
    git_odb* odb = nullptr;
    if (git_repository_odb(&odb, repository_) == 0) git_odb_refresh(odb); // git has written a pack beside us
    git_odb_free(odb);
    return read_point_parts(repository_, point.commit);
  }

  const clone_location& clone_;
  git_repository* repository_;
};

} // namespace

result<open_clone> open(const clone_location& clone) {
  open_clone opened;
  if (const auto rc = open_worktree_repository(out(opened.repository), clone.directory.c_str(), 0); rc != 0) {
    auto failure = last_error(rc, clone.directory.native());
    if (rc == GIT_ENOTFOUND) failure.message = "is in no git repository; go into a clone of the rig's repository";
    return failure;
  }
  const auto* common = git_repository_commondir(opened.repository.get());
  if (const auto rc = open_bare_repository(out(opened.bare), common); rc != 0) return last_error(rc, common);
  return opened;
}

result<opened_point> open_point(const clone_location& clone, const std::string& point) {
  auto opened = open(clone);
  if (!opened) return opened.error();
  auto objects = object_store::open(opened->bare.get());
  if (!objects) return objects.error();
  auto parts = search(clone, opened->bare.get()).run(point);
  if (!parts) return parts.error();
  const auto id = parse_oid(parts->meta.point.commit);
  if (!id) return id.error();
  auto layers = read_layers(*objects, *id);
  if (!layers) return layers.error();
  auto found = found_in(*parts);
  return opened_point{std::move(*opened), std::move(*objects),
                      located_point{std::move(*parts), *layers, std::move(found)}};
}

result<std::vector<listed_point>> list_points(const clone_location& clone, const std::string& agent_id, bool fetch) {
  if (auto opened = open(clone); !opened) return opened.error();
  auto points = advertised(clone, agent_id);
  if (!points) return points.error();
  if (fetch && !points->empty())
    if (auto done = fetch_refs(clone, *points); !done) return done.error();
  auto opened = open(clone); // after the fetch, so that it sees what came
  if (!opened) return opened.error();
  for (auto& point : *points)
    if (auto parts = read_point_parts(opened->bare.get(), point.commit)) point.details = found_in(*parts);
  return points;
}

} // namespace townkeeper::git
