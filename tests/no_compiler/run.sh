#!/bin/bash
# Serves a prewarmed cache in a root that has no compiler: run.sh USER_PROGRAM. Exit code 77: this machine cannot
# change its root, and why.
set -euo pipefail
user=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
fail() { echo "FAILED: $*" >&2; exit 1; }

PATH=$PATH:/usr/sbin:/sbin
enter=("$(command -v chroot)")
[ "$(id -u)" = 0 ] || enter=("$(command -v unshare)" --user --map-root-user "${enter[@]}")
mkdir -p "$root"
# The program, and what the loader needs for it: that is all.
while read -r library; do
  mkdir -p "$root$(dirname "$library")"
  cp -L "$library" "$root$library"
done < <(ldd "$user" | grep -o '/[^ ]*')
cp "$user" "$root/user"
problem=$("${enter[@]}" "$root" /user 2>&1 >/dev/null) || {
  echo "skipped: ${enter[*]} does not work here: $problem"
  exit 77
}
# Kernel sources of another version, where a library might look for them: they must not be.
for kernels in /usr/local/share/librt/kernels /usr/share/librt/kernels; do
  mkdir -p "$root$kernels/gqa_decode"
  echo '#error "the installed kernels were used"' >"$root$kernels/gqa_decode/gqa_decode.cuh"
done

LIBRT_CACHE_DIR=$root/cache LIBRT_CACHE_MODE=rw "$user" fill || fail "the cache was not filled"
echo "in the root:"
(cd "$root" && find . -type f -not -path './cache/*' | sort | sed 's/^/  /')
! find "$root" -name '*nvrtc*' | grep . || fail "there is a compiler in the root"

get() { # MODE WHAT
  env -i LIBRT_CACHE_DIR=/cache LIBRT_CACHE_MODE="$1" LIBRT_DEVICE=virtual:sm_80 "${enter[@]}" "$root" /user "$2"
}
expect() { # MODE WHAT RESULT
  local result
  result=$(get "$1" "$2" 2>"$work/stderr") || fail "mode $1, $2: $(cat "$work/stderr")"
  [ "$result" = "$3" ] || fail "mode $1, $2: $result instead of $3; $(cat "$work/stderr")"
  echo "ok: mode $1, $2: $result"
}
expect only there disk
expect ro there disk
expect rw there disk
expect only missing not_cached
expect ro missing no_nvrtc
