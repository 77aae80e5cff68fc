// A loose object's file, which an agent can make as it likes and a container that dies leaves cut off: it is read as a
// plain inflate of it says, or refused.

#include <git2.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "git/handle.hpp"
#include "git/loose_reader.hpp"
#include "git/object_id.hpp"
#include "tests/fuzz/property.hpp"

using namespace townkeeper;
using fuzz::require;

namespace {

/// A store of one file, under a name that is not its content's.
class one_object_store {
public:
  one_object_store() {
    git_libgit2_init();
    git_libgit2_opts(GIT_OPT_ENABLE_STRICT_HASH_VERIFICATION, 0);
    git_libgit2_opts(GIT_OPT_ENABLE_CACHING, 0); // each file is a new one, under the name of the last
    std::string place = "/dev/shm/townkeeper-fuzz-XXXXXX";
    require(::mkdtemp(place.data()) != nullptr, "a directory is made");
    directory_ = place;
    const std::string hex(40, 'a');
    id_ = *git::parse_oid(hex);
    file_ = directory_ / hex.substr(0, 2) / hex.substr(2);
    std::filesystem::create_directory(file_.parent_path());
    require(git_odb_new(git::out(odb_)) == 0, "a store is made");
    require(git::add_loose_reader(odb_.get(), directory_.string(), 1, git::damaged_object::is_error) == 0,
            "the store has a reader");
  }
  one_object_store(const one_object_store&) = delete;
  one_object_store& operator=(const one_object_store&) = delete;
  ~one_object_store() {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }

  /// `<type> <size>`, a NUL and the object's bytes; nothing where it is refused.
  std::optional<std::string> read(std::string_view bytes) {
    std::ofstream(file_, std::ios::binary | std::ios::trunc) << bytes;
    git::odb_object_handle object;
    if (git_odb_read(git::out(object), odb_.get(), &id_) != 0) return std::nullopt;
    const auto size = git_odb_object_size(object.get());
    std::string text = git_object_type2string(git_odb_object_type(object.get()));
    text += ' ' + std::to_string(size) + '\0';
    return text.append(static_cast<const char*>(git_odb_object_data(object.get())), size);
  }

private:
  std::filesystem::path directory_, file_;
  git_oid id_{};
  git::odb_handle odb_;
};

/// The whole stream, where it is one and sound.
std::optional<std::string> inflated(std::string_view bytes) {
  z_stream stream{};
  require(inflateInit(&stream) == Z_OK, "zlib begins");
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  std::string text;
  int code = Z_OK;
  while (code == Z_OK) {
    char part[16'384];
    stream.next_out = reinterpret_cast<Bytef*>(part);
    stream.avail_out = sizeof part;
    code = inflate(&stream, Z_NO_FLUSH);
    text.append(part, sizeof part - stream.avail_out);
  }
  inflateEnd(&stream);
  if (code != Z_STREAM_END) return std::nullopt;
  return text;
}

/// git's own form, to the letter.
bool is_object(const std::string& text) {
  const auto end = text.find('\0');
  if (end == std::string::npos) return false;
  const auto size = std::to_string(text.size() - end - 1);
  const auto header = text.substr(0, end);
  for (const auto* type : {"commit ", "tree ", "blob ", "tag "})
    if (header == type + size) return true;
  return false;
}

std::string deflated(std::string_view text, int level) {
  auto size = compressBound(text.size());
  std::string bytes(size, '\0');
  require(compress2(reinterpret_cast<Bytef*>(bytes.data()), &size, reinterpret_cast<const Bytef*>(text.data()),
                    text.size(), level) == Z_OK,
          "zlib compresses");
  bytes.resize(size);
  return bytes;
}

} // namespace

/// The first byte says what the rest is: a file as it is, or what a file holds, at a level, cut off perhaps.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static one_object_store store;
  if (size < 2) return 0;
  const auto rest = fuzz::bytes_of(data + 2, size - 2);
  std::string file(rest);
  if (data[0] % 2 == 1) {
    file = deflated(rest, data[0] % 20 / 2);
    file.resize(file.size() - std::min<std::size_t>(file.size(), data[0] < 200 ? 0 : data[1]));
  }
  const auto read = store.read(file);
  const auto text = inflated(file);
  if (read)
    require(text && text->substr(text->find('\0')) == read->substr(read->find('\0')), "what is read is what is there");
  if (text && is_object(*text)) require(read == text, "a whole object is read");
  return 0;
}
