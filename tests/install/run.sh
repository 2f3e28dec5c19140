#!/usr/bin/env bash
# Installs a build and uses it as strangers would: find_package, pkg-config, add_subdirectory (which also gives a static
# library, installed and used once more), beside glibc's own librt and another libsodium, and with compilers set up
# otherwise. Checks what liblibrt needs, exports and names.
# Usage: tests/install/run.sh BUILD_DIR SOURCE_DIR
set -euo pipefail

build_dir=$(realpath "${1:?usage: run.sh BUILD_DIR SOURCE_DIR}")
source_dir=$(realpath "${2:?usage: run.sh BUILD_DIR SOURCE_DIR}")
# Kept between runs, so that only the first one compiles librt once more for add_subdirectory.
work_dir=$build_dir/install_check
mkdir -p "$work_dir"
find "$work_dir" -mindepth 1 -maxdepth 1 ! -name add_subdirectory -exec rm -rf {} +
consumers=$source_dir/tests/install

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

quietly() {
  "$@" >"$work_dir/log" 2>&1 || {
    cat "$work_dir/log" >&2
    fail "$*"
  }
}

configure() { # SOURCE BUILD [option...]
  local launcher=()
  if command -v ccache >/dev/null; then launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache); fi
  quietly cmake -S "$1" -B "$2" -G Ninja "${launcher[@]}" "${@:3}"
}

# Runs a program away from the build, so that only installed files can be found.
run_consumer() { # PROGRAM
  local output
  output=$(cd / && env -i PATH=/usr/bin:/bin LD_LIBRARY_PATH="${library_path:-}" "$1") || fail "$1 exited with $?"
  grep -q '^librt .* works on virtual:sm_90$' <<<"$output" || fail "$1 printed: $output"
  grep -q 'invalid_argument: .*num_heads' <<<"$output" || fail "$1 did not report the bad spec: $output"
  grep -q 'extern "C"' <<<"$output" || fail "$1 did not print the program: $output"
  echo "ok: $(basename "$(dirname "$1")")/$(basename "$1")"
}

use_find_package() { # PREFIX NAME
  configure "$consumers/find_package" "$work_dir/$2" -DCMAKE_PREFIX_PATH="$1"
  quietly cmake --build "$work_dir/$2"
  run_consumer "$work_dir/$2/consumer"
  run_consumer "$work_dir/$2/consumer_with_glibc_librt"
}

use_pkg_config() { # PREFIX NAME [pkg-config option...]
  mkdir -p "$work_dir/$2"
  local pc flags
  pc=$(find "$1" -name librt.pc)
  flags=$(PKG_CONFIG_PATH=$(dirname "$pc") pkg-config --cflags --libs "${@:3}" librt)
  # shellcheck disable=SC2086  # the flags are words
  quietly g++ -std=c++20 "$consumers/consumer.cpp" "$consumers/second_sodium.cpp" -o "$work_dir/$2/consumer" $flags
  library_path=$(dirname "$(dirname "$pc")") run_consumer "$work_dir/$2/consumer"
}

# check_exports FILE NM-OPTION...: what others can link to is librt's alone.
check_exports() {
  local exported
  exported=$(nm --defined-only --extern-only --demangle "${@:2}" "$1" | grep -E '^[0-9a-f]{16} ' | cut -d' ' -f3-)
  grep -q '^librt::Runtime::get(' <<<"$exported" || fail "$1 does not export librt::Runtime::get"
  ! grep -vE '^(typeinfo (name )?for |vtable for )?librt::' <<<"$exported" || fail "$1 exports what is not librt's"
  ! grep -E '^librt::(api|cache|device|jit|ptx|util)::' <<<"$exported" || fail "$1 exports what is internal"
}

check_shared_library() { # LIBRARY
  local needed soname version
  needed=$(readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
  ! grep -E 'fmt|spdlog|cuda|nvrtc|sodium|librt\.so' <<<"$needed" || fail "$1 must not need these"
  # Not glibc's librt.so.1, and another one with each minor version before 1.0.
  soname=$(readelf -d "$1" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')
  version=$(sed -n 's/^Version: //p' "$(find "$prefix" -name librt.pc)")
  test "$soname" = "liblibrt.so.${version%.*}" || fail "$1: SONAME $soname in version $version"
  check_exports "$1" --dynamic
  echo "ok: $(basename "$1") needs" $needed
}

# names_no_build FILE DIRECTORY...: neither in its text nor as a run path.
names_no_build() {
  local directory
  for directory in "${@:2}"; do
    ! grep -aqF "$directory" "$1" || fail "$1 names $directory"
  done
  ! readelf -d "$1" 2>/dev/null | grep -E 'RPATH|RUNPATH' || fail "$1 has a run path"
  echo "ok: $(basename "$1") names no build folder"
}

# check_headers PREFIX: each public header compiles alone, for anyone's warnings; all also with clang (any, where there is
# one), and without exceptions and RTTI.
check_headers() {
  local header compiler
  mkdir "$work_dir/headers"
  for header in "$1"/include/librt/*.h*; do
    echo "#include <librt/$(basename "$header")>" >"$work_dir/headers/$(basename "$header").cpp"
  done
  quietly g++ -std=c++20 -Wall -Wextra -pedantic -Werror -fsyntax-only -I "$1/include" "$work_dir"/headers/*.cpp
  for compiler in g++ clang++; do
    if ! command -v "$compiler" >/dev/null; then
      echo "skipped: public headers with $compiler, which is not installed"
      continue
    fi
    quietly "$compiler" -std=c++20 -Wall -Wextra -pedantic -Werror -fno-exceptions -fno-rtti -fsyntax-only \
      -I "$1/include" "$work_dir/headers/librt.hpp.cpp"
    echo "ok: public headers with $compiler"
  done
}

# check_refusal PREFIX MESSAGE FLAG...: a program compiled so is refused in words.
check_refusal() {
  local output
  ! output=$(g++ -std=c++20 -fsyntax-only -I "$1/include" "${@:3}" "$work_dir/headers/librt.hpp.cpp" 2>&1) ||
    fail "a program compiled with ${*:3} is not refused"
  grep -qF "#error \"$2" <<<"$output" || fail "${*:3}: $output"
  echo "ok: ${*:3} is refused"
}

# check_compiler ID VERSION EXPECTED: whether librt's build takes it.
check_compiler() {
  local answer=taken
  cmake -DCMAKE_CXX_COMPILER=c++ -DCMAKE_CXX_COMPILER_ID="$1" -DCMAKE_CXX_COMPILER_VERSION="$2" \
    -P "$source_dir/tools/cmake/compiler.cmake" >"$work_dir/log" 2>&1 || answer=refused
  test "$answer" = "$3" || fail "$1 $2 is $answer"
  test "$answer" = taken || grep -q 'needs g++ 12 or clang 16' "$work_dir/log" || fail "$(cat "$work_dir/log")"
}

check_compiler GNU 11.4.0 refused
check_compiler GNU 12.1.0 taken
check_compiler Clang 14.0.6 refused
check_compiler Clang 16.0.0 taken

prefix=$work_dir/prefix
quietly cmake --install "$build_dir" --prefix "$prefix"
shared_library=$(find "$prefix" -name 'liblibrt.so' | head -1)
test -n "$shared_library" || fail "no liblibrt.so was installed from $build_dir: run this on a shared build"
test -f "$prefix/share/librt/manifests/llama-3-8b.json" || fail "no manifests were installed"
test -z "$(find "$prefix" -name '*.cuh')" || fail "kernel sources were installed, which nothing reads"
test -z "$(find "$prefix" -name 'librt.so*')" || fail "a file called librt.so would hide glibc's"
check_shared_library "$(realpath "$shared_library")"
names_no_build "$(realpath "$shared_library")" "$build_dir"
# A prefix may be moved after it was installed.
mv "$prefix" "$work_dir/moved"
prefix=$work_dir/moved
use_find_package "$prefix" find_package_shared
use_pkg_config "$prefix" pkg_config_shared
if [ -x "$prefix/bin/librt" ]; then
  (cd / && env -i PATH=/usr/bin:/bin "$prefix/bin/librt" --help) >/dev/null || fail "the installed tool does not start"
  echo "ok: bin/librt"
  names_no_build "$prefix/bin/librt" "$build_dir"
  nvrtc_dir=$(sed -n 's/^LIBRT_NVRTC_DIR:[A-Z]*=//p' "$build_dir/CMakeCache.txt")
  if [ -n "$nvrtc_dir" ]; then
    packages=$work_dir/environment/lib/python3.13/site-packages
    mkdir -p "$packages/nvidia/cu13"
    ln -s "$nvrtc_dir" "$packages/nvidia/cu13/lib"
    (cd / && env -i PATH=/usr/bin:/bin LIBRT_CACHE_MODE=off VIRTUAL_ENV="$work_dir/environment" "$prefix/bin/librt" doctor) \
      >"$work_dir/log" || fail "the installed tool finds no NVRTC in the active virtual environment: $(cat "$work_dir/log")"
    grep -q 'found by VIRTUAL_ENV' "$work_dir/log" || fail "$(cat "$work_dir/log")"
    echo "ok: NVRTC in the active virtual environment"
  fi
fi
check_headers "$prefix"
check_refusal "$prefix" "librt needs C++20" -std=c++17
check_refusal "$prefix" "this librt was built with _GLIBCXX_USE_CXX11_ABI=1" -D_GLIBCXX_USE_CXX11_ABI=0
check_refusal "$prefix" "this librt was built without _GLIBCXX_DEBUG" -D_GLIBCXX_DEBUG
mkdir "$work_dir/another_std"
echo '#include <stddef.h>' >"$work_dir/another_std/cstddef"
check_refusal "$prefix" "this librt was built with libstdc++" -I "$work_dir/another_std"

# Configured as it is, then as a static library that is built.
configure "$consumers/add_subdirectory" "$work_dir/add_subdirectory_default" -DLIBRT_SOURCE_DIR="$source_dir"
configure "$consumers/add_subdirectory" "$work_dir/add_subdirectory" -DLIBRT_SOURCE_DIR="$source_dir" \
  -DBUILD_SHARED_LIBS=OFF -DLIBRT_INSTALL=ON -DLIBRT_NVRTC_DIR="$work_dir/add_subdirectory/nvrtc"
quietly cmake --build "$work_dir/add_subdirectory"
run_consumer "$work_dir/add_subdirectory/consumer"
test ! -e "$work_dir/add_subdirectory/bin/librt" || fail "add_subdirectory built the tool, which nobody asked for"

static_prefix=$work_dir/static_prefix
quietly cmake --install "$work_dir/add_subdirectory" --prefix "$static_prefix"
static_library=$(find "$static_prefix" -name 'liblibrt.a')
check_exports "$static_library"
names_no_build "$static_library" "$work_dir/"
use_find_package "$static_prefix" find_package_static
use_pkg_config "$static_prefix" pkg_config_static --static
echo "all consumers work"
