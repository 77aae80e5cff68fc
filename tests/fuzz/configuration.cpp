// A configuration file: what loads is shown by `townkeeper config` in a form that loads again as the same.

#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "config/settings.hpp"
#include "tests/fuzz/property.hpp"

using namespace townkeeper;

namespace {

/// A file of these bytes that stands on no disk.
class memory_file {
public:
  explicit memory_file(std::string_view bytes)
      : descriptor_(::memfd_create("configuration", MFD_CLOEXEC)) {
    fuzz::require(::write(descriptor_, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()),
                  "the input is written to memory");
  }
  memory_file(const memory_file&) = delete;
  memory_file& operator=(const memory_file&) = delete;
  ~memory_file() { ::close(descriptor_); }
  std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

private:
  int descriptor_;
};

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const memory_file file(fuzz::bytes_of(data, size));
  config::sources from;
  from.file = file.path();
  const auto loaded = config::load(from);
  if (!loaded) {
    fuzz::require(loaded.error().code == error_code::invalid_config, "a refusal is invalid_config");
    return 0;
  }
  for (const auto& s : config::settings()) {
    const auto shown = s.show(*loaded);
    if (s.is_secret) {
      fuzz::require(shown.empty() || shown == "***", "a secret is not shown");
      continue;
    }
    if (!loaded->origins.contains(s.key)) continue;
    config::config again;
    fuzz::require(s.set(again, shown).has_value(), "what is shown is accepted");
    fuzz::require(s.show(again) == shown, "what is shown loads as the same");
  }
  return 0;
}
