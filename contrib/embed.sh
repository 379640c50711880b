#!/bin/sh
# embed.sh FILE...: assembler text that embeds Lua files, as a table of (name, text, length) that
# ends with a null name. lua/a/b.lua becomes module "lunate.a.b"; argparse comes from its package.
set -eu
argparse=
for d in /usr/share/lua/5.1 /usr/share/lua/common; do
  [ -f "$d/argparse.lua" ] && argparse=$d/argparse.lua && break
done
[ -n "$argparse" ] || { echo "argparse.lua not found: install the package lua-argparse" >&2; exit 1; }
echo '.section .note.GNU-stack,"",%progbits'
echo '.section .rodata'
n=0
table=
for f in "$@" "$argparse"; do
  case "$f" in
    lua/*) m=$(printf '%s' "${f#lua/}" | sed 's/\.lua$//; s/\/init$//; s,/,.,g'); m=lunate.$m ;;
    *) m=argparse ;;
  esac
  printf '.Lt%d: .incbin "%s"\n.Le%d: .byte 0\n.Ln%d: .asciz "%s"\n' $n "$f" $n $n "$m"
  table="$table.quad .Ln$n, .Lt$n, .Le$n - .Lt$n
"
  n=$((n + 1))
done
echo '.section .data.rel.ro,"aw"'
echo '.balign 8'
echo '.globl ln_embedded'
echo 'ln_embedded:'
printf '%s' "$table"
echo '.quad 0, 0, 0'
