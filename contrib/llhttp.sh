#!/bin/sh
# llhttp.sh DIR: puts llhttp's C source (the HTTP parser behind `admin`) into DIR, from Debian's package
# node-llhttp: the installed one, or the package's file, fetched and unpacked without being installed,
# since installing it would bring in nodejs (55 MB) for three C files. What was fetched is kept in the
# user's cache, so that a later checkout builds without a network.
set -eu
dir=$1
from=/usr/share
cache=${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/lunate/llhttp
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
sandbox=
[ "$(id -u)" != 0 ] || sandbox='-o APT::Sandbox::User=root'
fetch() {
  # shellcheck disable=SC2086
  (cd "$tmp" && apt-get $sandbox download node-llhttp && dpkg-deb -x node-llhttp_*.deb .) >"$tmp/log" 2>&1
}
update() {
  sudo=
  [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo apt-get update >"$tmp/log" 2>&1
}
if [ ! -f "$from/llhttp/llhttp.c" ] && [ -f "$cache/llhttp/llhttp.c" ]; then
  from=$cache
elif [ ! -f "$from/llhttp/llhttp.c" ]; then
  echo "Fetching the source of Debian's package node-llhttp: apt-get download node-llhttp"
  fetch || { update && fetch; } || {
    tail -n 20 "$tmp/log" >&2
    echo "Could not fetch it (above). Install it by hand, then try again:  apt-get install node-llhttp" >&2
    exit 1
  }
  from=$tmp/usr/share
  mkdir -p "$cache/include" 2>/dev/null && cp -R "$from/llhttp" "$cache" && cp -R "$from/include/llhttp" "$cache/include" ||
    echo "(it could not be kept in $cache)"
fi
mkdir -p "$dir"
cp "$from/include/llhttp/llhttp.h" "$from/llhttp/api.c" "$from/llhttp/http.c" "$dir"
cp "$from/llhttp/llhttp.c" "$dir/llhttp.c.tmp"
mv "$dir/llhttp.c.tmp" "$dir/llhttp.c"
