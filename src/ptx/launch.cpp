// Checks a launch, says what registers hold when a warp starts, and runs the plain grid.
#include <fmt/format.h>

#include <cstring>

#include "src/ptx/grid.hpp"
#include "src/ptx/instrument.hpp"
#include "src/ptx/machine.hpp"
#include "src/ptx/memory.hpp"
#include "src/ptx/program.hpp"
#include "src/ptx/warp.hpp"

namespace librt::ptx {
namespace {

[[noreturn]] void refuse(std::string_view entry, const std::string& what) {
  throw MachineError(Fault::launch, fmt::format("launch of '{}': {}", entry, what));
}

const Kernel& find_kernel(const Program& program, std::string_view entry) {
  std::string names;
  for (const Kernel& kernel : program.kernels) {
    if (kernel.name == entry) return kernel;
    names += fmt::format("{}'{}'", names.empty() ? "" : ", ", kernel.name);
  }
  refuse(entry, fmt::format("the module has no such entry; it has {}", names.empty() ? "none" : names));
}

void check_launch(const Kernel& kernel, std::size_t parameter_bytes, const LaunchOptions& options) {
  const auto& [grid, block] = std::pair{options.grid, options.block};
  if (parameter_bytes != kernel.parameter_bytes)
    refuse(kernel.name,
           fmt::format("{} bytes of parameters were given, the entry has {}", parameter_bytes, kernel.parameter_bytes));
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535)
    refuse(kernel.name,
           fmt::format("grid ({}, {}, {}): at least 1 and at most (2147483647, 65535, 65535)", grid.x, grid.y, grid.z));
  const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || block.x > 1024 || block.y > 1024 || block.z > 64 || threads > 1024)
    refuse(kernel.name,
           fmt::format("block ({}, {}, {}): at least 1 and at most (1024, 1024, 64), 1024 threads together", block.x,
                       block.y, block.z));
  const auto& most = kernel.max_block;
  if (most[0] != 0 && threads > std::uint64_t{most[0]} * most[1] * most[2])
    refuse(kernel.name, fmt::format("{} threads per block, .maxntid allows {}", threads,
                                    std::uint64_t{most[0]} * most[1] * most[2]));
  const auto& required = kernel.required_block;
  if (required[0] != 0 && (block.x != required[0] || block.y != required[1] || block.z != required[2]))
    refuse(kernel.name, fmt::format("block ({}, {}, {}), .reqntid asks for ({}, {}, {})", block.x, block.y, block.z,
                                    required[0], required[1], required[2]));
  const std::uint64_t shared = std::uint64_t{kernel.static_shared_bytes} + options.dynamic_shared_bytes;
  if (shared > options.max_shared_bytes)
    refuse(kernel.name,
           fmt::format("{} bytes of shared memory ({} static, {} dynamic), at most {} are possible", shared,
                       kernel.static_shared_bytes, options.dynamic_shared_bytes, options.max_shared_bytes));
}

void fill_register(std::byte* registers, std::uint32_t offset, std::uint32_t bytes, std::uint64_t value) {
  if (bytes == 0) {
    const std::uint32_t mask = value != 0 ? kFullWarp : 0u;
    std::memcpy(registers + offset, &mask, sizeof mask);
    return;
  }
  for (unsigned lane = 0; lane < kLanes; ++lane) std::memcpy(registers + offset + lane * bytes, &value, bytes);
}

std::uint64_t special_value(const Cta& cta, const Warp& warp, const SpecialRegister& special, unsigned lane) {
  const Dim3 &block = cta.launch->options->block, &grid = cta.launch->options->grid;
  const std::uint32_t thread = warp.index * kLanes + lane;
  switch (special.which) {
    case Special::tid_x:
      return thread % block.x;
    case Special::tid_y:
      return thread / block.x % block.y;
    case Special::tid_z:
      return thread / block.x / block.y;
    case Special::ntid_x:
      return block.x;
    case Special::ntid_y:
      return block.y;
    case Special::ntid_z:
      return block.z;
    case Special::ctaid_x:
      return cta.index.x;
    case Special::ctaid_y:
      return cta.index.y;
    case Special::ctaid_z:
      return cta.index.z;
    case Special::nctaid_x:
      return grid.x;
    case Special::nctaid_y:
      return grid.y;
    case Special::nctaid_z:
      return grid.z;
    case Special::laneid:
      return lane;
    case Special::warpid:
      return warp.index;
    case Special::nwarpid:
      return cta.warps.size();
    case Special::lanemask_eq:
      return 1u << lane;
    case Special::lanemask_lt:
      return (1u << lane) - 1;
    case Special::lanemask_le:
      return (2u << lane) - 1;
    case Special::lanemask_gt:
      return ~((2u << lane) - 1);
    case Special::lanemask_ge:
      return ~((1u << lane) - 1);
    case Special::nsmid:
      return 1;
    case Special::dynamic_smem_size:
      return cta.launch->options->dynamic_shared_bytes;
    case Special::total_smem_size:
      return cta.launch->shared_bytes;
    case Special::envreg:
      return cta.launch->options->environment[special.index];
    default:
      return 0;  // %smid, %gridid: there is one multiprocessor and one grid
  }
}

unsigned special_bytes(Special which) {
  return which == Special::gridid ? 8 : 4;
}

}  // namespace

std::vector<std::byte> initial_registers(const LaunchContext& launch) {
  const Kernel& kernel = *launch.kernel;
  std::vector<std::byte> image(kernel.register_bytes, static_cast<std::byte>(kUnwritten));
  for (const Constant& constant : kernel.constants)
    fill_register(image.data(), constant.offset, constant.bytes, constant.value);
  for (const SymbolAddress& symbol : kernel.addresses)
    fill_register(image.data(), symbol.offset, 8,
                  launch.variable_addresses[symbol.variable] + static_cast<std::uint64_t>(symbol.addend));
  return image;
}

void write_special_registers(const Cta& cta, Warp& warp) {
  for (const SpecialRegister& special : warp.kernel->specials) {
    const unsigned bytes = special_bytes(special.which);
    for (unsigned lane = 0; lane < kLanes; ++lane) {
      const std::uint64_t value = special_value(cta, warp, special, lane);
      std::memcpy(warp.registers + special.offset + lane * bytes, &value, bytes);
    }
  }
}

LaunchContext prepare_launch(const Module& module, Memory& memory, std::string_view entry,
                             std::span<const std::byte> params, const LaunchOptions& options) {
  const Program& program = module.program();
  const Kernel& kernel = find_kernel(program, entry);
  check_launch(kernel, params.size(), options);
  LaunchContext context;
  context.program = &program;
  context.kernel = &kernel;
  context.memory = &memory.impl();
  context.options = &options;
  context.parameters.assign(params.begin(), params.end());
  context.variable_addresses = memory.impl().instantiate(program.shared_from_this());
  context.shared_bytes = kernel.static_shared_bytes + options.dynamic_shared_bytes;
  return context;
}

LaunchStats launch(const Module& module, Memory& memory, std::string_view entry, std::span<const std::byte> params,
                   const LaunchOptions& options) {
  const LaunchContext context = prepare_launch(module, memory, entry, params, options);
  memory.impl().note_all_written();
  return GridRunner(context, [] { return NoInstrument{}; }).run();
}

}  // namespace librt::ptx
