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
  "== packages are missing and this user cannot install them. As root, run:
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

stand_in dpkg-query 'echo "install ok installed"'
stand_in python3 'exit 1'
expect "an NVRTC that cannot be fetched leaves nothing behind" \
  "$(. "$source_dir/tools/pins.sh" && echo "== no CUDA found; fetching $LIBRT_NVRTC_WHEEL $LIBRT_NVRTC_VERSION (90 MB)")
== NVRTC could not be fetched. Install CUDA 13, or give its directory with --cuda DIR.
exit 3" "$(on_machine -- "fetch_nvrtc '$machine/fetched'")"
[ ! -e "$machine/fetched" ] || expect "no folder" "" "$(ls "$machine/fetched")"
mkdir -p "$machine/fetched/nvidia/cu13/lib"
touch "$machine/fetched/nvidia/cu13/lib/libnvrtc.so.13"
expect "an NVRTC fetched before is used" "$machine/fetched/nvidia/cu13/lib"$'\nexit 0' \
  "$(on_machine -- "fetch_nvrtc '$machine/fetched'")"

[ "$failed" = no ]
