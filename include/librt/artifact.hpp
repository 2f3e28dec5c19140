// A compiled specialization: bytes that can be stored, moved to another machine and loaded there.
#pragma once

#include <librt/export.hpp>
#include <librt/types.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace librt {

/// Where the bytes came from.
enum class Origin { memory, disk, compiled };

LIBRT_API std::string_view to_string(Origin origin) noexcept;

/// Immutable once made. Copies are independent.
struct Artifact {
  std::string key{};     ///< 64 hex digits: BLAKE2b-256 of everything that the compiler received
  std::string kernel{};  ///< the name of its kernel, e.g. "merge_states"
  std::string entry{};   ///< symbol of the kernel in cubin and PTX
  Arch arch{};
  std::vector<std::byte> cubin{};  ///< empty for compute_XX
  std::string ptx{};               ///< the PTX that the cubin was assembled from
  std::string source{};            ///< the generated stub
  std::string spec{};              ///< canonical JSON of what reached the kernel's Traits
  int block_threads = 0;           ///< threads in a block
  int shared_bytes = 0;            ///< dynamic shared memory in a block, bytes
  Origin origin = Origin::compiled;
  double compile_ms = 0;  ///< time inside the compiler when the bytes were made
};

}  // namespace librt
