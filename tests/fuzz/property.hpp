#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

/// What a fuzz target asserts beyond "does not crash".
namespace townkeeper::fuzz {

/// Ends the process where a property does not hold: libFuzzer then keeps the input and prints how to run it again.
inline void require(bool holds, const char* property) {
  if (holds) return;
  std::fprintf(stderr, "PROPERTY VIOLATED: %s\n", property);
  std::abort();
}

inline std::string_view bytes_of(const std::uint8_t* data, std::size_t size) noexcept {
  return {reinterpret_cast<const char*>(data), size};
}

} // namespace townkeeper::fuzz

/// What libFuzzer calls with each input; 0, always.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
