#include "worktree_edits.hpp"

#include <fstream>
#include <stdexcept>

namespace townkeeper::test {

namespace fs = std::filesystem;

namespace {

const std::vector<std::string> directories{"", "", "dir/", "dir/sub/", "deep/1/", "new dir/", "-new/x/", "h\xe4/"};
const std::vector<std::string> names{"plain.txt", "new file", "-n",           "q\"uo'te", "back\\s", "\xff\xfe.",
                                     "\xc3\xbc.", "a*?[b]",   ":(exclude)no", "a%41",     ".hidden", "trailing ",
                                     "HEAD",      "x.crlf",   "x.auto",       "#hash",    "!bang",   "~tilde",
                                     "{a,b}",     "$(id)",    "index.lock",   "meta.json"};
const std::vector<std::string> control_names{"tab\there", "two\nlines", "\x01", "bell\a.txt"};
const std::vector<std::string> converted{"conv/a.crlf", "conv/b.auto", "conv/c.id", "conv/d.u16", "c/lines.crlf"};

std::string utf16(const std::string& ascii, bool big_endian) {
  std::string out = big_endian ? "\xfe\xff" : "\xff\xfe";
  for (const char c : ascii)
    out += big_endian ? std::string{'\0', c} : std::string{c, '\0'};
  return out;
}

} // namespace

std::string printable(const std::string& path) {
  static constexpr const char* hex = "0123456789ABCDEF";
  std::string out;
  for (const char c : path) {
    const auto u = static_cast<unsigned char>(c);
    if (u >= 0x20 && u < 0x7F && c != '%') {
      out += c;
    } else {
      out += '%';
      out += hex[u >> 4U];
      out += hex[u & 15U];
    }
  }
  return out;
}

random_edits::random_edits(fs::path worktree, std::vector<std::string> tracked, dice& random, made_state& done,
                           bool with_control_characters)
    : root_(std::move(worktree))
    , tracked_(std::move(tracked))
    , random_(random)
    , done_(done)
    , with_control_characters_(with_control_characters) {}

bool random_edits::is_reachable(const std::string& path) const {
  for (auto slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    const auto status = fs::symlink_status(root_ / path.substr(0, slash));
    if (status.type() == fs::file_type::not_found) return true;
    if (status.type() != fs::file_type::directory) return false;
  }
  return true;
}

bool random_edits::exists(const std::string& path) const {
  return is_reachable(path) && fs::symlink_status(root_ / path).type() != fs::file_type::not_found;
}

bool random_edits::is_regular(const std::string& path) const {
  return is_reachable(path) && fs::symlink_status(root_ / path).type() == fs::file_type::regular;
}

void random_edits::touch(const std::string& path, const std::string& how) {
  done_.push_back(how + " " + printable(path));
  if (seen_.insert(path).second) touched_.push_back(path);
}

void random_edits::write(const std::string& path, const std::string& content) {
  fs::create_directories((root_ / path).parent_path());
  std::ofstream out{root_ / path, std::ios::binary | std::ios::trunc};
  out << content;
  if (!out.flush()) throw std::runtime_error{"cannot write " + path};
}

/// With the directories that become empty: git keeps none.
void random_edits::remove(const std::string& path) {
  fs::remove_all(root_ / path);
  for (auto above = fs::path{path}.parent_path(); !above.empty(); above = above.parent_path())
    if (!fs::is_directory(root_ / above) || !fs::is_empty(root_ / above) || !fs::remove(root_ / above)) return;
}

std::string random_edits::tracked_path() {
  for (int tries = 0; tries < 20 && !tracked_.empty(); ++tries) {
    const auto& path = random_.one_of(tracked_);
    if (path != "sub" && path[0] != '.' && exists(path) && !fs::is_directory(fs::symlink_status(root_ / path)))
      return path;
  }
  return {};
}

std::string random_edits::free_path() {
  for (int tries = 0; tries < 20; ++tries) {
    const bool control = random_.one_in(8) && with_control_characters_;
    const auto path = random_.one_of(directories) + random_.one_of(control ? control_names : names);
    if (is_reachable(path) && !exists(path)) return path;
  }
  return {};
}

bool random_edits::append(const std::string& path) {
  if (!is_regular(path)) return false;
  // A file in UTF-16 must stay one, or git refuses it.
  if (path.ends_with(".u16")) return false;
  std::ofstream{root_ / path, std::ios::binary | std::ios::app} << "another line " << random_.below(1000) << '\n';
  touch(path, "append to");
  return true;
}

std::string random_edits::add_file() {
  const auto path = free_path();
  if (path.empty()) return {};
  switch (random_.below(6)) {
  case 0:
    write(path, "");
    break;
  case 1:
    write(path, random_.bytes(random_.below(20'000)));
    break;
  case 2:
    // Large, cheap to make, and not quite repetitive.
    write(path, [&] {
      std::string content;
      const auto piece = random_.bytes(65'536);
      for (std::size_t i = 0, pieces = 16 + random_.below(32); i < pieces; ++i)
        content += piece + std::to_string(i);
      return content;
    }());
    break;
  default:
    write(path, "new\ncontent " + std::to_string(random_.below(1000)) + "\n");
  }
  if (random_.one_in(4)) fs::permissions(root_ / path, fs::perms::owner_exec, fs::perm_options::add);
  touch(path, "new file");
  return path;
}

void random_edits::change_mode() {
  const auto path = tracked_path();
  if (!is_regular(path)) return;
  const auto exec = fs::perms::owner_exec | fs::perms::group_exec | fs::perms::others_exec;
  const bool has = (fs::status(root_ / path).permissions() & fs::perms::owner_exec) != fs::perms::none;
  fs::permissions(root_ / path, exec, has ? fs::perm_options::remove : fs::perm_options::add);
  touch(path, "change mode of");
}

void random_edits::rename() {
  const auto from = tracked_path(), to = free_path();
  if (from.empty() || to.empty()) return;
  fs::create_directories((root_ / to).parent_path());
  fs::rename(root_ / from, root_ / to);
  remove(from);
  touch(from, "rename");
  touch(to, "  to");
}

void random_edits::replace_by_link() {
  const auto path = random_.one_in(2) ? tracked_path() : free_path();
  if (path.empty()) return;
  fs::remove(root_ / path);
  fs::create_directories((root_ / path).parent_path());
  fs::create_symlink(random_.one_of<std::string>({"a.txt", "no such", "dir", "..", "/", "\xff\xfe"}), root_ / path);
  touch(path, "link at");
}

void random_edits::replace_by_directory() {
  const auto path = tracked_path();
  if (path.empty()) return;
  fs::remove(root_ / path);
  touch(path, "a directory in the place of");
  write(path + "/within", "inside\n");
  touch(path + "/within", "  with");
}

void random_edits::replace_directory_by_file() {
  const std::string path = random_.one_of<std::string>({"dir/sub", "deep", "deep/1/2", "conv"});
  if (!is_reachable(path) || !fs::is_directory(fs::symlink_status(root_ / path))) return;
  fs::remove_all(root_ / path);
  const bool link = random_.one_in(3);
  if (link)
    fs::create_symlink("dir", root_ / path);
  else
    write(path, "was a directory\n");
  done_.push_back((link ? "a link in the place of " : "a file in the place of ") + path + "/");
  for (const auto& gone : tracked_)
    if (gone.starts_with(path + "/")) touch(gone, "  gone:");
  touch(path, "  there now:");
}

void random_edits::convert() {
  const auto path = random_.one_of(converted);
  if (!is_regular(path)) return;
  const auto variant = random_.below(3);
  if (path.ends_with(".u16"))
    write(path, utf16("one\nzwei\n", variant == 0));
  else if (path.ends_with(".id"))
    write(path, variant == 0 ? "$Id$\nother\n" : "$Id: of another time $\nbelow\n");
  else
    write(path, variant == 0 ? "one\r\ntwo\r\nthree\r\n" : variant == 1 ? "one\ntwo\nthree\n" : "one\r\ntwo\nthree");
  touch(path, "other line ends in");
}

void random_edits::ignored_file() {
  const auto path = random_.one_of<std::string>({"noise.log", "dir/x.log", "build/out/result"});
  if (!is_reachable(path)) return;
  write(path, "ignored\n");
  done_.push_back("ignored file " + path);
}

/// Rules that hold for what is there already.
void random_edits::change_rules() {
  const bool attributes = random_.one_in(2);
  const std::string path =
      (random_.one_in(3) ? "dir/" : "") + std::string{attributes ? ".gitattributes" : ".gitignore"};
  if (!is_reachable(path) || (exists(path) && !is_regular(path))) return;
  fs::create_directories((root_ / path).parent_path());
  std::ofstream{root_ / path, std::ios::binary | std::ios::app}
      << (attributes ? random_.one_of<std::string>({"*.txt text eol=crlf\n", "*.auto -text\n", "* text=auto eol=lf\n"})
                     : random_.one_of<std::string>({"plain.txt\n", "/new dir/\n", "c.txt\n", "!x.log\n"}));
  touch(path, "add a rule to");
}

void random_edits::once() {
  switch (random_.below(17)) {
  case 0:
  case 1:
  case 2:
    append(tracked_path());
    return;
  case 3:
  case 4:
  case 5:
    add_file();
    return;
  case 6:
  case 7:
    if (const auto path = tracked_path(); !path.empty()) {
      remove(path);
      touch(path, "delete");
    }
    return;
  case 8:
    return change_mode();
  case 9:
  case 10:
    return rename();
  case 11:
    return replace_by_link();
  case 12:
    return random_.one_in(2) ? replace_by_directory() : replace_directory_by_file();
  case 13:
    if (const auto path = tracked_path(); is_regular(path)) {
      write(path, path.ends_with(".u16") || random_.one_in(2) ? "" : random_.bytes(1 + random_.below(5000)));
      touch(path, "other bytes in");
    }
    return;
  case 14:
    return convert();
  case 15:
    return change_rules();
  default:
    return ignored_file();
  }
}

} // namespace townkeeper::test
