// NaN and Inf in a dump: where a request reads them, and where only padding holds them.
#pragma once

#include "tools/librt/cache_dump.hpp"
#include "tools/librt/page_owners.hpp"

namespace librt::tool {

void check_values(const CacheDump& dump, const PageOwners& owners, Findings& findings);

}  // namespace librt::tool
