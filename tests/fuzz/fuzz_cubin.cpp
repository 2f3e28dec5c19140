// libFuzzer: the readers of cubins and PTX refuse any bytes by Error(corrupt), or read them.
#include <librt/error.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string_view>

#include "src/jit/binary_info.hpp"

namespace {

template <typename Read>
void read_or_refuse(const Read& read) {
  try {
    read();
  } catch (const librt::Error& error) {
    if (error.code() != librt::ErrorCode::corrupt) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::uint8_t> bytes(data, size);
  read_or_refuse([&] { librt::jit::read_cubin(std::as_bytes(bytes)); });
  read_or_refuse([&] { librt::jit::read_ptx({reinterpret_cast<const char*>(data), size}); });
  return 0;
}
