# The one place for what librt is built with: Debian packages and the NVRTC that is fetched where no CUDA is installed.
# shellcheck shell=bash disable=SC2034

# By the names that Debian 12 and newer give them; their versions are Debian's.
LIBRT_PACKAGES=(
  g++ cmake ninja-build pkg-config
  libfmt-dev libspdlog-dev nlohmann-json3-dev libsodium-dev
  libcli11-dev
)
# Needed only for the tests.
LIBRT_TEST_PACKAGES=(catch2)
# Needed only to fetch NVRTC.
LIBRT_FETCH_PACKAGES=(python3 python3-pip)

LIBRT_NVRTC_WHEEL=nvidia-cuda-nvrtc
LIBRT_NVRTC_VERSION=13.0.88
# Of the wheel for x86-64 Linux; another platform's wheel is refused rather than trusted.
LIBRT_NVRTC_SHA256=ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575
