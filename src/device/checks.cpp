#include "src/device/checks.hpp"

#include <librt/error.hpp>

#include <fmt/format.h>

namespace librt::device {

namespace {

constexpr int kMaxBlockThreads = 1024;
constexpr unsigned kMaxGridX = 0x7fffffff;
constexpr unsigned kMaxGridYZ = 65535;

void check_dimension(char name, unsigned value, unsigned largest) {
  if (value >= 1 && value <= largest) return;
  throw Error(ErrorCode::invalid_argument, fmt::format("grid.{} is {}, allowed: 1..{}", name, value, largest));
}

}  // namespace

void check_artifact(const Artifact& artifact, const Properties& properties) {
  if (artifact.entry.empty())
    throw Error(ErrorCode::invalid_argument, "artifact.entry is empty: it must name the kernel");
  if (artifact.block_threads < 1 || artifact.block_threads > kMaxBlockThreads) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("artifact.block_threads is {}, allowed: 1..{}", artifact.block_threads, kMaxBlockThreads));
  }
  if (artifact.shared_bytes < 0) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("artifact.shared_bytes is {}, allowed: 0 and above", artifact.shared_bytes));
  }
  if (artifact.shared_bytes > properties.shared_bytes_per_block) {
    throw Error(ErrorCode::unsupported, fmt::format("{} ({}) needs {} bytes of shared memory in a block, {} has {}",
                                                    artifact.kernel, to_string(artifact.arch), artifact.shared_bytes,
                                                    properties.name, properties.shared_bytes_per_block));
  }
}

void check_grid(const Grid& grid) {
  check_dimension('x', grid.x, kMaxGridX);
  check_dimension('y', grid.y, kMaxGridYZ);
  check_dimension('z', grid.z, kMaxGridYZ);
}

}  // namespace librt::device
