#include "tests/support/small_disk.hpp"

#include <catch2/catch_test_macros.hpp>

#include <fstream>
#include <string>

#include "tests/support/temp_dir.hpp"

using namespace townkeeper::test;

namespace {

bool can_write(const std::filesystem::path& file, std::size_t size) {
  std::ofstream out{file, std::ios::trunc};
  out << std::string(size, 'x');
  return static_cast<bool>(out.flush());
}

} // namespace

TEST_CASE("a small disk has its size, is filled and freed, is made read-only and writable, and is wiped") {
  if (const auto reason = small_disk::why_not()) SKIP(*reason);
  const temp_dir dir{"disk"};
  const auto place = dir.path() / "disk";
  {
    const small_disk disk{place, 1 << 20};
    CHECK(disk.free_bytes() <= 1 << 20);
    CHECK(can_write(place / "small", 1000));
    CHECK_FALSE(can_write(place / "too-large", 2 << 20));
    std::filesystem::remove(place / "too-large");

    disk.fill();
    CHECK_FALSE(can_write(place / "another", 10'000));
    disk.free_again();
    CHECK(can_write(place / "another", 10'000));

    disk.set_read_only(true);
    CHECK_FALSE(can_write(place / "third", 1));
    disk.set_read_only(false);
    CHECK(can_write(place / "third", 1));

    disk.wipe();
    CHECK(std::filesystem::is_empty(place));
    CHECK(can_write(place / "fourth", 1));
  }
  CHECK(std::filesystem::is_empty(place)); // the directory it was mounted at
}
