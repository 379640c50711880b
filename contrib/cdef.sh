#!/bin/sh
# cdef.sh HEADER...: the declarations of Lunate's headers as one text that LuaJIT's ffi.cdef takes.
# Standard headers are left out (LuaJIT knows their integer types); LN_CDEF hides what it can't read.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
for h in stddef stdint stdbool stdarg stdio stdlib string errno time sys/types sys/queue sys/uio \
  sys/socket netinet/in unistd pthread assert limits inttypes; do
  mkdir -p "$tmp/$(dirname "$h")"
  : > "$tmp/$h.h"
done
for h in "$@"; do echo "#include \"${h#core/}\""; done > "$tmp/all.c"
${CC:-cc} -E -P -nostdinc -undef -DLN_CDEF -I "$tmp" -I core "$tmp/all.c" 2>"$tmp/err" || {
  cat "$tmp/err" >&2
  exit 1
}
