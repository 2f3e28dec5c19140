// What a call throws, as a value.
#pragma once

#include <librt/error.hpp>

#include <optional>
#include <string>

namespace librt::test {

struct Thrown {
  ErrorCode code;
  std::string what;
};

/// The librt::Error that `call` throws, or nothing.
template <class Call>
std::optional<Thrown> thrown_by(Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    return Thrown{error.code(), error.what()};
  }
  return std::nullopt;
}

}  // namespace librt::test
