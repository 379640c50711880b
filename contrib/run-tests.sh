#!/bin/sh
# run-tests.sh [SPEC...]: busted under LuaJIT over tests/ (or the specs given), in MODE's build, JOBS
# files at a time (all processors, unless said). A file that fails while others run is run once more
# alone at the end: what then passes is told, not hidden. Ends with "N passed, N failed, N skipped".
set -eu
MODE=${MODE:-release}
LUNATE=$PWD/build/$MODE/lunate
LUNATE_LIB=$PWD/build/$MODE/liblunate.so
LUNATE_CDEF=$PWD/build/$MODE/cdef.h
export MODE LUNATE LUNATE_LIB LUNATE_CDEF
preload=
case "$MODE" in
asan)
  preload=$(gcc -print-file-name=libasan.so)
  # LuaJIT keeps pointers where the leak checker cannot see them.
  export ASAN_OPTIONS="detect_leaks=0:abort_on_error=1:${ASAN_OPTIONS:-}" UBSAN_OPTIONS=print_stacktrace=1
  ;;
tsan) # LuaJIT cannot load an object of this kind: only specs that run the engine as a process
  export TSAN_OPTIONS="halt_on_error=1:${TSAN_OPTIONS:-}"
  # shellcheck disable=SC2046
  [ $# -gt 0 ] || set -- tests/store/race_spec.lua $(find tests/e2e tests/crash -name '*_spec.lua' ! -name 'kill_spec.lua' | sort)
  ;;
esac

# count OUT STATUS: sets passed, failed and skipped from what busted printed.
count() {
  passed=$(grep -ac '^ok ' "$1" || true)
  skipped=$(grep -ac '^ok .*# SKIP' "$1" || true)
  failed=$(grep -ac '^not ok ' "$1" || true)
  passed=$((passed - skipped))
  if [ "$2" -ne 0 ] && [ "$failed" -eq 0 ]; then
    failed=1
    echo "ended with status $2" >>"$1"
  fi
}

# one DIR SPEC: runs it, says how it went in one piece, leaves DIR/NAME.n with the counts.
one() {
  name=$(echo "$2" | tr / _) status=0 began=$(date +%s)
  out=$1/$name.out
  env ${preload:+LD_PRELOAD="$preload"} timeout "${SPEC_TIMEOUT:-900}" busted --lua=luajit -o TAP "$2" >"$out" 2>&1 || status=$?
  count "$out" "$status"
  {
    printf '%-44s %3d ok %3d failed %3d skipped %4d s\n' "$2" "$passed" "$failed" "$skipped" $(($(date +%s) - began))
    sed -n 's/^## /  /p' "$out" # figures that a spec wants to be seen
    if [ "$failed" -ne 0 ]; then
      grep -av '^ok ' "$out" | tail -n 80
    else
      grep '# SKIP' "$out" | sed 's/^ok [0-9]* - /  skipped: /' || true
    fi
  } >"$1/$name.said"
  cat "$1/$name.said"
  echo "$2 $passed $failed $skipped" >"$1/$name.n"
}

if [ "${1:-}" = --one ]; then
  one "$2" "$3"
  exit 0
fi

JOBS=${JOBS:-$(nproc)}
if [ $# -eq 0 ]; then # those that take longest first
  # shellcheck disable=SC2046 # names of specs have no blanks
  set -- $(find tests/store tests/e2e tests/docs -name '*_spec.lua' | sort) \
    $(find tests/crash -name '*_short_spec.lua' | sort) \
    $(find tests -name '*_spec.lua' ! -path 'tests/crash/*' ! -path 'tests/store/*' ! -path 'tests/e2e/*' \
      ! -path 'tests/docs/*' | sort)
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM HUP
printf '%s\n' "$@" | xargs -P "$JOBS" -n 1 sh "$0" --one "$dir" || true
again=$(cat "$dir"/*.n | awk '$3 > 0 { print $1 }' | sort)
once=0
if [ "$JOBS" -gt 1 ] && [ $# -gt 1 ] && [ -n "$again" ]; then
  echo "once more, alone:"
  for spec in $again; do
    sh "$0" --one "$dir" "$spec"
    grep -q ' 0 [0-9]*$' "$dir/$(echo "$spec" | tr / _).n" && once=$((once + 1))
  done
fi
[ "$once" -eq 0 ] || echo "$once spec files failed beside others and passed alone: see above"
cat "$dir"/*.n | awk -v wanted=$# '
  { passed += $2; failed += $3; skipped += $4 }
  END {
    if (NR != wanted) { failed += wanted - NR; print wanted - NR " spec files left no result" }
    printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
    exit failed > 0
  }'
