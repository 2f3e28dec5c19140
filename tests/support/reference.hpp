// The reference, its batches and its numbers, under the names that tests use.
#pragma once

#include "src/reference/batch.hpp"
#include "src/reference/numbers.hpp"
#include "src/reference/reference.hpp"

namespace librt::test {
using namespace reference;  // NOLINT(google-build-using-namespace): one name for what both sides share
}
