#!/bin/sh
# lint.sh: what a machine can check about the source. Changes nothing but build/lint. A line per
# check; ends with "N passed, N failed".
set -u
cd "$(dirname "$0")/.." || exit 1
passed=0 failed=0
out=$(mktemp)
list=$(mktemp)
trap 'rm -f "$out" "$list"' EXIT
trap 'exit 130' INT TERM HUP

# check NAME COMMAND...: quiet when well, all it says when not.
check() {
  name=$1
  shift
  if "$@" >"$out" 2>&1; then
    passed=$((passed + 1))
    echo "ok      $name"
  else
    failed=$((failed + 1))
    echo "FAILED  $name"
    sed 's/^/        /' "$out" | head -n 100
  fi
}
skip() { echo "skipped $1"; }
# Tracked files, and new ones that are not ignored. Those that are deleted but still tracked are left out.
files() {
  git ls-files --cached --others --exclude-standard -- "$@" | sort -u | while read -r f; do
    if [ -f "$f" ]; then echo "$f"; fi
  done
}

format() {
  files '*.c' '*.h' | xargs clang-format --dry-run -Werror >/dev/null 2>&1 && return
  echo "not as clang-format has it (make format mends it):"
  files '*.c' '*.h' | while read -r f; do
    clang-format --dry-run -Werror "$f" >/dev/null 2>&1 || echo "  $f"
  done
  return 1
}
lua_code() {
  files '*.lua' >"$list"
  xargs luacheck --no-color -q <"$list"
}
shell_code() { files '*.sh' .ci/run | xargs shellcheck; }

# Every object, the binary and the shared object, with all warnings as errors, apart from the build
# that is in use.
compiler() {
  make --no-print-directory -j"$(nproc 2>/dev/null || echo 2)" CC="$1" MODE=release \
    B="build/lint/$1" "build/lint/$1/lunate" "build/lint/$1/lunate-repl" "build/lint/$1/liblunate.so"
}

# The project must not know on which machine, or by whom, it was written.
no_machine_paths() {
  ! files | grep -v '^tests/fuzz/corpus/' | xargs grep -nIE \
    '(^|[^A-Za-z0-9_.~$}{-])/(work|home|root|Users)/[A-Za-z0-9]'
}

# .editorconfig, as far as it can be seen: no blanks at line ends, no tabs, no CR, a last newline. And
# no mark of a merge that was not finished.
plain_text() {
  status=0
  files '*.c' '*.h' '*.lua' '*.sh' '*.md' '*.csv' '*.yml' .ci/run Makefile >"$list"
  if xargs grep -nIE '[[:blank:]]+$' <"$list"; then status=1; fi
  if xargs grep -nIE '^(<<<<<<<|>>>>>>>)( |$)' <"$list"; then status=1; fi
  # The documents show what print writes between two values: a tab.
  if grep -v -e '^Makefile$' -e '\.md$' "$list" | xargs grep -nIP '\t|\r'; then status=1; fi
  while read -r f; do
    if [ -s "$f" ] && [ -n "$(tail -c 1 "$f")" ]; then
      echo "$f: no newline at its end"
      status=1
    fi
  done <"$list"
  return "$status"
}

git rev-parse --git-dir >/dev/null 2>&1 || {
  echo "lint: needs a git checkout, to know which files are the project's" >&2
  exit 1
}
check "clang-format" format
check "luacheck" lua_code
if command -v shellcheck >/dev/null; then
  check "shellcheck" shell_code
else
  skip "shellcheck (not installed)"
fi
check "floors of core/" luajit contrib/floors.lua
check "no paths of a machine" no_machine_paths
check "plain text" plain_text
check "gcc, warnings as errors" compiler gcc
check "clang, warnings as errors" compiler clang

files '*.c' '*.h' '*.lua' '*.sh' >"$list"
while read -r f; do
  n=$(wc -l <"$f")
  if [ "$n" -gt 600 ]; then echo "warning: $f has $n lines; one sitting is 150 to 400"; fi
done <"$list"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
