#!/usr/bin/env bash
# A share of `librt prove` over all that ships; all of it where LIBRT_TEST_FULL is set.
set -euo pipefail
tool=$1
export LIBRT_CACHE_DIR=$2  # the compile tests' own: what they compiled is found there
if [ -n "${LIBRT_TEST_FULL:-}" ]; then
  exec "$tool" prove
fi
exec "$tool" prove --arch sm_90a --batches 3
