# What tools/quickstart and tools/test share: packages, NVRTC, configure, build. Sourced, never run.
# shellcheck shell=bash

LIBRT_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=tools/pins.sh
source "$LIBRT_ROOT/tools/pins.sh"
LIBRT_USUAL_CUDA=/usr/local/cuda
LIBRT_NO_INSTALL=no

say() { printf '== %s\n' "$*" >&2; }

# missing_packages NAME...: those that are not installed, one a line.
missing_packages() {
  local package
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || echo "$package"
  done
}

# install_packages NAME...: installs what is missing, or says how and exits with 3. Where packages are not Debian's, and
# with LIBRT_NO_INSTALL=yes, it does nothing: what is missing is then found out by whoever needs it.
install_packages() {
  local missing as_root=()
  if [ "$LIBRT_NO_INSTALL" = yes ] || ! command -v dpkg-query >/dev/null; then return; fi
  mapfile -t missing < <(missing_packages "$@")
  [ ${#missing[@]} -eq 0 ] && return
  if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
      as_root=(sudo)
    else
      say "packages are missing and this user cannot install them. Where their counterparts are installed, --no-install"
      say "builds with those. Else, as root, run:"
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

# nvrtc_below ROOT PATTERN...: prints the first directory ROOT/PATTERN that has a libnvrtc; fails without one or a ROOT.
nvrtc_below() {
  local pattern directory
  [ -n "$1" ] || return 1
  for pattern in "${@:2}"; do
    for directory in "$1"/$pattern; do
      has_nvrtc "$directory" && echo "${directory%/}" && return
    done
  done
  return 1
}

# find_nvrtc [DIR]: prints the directory of libnvrtc: the option, else as the library searches (src/jit/nvrtc_search.hpp):
# CUDA_HOME, the active virtual environment, nvcc on PATH, the usual prefix. Prints nothing, and succeeds, where there is
# none: the caller then fetches it.
find_nvrtc() {
  local nvcc toolkit=(lib64 lib targets/x86_64-linux/lib)
  if [ -n "${1:-}" ]; then
    nvrtc_below "$1" "" lib64 lib && return
    say "--cuda $1: no libnvrtc.so.13 or .12 in it, nor in its lib64 or lib"
    exit 2
  fi
  nvcc=$(command -v nvcc || true)
  nvrtc_below "${CUDA_HOME:-}" "${toolkit[@]}" ||
    nvrtc_below "${VIRTUAL_ENV:-}" lib/python3*/site-packages/nvidia/{cu13,cuda_nvrtc}/lib ||
    nvrtc_below "${nvcc:+$(dirname "$(dirname "$(readlink -f "$nvcc")")")}" "${toolkit[@]}" ||
    nvrtc_below "$LIBRT_USUAL_CUDA" "${toolkit[@]}" || true
}

# fetch_nvrtc FOLDER: puts the pinned NVRTC there, once, and prints its directory.
fetch_nvrtc() {
  local folder=$1 wheels
  if ! has_nvrtc "$folder/nvidia/cu13/lib"; then
    install_packages "${LIBRT_FETCH_PACKAGES[@]}"
    if ! python3 -m pip --version >/dev/null 2>&1; then
      say "no CUDA found, and without python3 and its pip $LIBRT_NVRTC_WHEEL cannot be fetched. Install them, or CUDA 13,"
      say "or give the directory of libnvrtc with --cuda DIR."
      exit 3
    fi
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

# forget_settings: a user's settings must not change what is tested. LIBRT_TEST_ is the tests' own.
forget_settings() {
  local name
  for name in $(compgen -e LIBRT_); do
    [[ $name == LIBRT_TEST_* ]] || unset "$name"
  done
}

# build PRESET TESTS CUDA_DIR FETCH TARGET...: configures and builds. TESTS is ON or OFF, FETCH is yes or no; CUDA_DIR may
# be empty. Exits with 3 where the machine lacks something, which CMake names.
build() {
  local preset=$1 tests=$2 cuda=$3 fetch=$4 nvrtc="" packages=("${LIBRT_PACKAGES[@]}")
  shift 4
  [ "$tests" = OFF ] || packages+=("${LIBRT_TEST_PACKAGES[@]}")
  install_packages "${packages[@]}"
  if ! command -v cmake >/dev/null; then
    say "cmake is missing. Install it and the counterparts of: ${packages[*]}"
    exit 3
  fi
  [ "$fetch" = yes ] || nvrtc=$(find_nvrtc "$cuda")
  [ -n "$nvrtc" ] || nvrtc=$(fetch_nvrtc "$LIBRT_ROOT/build/nvrtc")
  say "NVRTC: $nvrtc"
  cd "$LIBRT_ROOT" || exit
  if ! cmake --preset "$preset" -DLIBRT_NVRTC_DIR="$nvrtc" -DLIBRT_BUILD_TESTS="$tests" >&2; then
    say "this machine cannot build librt: see above. Needed are, by their names in Debian: ${packages[*]}"
    exit 3
  fi
  cmake --build --preset "$preset" --target "$@" >&2
}
