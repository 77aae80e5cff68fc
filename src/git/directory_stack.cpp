#include "git/directory_stack.hpp"

#include <sys/stat.h>

#include <cerrno>

#include "git/path_rules.hpp"

namespace townkeeper::git {

result<int> directory_stack::enter(std::string_view directory, on_missing policy) {
  std::size_t depth = 0;
  while (!directory.empty()) {
    const auto slash = directory.find('/');
    const auto name = directory.substr(0, slash);
    directory = slash == std::string_view::npos ? std::string_view{} : directory.substr(slash + 1);
    if (depth < levels_.size() && levels_[depth].name == name) {
      ++depth;
      continue;
    }
    leave(depth);
    auto parent = descriptor_of(depth);
    if (!parent) return parent;
    levels_.push_back({std::string(name), {}});
    const auto* leaf = levels_.back().name.c_str();
    if (policy != on_missing::fail && ::mkdirat(*parent, leaf, 0777) != 0 &&
        (errno != EEXIST || policy == on_missing::must_be_new)) {
      const auto failed = errno;
      auto path = printable(path_to(depth + 1));
      levels_.pop_back();
      if (failed == EEXIST) return error{error_code::corrupt, std::move(path), "the tree names this path twice"};
      return disk_error(failed, std::move(path), "directory cannot be created");
    }
    ++depth;
    if (auto opened = descriptor_of(depth); !opened) {
      levels_.pop_back();
      return opened;
    }
  }
  leave(depth);
  return descriptor_of(depth);
}

void directory_stack::leave(std::size_t depth) {
  while (levels_.size() > depth) {
    if (closing_ != nullptr) closing_->add(std::move(levels_.back().fd));
    levels_.pop_back();
  }
}

result<int> directory_stack::descriptor_of(std::size_t depth) {
  if (depth == 0) return root_;
  auto& wanted = levels_[depth - 1];
  if (wanted.fd) return wanted.fd.get();
  auto parent = descriptor_of(depth - 1);
  if (!parent) return parent;
  wanted.fd.reset(::openat(*parent, wanted.name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!wanted.fd) {
    auto path = printable(path_to(depth));
    if (errno == ENOENT) return error{error_code::not_found, std::move(path), "does not exist"};
    if (errno == ELOOP || errno == ENOTDIR)
      return error{error_code::invalid_argument, std::move(path), "is no directory; nothing is written through a link"};
    return disk_error(errno, std::move(path), "directory cannot be opened");
  }
  // The levels nearest the leaf are the ones the next path will need.
  if (depth > max_open_levels) levels_[depth - 1 - max_open_levels].fd.reset();
  return wanted.fd.get();
}

std::string directory_stack::path_to(std::size_t depth) const {
  std::string path;
  for (std::size_t i = 0; i < depth && i < levels_.size(); ++i) {
    if (!path.empty()) path += '/';
    path += levels_[i].name;
  }
  return path;
}

} // namespace townkeeper::git
