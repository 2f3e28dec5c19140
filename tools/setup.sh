# What tools/quickstart and tools/test share: packages, NVRTC, configure, build. Sourced, never run.
# shellcheck shell=bash

LIBRT_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=tools/pins.sh
source "$LIBRT_ROOT/tools/pins.sh"
LIBRT_USUAL_CUDA=/usr/local/cuda

say() { printf '== %s\n' "$*" >&2; }

# missing_packages NAME...: those that are not installed, one a line.
missing_packages() {
  local package
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || echo "$package"
  done
}

# install_packages NAME...: installs what is missing, or says how and exits with 3.
install_packages() {
  local missing as_root=()
  if ! command -v dpkg-query >/dev/null; then
    say "this script installs packages on Debian and Ubuntu only. Install the counterparts of:" "$@"
    say "then run: cmake --preset default && cmake --build --preset default"
    exit 3
  fi
  mapfile -t missing < <(missing_packages "$@")
  [ ${#missing[@]} -eq 0 ] && return
  if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
      as_root=(sudo)
    else
      say "packages are missing and this user cannot install them. As root, run:"
      printf 'apt-get update && apt-get install -y --no-install-recommends %s\n' "${missing[*]}"
      exit 3
    fi
  fi
  say "installing ${missing[*]}"
  local quiet=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0)
  if ! "${as_root[@]}" "${quiet[@]}" update >&2 ||
    ! "${as_root[@]}" "${quiet[@]}" install -y --no-install-recommends "${missing[@]}" >&2; then
    say "installing failed. As root, run:"
    printf 'apt-get update && apt-get install -y --no-install-recommends %s\n' "${missing[*]}"
    exit 3
  fi
}

# has_nvrtc DIR: a libnvrtc that librt can use lies there.
has_nvrtc() { [ -e "$1/libnvrtc.so.13" ] || [ -e "$1/libnvrtc.so.12" ]; }

# find_nvrtc [DIR]: prints the directory of libnvrtc: the option, CUDA_HOME, nvcc on PATH, the usual prefix. Prints
# nothing, and succeeds, where there is none: the caller then fetches it.
find_nvrtc() {
  local home directory nvcc
  if [ -n "${1:-}" ]; then
    for directory in "$1" "$1/lib64" "$1/lib"; do
      has_nvrtc "$directory" && echo "$directory" && return
    done
    say "--cuda $1: no libnvrtc.so.13 or .12 in it, nor in its lib64 or lib"
    exit 2
  fi
  nvcc=$(command -v nvcc || true)
  for home in "${CUDA_HOME:-}" "${nvcc:+$(dirname "$(dirname "$(readlink -f "$nvcc")")")}" "$LIBRT_USUAL_CUDA"; do
    [ -n "$home" ] || continue
    for directory in "$home/lib64" "$home/lib" "$home/targets/x86_64-linux/lib"; do
      if has_nvrtc "$directory"; then
        echo "$directory"
        return
      fi
    done
  done
}

# fetch_nvrtc FOLDER: puts the pinned NVRTC there, once, and prints its directory.
fetch_nvrtc() {
  local folder=$1 wheels
  if ! has_nvrtc "$folder/nvidia/cu13/lib"; then
    install_packages "${LIBRT_FETCH_PACKAGES[@]}"
    say "no CUDA found; fetching $LIBRT_NVRTC_WHEEL $LIBRT_NVRTC_VERSION (90 MB)"
    wheels=$(mktemp -d)
    printf '%s==%s --hash=sha256:%s\n' "$LIBRT_NVRTC_WHEEL" "$LIBRT_NVRTC_VERSION" "$LIBRT_NVRTC_SHA256" \
      >"$wheels/requirements.txt"
    if ! python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
      --require-hashes --dest "$wheels" --requirement "$wheels/requirements.txt" >&2; then
      rm -rf "$wheels"
      say "NVRTC could not be fetched. Install CUDA 13, or give its directory with --cuda DIR."
      exit 3
    fi
    rm -rf "$folder.new"
    python3 -m zipfile -e "$wheels"/*.whl "$folder.new"
    rm -rf "$wheels" "$folder"
    mv "$folder.new" "$folder"
  fi
  echo "$folder/nvidia/cu13/lib"
}

# build PRESET CUDA_DIR FETCH TARGET...: configures and builds. CUDA_DIR may be empty; FETCH is yes or no.
build() {
  local preset=$1 cuda=$2 fetch=$3 nvrtc=
  shift 3
  install_packages "${LIBRT_PACKAGES[@]}"
  [ "$fetch" = yes ] || nvrtc=$(find_nvrtc "$cuda")
  [ -n "$nvrtc" ] || nvrtc=$(fetch_nvrtc "$LIBRT_ROOT/build/nvrtc")
  say "NVRTC: $nvrtc"
  (
    cd "$LIBRT_ROOT"
    cmake --preset "$preset" -DLIBRT_NVRTC_DIR="$nvrtc" >&2
    cmake --build --preset "$preset" --target "$@" >&2
  )
}
