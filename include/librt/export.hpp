// LIBRT_API: what liblibrt.so exports; everything else in it is hidden.
#pragma once

#include <librt/abi.hpp>

#if defined(_WIN32)
#error "librt supports Linux only"
#endif
#define LIBRT_API __attribute__((visibility("default")))
