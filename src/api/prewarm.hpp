// Filling a cache ahead of time.
#pragma once

#include <librt/options.hpp>
#include <librt/prewarm.hpp>

#include <span>

#include "src/api/compile_service.hpp"

namespace librt::api {

struct PrewarmRequest {
  std::span<const Spec> specs;
  std::span<const Arch> archs;
};

/// See Runtime::prewarm.
PrewarmReport prewarm(CompileService& compiler, const Options& options, const PrewarmRequest& wanted,
                      const PrewarmOptions& how);

}  // namespace librt::api
