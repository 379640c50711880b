#!/bin/sh
# run-tests.sh [SPEC...]: busted under LuaJIT over tests/ (or the specs given), in MODE's build.
# Ends with a line "N passed, N failed, N skipped".
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
if [ $# -eq 0 ]; then
  # shellcheck disable=SC2046 # names of specs have no blanks
  set -- $(find tests -name '*_spec.lua' ! -path 'tests/crash/*' | sort)
  # shellcheck disable=SC2046
  set -- "$@" $(find tests/crash -name '*_short_spec.lua' 2>/dev/null | sort)
fi
out=$(mktemp)
trap 'rm -f "$out"' EXIT
passed=0 failed=0 skipped=0
for spec in "$@"; do
  status=0
  env ${preload:+LD_PRELOAD="$preload"} timeout "${SPEC_TIMEOUT:-900}" busted --lua=luajit -o TAP "$spec" >"$out" 2>&1 || status=$?
  p=$(grep -ac '^ok ' "$out" || true)
  s=$(grep -ac '^ok .*# SKIP' "$out" || true)
  f=$(grep -ac '^not ok ' "$out" || true)
  if [ "$status" -ne 0 ] && [ "$f" -eq 0 ]; then
    f=1
    echo "$spec: ended with status $status"
  fi
  passed=$((passed + p - s)) skipped=$((skipped + s)) failed=$((failed + f))
  printf '%-44s %3d ok %3d failed %3d skipped\n' "$spec" $((p - s)) "$f" "$s"
  sed -n 's/^## /  /p' "$out" # figures that a spec wants to be seen
  if [ "$f" -ne 0 ]; then grep -av '^ok ' "$out" | tail -n 80; else grep '# SKIP' "$out" | sed 's/^ok [0-9]* - /  skipped: /' || true; fi
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
