#include "core/ids.hpp"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <stdexcept>
#include <vector>

namespace townkeeper {
namespace {

bool is_alnum(char c) noexcept {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_valid_ref_part(std::string_view part) noexcept {
  return !part.empty() && part.front() != '.' && !part.ends_with(".lock");
}

} // namespace

bool is_valid_id(std::string_view id) noexcept {
  constexpr std::size_t max_length = 128;
  if (id.empty() || id.size() > max_length || !is_alnum(id.front())) return false;
  const auto allowed = [](char c) { return is_alnum(c) || c == '.' || c == '_' || c == '-'; };
  if (!std::all_of(id.begin(), id.end(), allowed)) return false;
  return id.find("..") == std::string_view::npos && id.back() != '.' && !id.ends_with(".lock");
}

bool is_valid_branch(std::string_view branch) noexcept {
  if (branch.empty() || branch.front() == '-' || branch.front() == '/' || branch.back() == '/' || branch.back() == '.')
    return false;
  if (branch == "@" || branch == "HEAD" || branch.find("..") != std::string_view::npos ||
      branch.find("@{") != std::string_view::npos)
    return false;
  constexpr std::string_view forbidden = " ~^:?*[\\\x7f";
  const auto bad = [&](char c) {
    return static_cast<unsigned char>(c) < 0x20 || forbidden.find(c) != std::string_view::npos;
  };
  if (std::any_of(branch.begin(), branch.end(), bad)) return false;
  for (std::size_t begin = 0; begin <= branch.size();) {
    const auto end = std::min(branch.find('/', begin), branch.size());
    if (!is_valid_ref_part(branch.substr(begin, end - begin))) return false;
    begin = end + 1;
  }
  return true;
}

std::string random_hex(std::size_t bytes) {
  std::vector<unsigned char> raw(bytes);
  for (std::size_t got = 0; got < bytes;) {
    const auto n = ::getrandom(raw.data() + got, bytes - got, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw std::runtime_error("getrandom failed");
    got += static_cast<std::size_t>(n);
  }
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  out.reserve(bytes * 2);
  for (const auto b : raw) {
    out += digits[b >> 4];
    out += digits[b & 15];
  }
  return out;
}

} // namespace townkeeper
