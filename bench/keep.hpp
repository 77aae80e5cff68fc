#pragma once

#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>

/// What the parts of bench/keep share.
namespace townkeeper::bench {

[[noreturn]] inline void fail(const std::string& why) {
  throw std::runtime_error{why};
}

/// The path of file `n` of `make_small_files`.
std::string small_file(std::uint32_t n);
/// `main` of a bare repository with so many small files, in 1,000 directories at most.
void make_small_files(const std::filesystem::path& repository, std::uint32_t files);
/// One more line at the end of a file, which is made when it is not there.
void append(const std::filesystem::path& file, const std::string& line);

/// The rows that need the whole daemon: idle cost of watching, and saving on SIGTERM.
void measure_idle();
void measure_drain(std::uint32_t runs);

} // namespace townkeeper::bench
