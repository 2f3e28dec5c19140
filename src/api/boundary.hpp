// What may leave the library as an exception: see include/librt/error.hpp.
#pragma once

#include <exception>
#include <type_traits>

namespace librt::api {

/// Carries what a callback of the caller's threw through code of ours, and back to the caller as it was.
struct CallersException {
  std::exception_ptr thrown;
};

/// Calls a function of the caller's.
template <class Call>
void call_caller(const Call& call) {
  try {
    call();
  } catch (...) {
    throw CallersException{std::current_exception()};
  }
}

/// Called in a handler: passes on what may leave the library, and turns the rest into Error(internal).
[[noreturn]] void leave_with_exception();

/// The body of a public function.
template <class Body>
auto at_boundary(const Body& body) -> std::invoke_result_t<Body> {
  try {
    return body();
  } catch (...) {
    leave_with_exception();
  }
}

}  // namespace librt::api
