#!/usr/bin/env bash
# tools/setup.sh by itself, on machines made of stand-ins: with CUDA here, there, or nowhere, and with packages missing.
# Usage: tests/setup.sh SOURCE_DIR
set -euo pipefail
source_dir=$(realpath "${1:?usage: setup.sh SOURCE_DIR}")
machine=$(mktemp -d)
trap 'rm -rf "$machine"' EXIT
mkdir "$machine/bin" "$machine/nowhere"
failed=no

# on_machine NAME=VALUE... -- COMMAND: prints what the command says and how it exits, in a shell as strict as the tools'.
on_machine() {
  local settings=() status=0
  while [ "$1" != -- ]; do
    settings+=("$1")
    shift
  done
  shift
  env -i PATH="$machine/bin:/usr/bin:/bin" "${settings[@]}" bash -c "
    set -euo pipefail
    source '$source_dir/tools/setup.sh'
    LIBRT_USUAL_CUDA=\${USUAL:-$machine/nowhere}
    $1" 2>&1 </dev/null || status=$?
  echo "exit $status"
}

expect() { # WHAT EXPECTED ACTUAL
  if [ "$2" = "$3" ]; then
    echo "ok: $1"
  else
    printf 'FAILED: %s\n--- expected\n%s\n--- got\n%s\n' "$1" "$2" "$3" >&2
    failed=yes
  fi
}

toolkit() { # FOLDER LIBRARY_DIR: a CUDA toolkit as far as the set-up looks at it.
  mkdir -p "$1/bin" "$1/$2"
  touch "$1/$2/libnvrtc.so.13"
  install -m 755 /dev/null "$1/bin/nvcc"
}
stand_in() { # NAME SCRIPT: a command of the machine.
  printf '#!/bin/sh\n%s\n' "$2" >"$machine/bin/$1"
  chmod 755 "$machine/bin/$1"
}
no_stand_ins() { find "$machine/bin" -mindepth 1 -delete; }

# Not `find_nvrtc` by its own: an assignment is what makes a strict shell stop.
readonly find='nvrtc=$(find_nvrtc "${OPTION:-}"); echo "found [$nvrtc]"'

expect "no CUDA anywhere is no error" $'found []\nexit 0' "$(on_machine -- "$find")"

toolkit "$machine/home" lib64
toolkit "$machine/path" lib
toolkit "$machine/usual" targets/x86_64-linux/lib
expect "CUDA at the usual prefix" "found [$machine/usual/targets/x86_64-linux/lib]"$'\nexit 0' \
  "$(on_machine USUAL="$machine/usual" -- "$find")"
ln -s "$machine/path/bin/nvcc" "$machine/bin/nvcc"
expect "nvcc on PATH comes before the usual prefix" "found [$machine/path/lib]"$'\nexit 0' \
  "$(on_machine USUAL="$machine/usual" -- "$find")"
mkdir -p "$machine/environment/lib/python3.13/site-packages/nvidia/cu13/lib"
expect "a virtual environment without libnvrtc is passed over" "found [$machine/path/lib]"$'\nexit 0' \
  "$(on_machine VIRTUAL_ENV="$machine/environment" -- "$find")"
touch "$machine/environment/lib/python3.13/site-packages/nvidia/cu13/lib/libnvrtc.so.13"
expect "the active virtual environment comes before nvcc" \
  "found [$machine/environment/lib/python3.13/site-packages/nvidia/cu13/lib]"$'\nexit 0' \
  "$(on_machine VIRTUAL_ENV="$machine/environment" -- "$find")"
expect "CUDA_HOME comes before nvcc" "found [$machine/home/lib64]"$'\nexit 0' \
  "$(on_machine CUDA_HOME="$machine/home" -- "$find")"
expect "a CUDA_HOME without libnvrtc is passed over" "found [$machine/path/lib]"$'\nexit 0' \
  "$(on_machine CUDA_HOME="$machine/nowhere" -- "$find")"
expect "the option comes first" "found [$machine/usual/targets/x86_64-linux/lib]"$'\nexit 0' \
  "$(on_machine OPTION="$machine/usual/targets/x86_64-linux/lib" CUDA_HOME="$machine/home" -- "$find")"
expect "an option without libnvrtc is refused" \
  "== --cuda $machine/nowhere: no libnvrtc.so.13 or .12 in it, nor in its lib64 or lib"$'\nexit 2' \
  "$(on_machine OPTION="$machine/nowhere" -- "$find")"
no_stand_ins

stand_in dpkg-query 'case $* in *present*) echo "install ok installed" ;; *removed*) echo "deinstall ok config-files" ;; *) exit 1 ;; esac'
expect "packages that are there are left alone" $'exit 0' "$(on_machine -- 'install_packages present')"
stand_in id 'echo 1000'
stand_in sudo 'exit 1'
expect "a user who cannot install is told the command" \
  "== packages are missing and this user cannot install them. Where their counterparts are installed, --no-install
== builds with those. Else, as root, run:
apt-get update && apt-get install -y --no-install-recommends absent removed
exit 3" "$(on_machine -- 'install_packages present absent removed')"
stand_in sudo 'if [ "$1" = -n ]; then exit 0; fi; echo "as root: $*"'
expect "sudo is used where it asks nothing" \
  "== installing absent
as root: env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 update
as root: env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 install -y --no-install-recommends absent
exit 0" "$(on_machine -- 'install_packages absent')"
stand_in id 'echo 0'
stand_in apt-get 'exit 100'
expect "an installation that fails says what to run" \
  "== installing absent
== installing failed. As root, run:
apt-get update && apt-get install -y --no-install-recommends absent
exit 3" "$(on_machine -- 'install_packages absent')"

expect "with --no-install nothing is installed" $'exit 0' \
  "$(on_machine -- 'LIBRT_NO_INSTALL=yes; install_packages absent')"

stand_in dpkg-query 'echo "install ok installed"'
stand_in python3 'exit 1'
expect "without pip the message says what would help" \
  "$(. "$source_dir/tools/pins.sh" && echo "== no CUDA found, and without python3 and its pip $LIBRT_NVRTC_WHEEL cannot be fetched.") Install them, or CUDA 13,
== or give the directory of libnvrtc with --cuda DIR.
exit 3" "$(on_machine -- "fetch_nvrtc '$machine/fetched'")"
stand_in python3 'case $* in *--version) exit 0 ;; *) exit 1 ;; esac'
expect "an NVRTC that cannot be fetched leaves nothing behind" \
  "$(. "$source_dir/tools/pins.sh" && echo "== no CUDA found; fetching $LIBRT_NVRTC_WHEEL $LIBRT_NVRTC_VERSION (90 MB)")
== NVRTC could not be fetched. Install CUDA 13, or give its directory with --cuda DIR.
exit 3" "$(on_machine -- "fetch_nvrtc '$machine/fetched'")"
[ ! -e "$machine/fetched" ] || expect "no folder" "" "$(ls "$machine/fetched")"
mkdir -p "$machine/fetched/nvidia/cu13/lib"
touch "$machine/fetched/nvidia/cu13/lib/libnvrtc.so.13"
expect "an NVRTC fetched before is used" "$machine/fetched/nvidia/cu13/lib"$'\nexit 0' \
  "$(on_machine -- "fetch_nvrtc '$machine/fetched'")"


# A machine whose packages are not Debian's: a few commands, and no dpkg-query among them.
no_stand_ins
mkdir "$machine/few"
for name in bash dirname readlink; do ln -s "$(command -v "$name")" "$machine/few/$name"; done
readonly packages=$(. "$source_dir/tools/pins.sh" && echo "${LIBRT_PACKAGES[*]}")
readonly build="build default OFF '$machine/usual/targets/x86_64-linux/lib' no librt"
expect "without Debian's packages nothing is installed, and a missing CMake is named" \
  "== cmake is missing. Install it and the counterparts of: $packages
exit 3" "$(on_machine PATH="$machine/few" -- "$build")"
cat >"$machine/few/cmake" <<'TEXT'
#!/bin/bash
echo "cmake $*"
[ -z "$LACKS" ] || [ "$1" != --preset ]
TEXT
chmod 755 "$machine/few/cmake"
readonly configured="== NVRTC: $machine/usual/targets/x86_64-linux/lib
cmake --preset default -DLIBRT_NVRTC_DIR=$machine/usual/targets/x86_64-linux/lib -DLIBRT_BUILD_TESTS=OFF"
expect "it is built from what is there" "$configured
cmake --build --preset default --target librt
exit 0" "$(on_machine PATH="$machine/few" -- "$build")"
expect "what CMake misses ends the set-up, with the packages" "$configured
== this machine cannot build librt: see above. Needed are, by their names in Debian: $packages
exit 3" "$(on_machine PATH="$machine/few" LACKS=something -- "$build")"

expect "a user's settings are forgotten, those of the tests kept" \
  $'LIBRT_TEST_SEED=1\nexit 0' \
  "$(on_machine LIBRT_CACHE_MODE=only LIBRT_RECORD=/record LIBRT_NVRTC=/x LIBRT_TEST_SEED=1 LIBRT_NEW= -- \
    'forget_settings; env | grep ^LIBRT_')"

[ "$failed" = no ]
