// Everything of librt.
#pragma once

#include <librt/artifact.hpp>
#include <librt/binding.hpp>
#include <librt/buffer.hpp>
#include <librt/cache.hpp>
#include <librt/error.hpp>
#include <librt/export.hpp>
#include <librt/gqa_decode.hpp>
#include <librt/kernel.hpp>
#include <librt/kernel_kind.hpp>
#include <librt/manifest.hpp>
#include <librt/mla_decode.hpp>
#include <librt/options.hpp>
#include <librt/prewarm.hpp>
#include <librt/runtime.hpp>
#include <librt/spec.hpp>
#include <librt/types.hpp>
#include <librt/version.hpp>
