#!/bin/sh
# build.sh VERSION: makes build/lunate_VERSION_ARCH.deb of what is built. Run by `make deb`.
set -eu
version=$1
arch=$(dpkg --print-architecture)
root=build/deb
rm -rf "$root"
mkdir -p "$root/DEBIAN" "$root/etc/lunate"
make --no-print-directory install DESTDIR="$root" PREFIX=/usr >/dev/null
strip --strip-unneeded "$root"/usr/bin/* "$root"/usr/libexec/lunate/*
luajit contrib/sbom.lua "$version" "$root/usr/bin/lunate" "$root/usr/libexec/lunate/lunate-repl" \
  >"$root/usr/share/doc/lunate/lunate.cdx.json"
gzip -9n <CHANGELOG.md >"$root/usr/share/doc/lunate/changelog.gz"
mv "$root/usr/share/doc/lunate/LICENSE" "$root/usr/share/doc/lunate/copyright"

# The libraries that the binaries need, as packages: dpkg-shlibdeps wants a source package around it.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/debian"
printf 'Source: lunate\n\nPackage: lunate\nArchitecture: any\n' >"$work/debian/control"
top=$PWD
depends=$(cd "$work" && dpkg-shlibdeps -O --ignore-missing-info "$top/$root"/usr/bin/* 2>/dev/null)
depends=${depends#shlibs:Depends=}
# The REPL's line editor does without: lunate then reads plain lines.
readline=$(cd "$work" && dpkg-shlibdeps -O "$top/$root"/usr/libexec/lunate/lunate-repl 2>/dev/null |
  grep -o 'libreadline[^,]*')

cat >"$root/DEBIAN/control" <<CONTROL
Package: lunate
Version: $version
Architecture: $arch
Maintainer: The Lunate authors <lunate@localhost>
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f1)
Depends: $depends, adduser
Recommends: lua-busted, libcurl4, $readline
Section: net
Priority: optional
Description: Lua-scriptable HL7 integration engine
 Lunate receives HL7 v2 messages over MLLP, keeps each one durably before it is
 acknowledged, runs a Lua script per channel to filter and transform it, and
 delivers the result in order. One engine per site: lunate@NAME.service runs
 /etc/lunate/NAME.
CONTROL
for script in postinst prerm postrm; do
  install -m 0755 "contrib/deb/$script" "$root/DEBIAN/$script"
done
deb=build/lunate_${version}_$arch.deb
dpkg-deb --root-owner-group --build "$root" "$deb" >/dev/null
rm -rf "$root"
echo "$deb"
