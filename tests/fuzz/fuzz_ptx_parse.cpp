// Feeds arbitrary bytes to the PTX parser: it must refuse with MachineError or give a module, and nothing else.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "src/ptx/machine.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto module = librt::ptx::Module::parse({reinterpret_cast<const char*>(data), size});
    // A module that was accepted must be able to tell about itself.
    if (module.target().empty() || module.version().empty()) __builtin_trap();
    for (const std::string& entry : module.entries()) {
      if (entry.empty()) __builtin_trap();
    }
  } catch (const librt::ptx::MachineError& error) {
    const bool refused = error.fault() == librt::ptx::Fault::syntax || error.fault() == librt::ptx::Fault::unsupported;
    if (!refused) __builtin_trap();
  }
  return 0;
}
