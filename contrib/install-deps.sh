#!/bin/sh
# install-deps.sh PACKAGE...: installs the Debian packages that are missing, saying what it does.
set -eu
missing=
for p in "$@"; do
  dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
echo "Lunate needs these Debian packages, which are missing:$missing"
sudo=
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || {
    echo "Install them as root, then try again:  apt-get install$missing" >&2
    exit 1
  }
  sudo=sudo
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "Installing them: ${sudo:+sudo }apt-get install --no-install-recommends$missing"
# shellcheck disable=SC2086
if ! { $sudo apt-get update && $sudo env DEBIAN_FRONTEND=noninteractive \
  apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "apt-get failed (above). Install by hand, then try again:  apt-get install$missing" >&2
  exit 1
fi
