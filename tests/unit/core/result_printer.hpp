#pragma once

#include <catch2/catch_tostring.hpp>

#include "core/error.hpp"

/// Lets `CHECK(some_result)` say what went wrong: Boost's own `<<` for a result needs one for `error`, which ours must
/// not have (an error is shown by `to_string`, where it is meant to be shown).
template <class T>
struct Catch::StringMaker<townkeeper::result<T>> {
  static std::string convert(const townkeeper::result<T>& r) {
    return r.has_error() ? "error: " + townkeeper::to_string(r.error()) : "a value";
  }
};
