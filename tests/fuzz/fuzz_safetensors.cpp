// libFuzzer target: whatever the bytes, the parser accepts them or throws librt::Error, and what it accepts it can
// write and read back.
#include <librt/error.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "src/util/safetensors.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using librt::util::Safetensors;
  const auto* const bytes = reinterpret_cast<const std::byte*>(data);
  try {
    const Safetensors first = Safetensors::parse({bytes, bytes + size});
    const Safetensors second = Safetensors::parse(librt::util::write_safetensors(first.tensors(), first.metadata()));
    if (second.metadata() != first.metadata() || second.tensors().size() != first.tensors().size()) std::abort();
    for (const auto& [name, tensor] : first.tensors()) {
      const auto* const other = second.find(name);
      if (other == nullptr || other->shape != tensor.shape || other->dtype != tensor.dtype) std::abort();
    }
  } catch (const librt::Error&) {
    return 0;
  }
  return 0;
}
