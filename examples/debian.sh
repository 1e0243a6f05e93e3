#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
#
# Sets up, builds, and makes a Debian package of the plugin and the tool for the distribution that it runs on.
#
#   bash examples/debian.sh [FILE.deb]     (default out/gst-sparseadv.deb)
#
# No Debian package has the libtorch that is needed, and a copy of it would make this one gigabytes large. So the package is without
# libtorch. It looks for it in /usr/lib/sparseadv/python, and says how pip puts it there. Purging the package removes it again.
#
# cargo-deb copies files as they were built. It has no links, and no step that makes manual pages, or takes the build's folder out of
# the run path. dpkg-deb takes what .ci/stage.sh lays out, and comes with every Debian.

set -euo pipefail
case ${1:-} in -*) sed -n '3,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit ;; esac
target=$(realpath -m -- "${1:-$(dirname "${BASH_SOURCE[0]}")/../out/gst-sparseadv.deb}")

. "$(dirname "${BASH_SOURCE[0]}")/../.ci/setup.sh"
. .ci/stage.sh
build
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/tree
binaries target/release "$tree/usr/lib/sparseadv"
documents target/release "$tree/usr"
gzip -9n "$tree"/usr/share/man/man1/*
plugins=$tree$(pkg-config --variable=pluginsdir gstreamer-1.0)
mkdir -p "$plugins" "$tree/usr/bin"
ln -s ../lib/sparseadv/gst-sparseadv "$tree/usr/bin/gst-sparseadv"
ln -s /usr/lib/sparseadv/libgstsparseadv.so "$plugins/libgstsparseadv.so"

# The packages of the libraries that the binaries are linked to. Those of libtorch have none.
mkdir -p "$work/debian" "$tree/DEBIAN"
printf 'Source: gst-sparseadv\n\nPackage: gst-sparseadv\nArchitecture: any\n' >"$work/debian/control"
depends=$(cd "$work" && dpkg-shlibdeps -O --ignore-missing-info tree/usr/lib/sparseadv/* 2>"$work/said" | sed -n 's/^shlibs:Depends=//p') ||
    die "expected dpkg-shlibdeps to find the libraries' packages, found: $(cat "$work/said")"
version=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' Cargo.toml)
cat >"$tree/DEBIAN/control" <<END
Package: gst-sparseadv
Version: $version
Architecture: $(dpkg --print-architecture)
Maintainer: sparseadv <noreply@sparseadv.invalid>
Section: video
Priority: optional
Depends: $depends, gstreamer1.0-plugins-base, gstreamer1.0-plugins-good
Recommends: gstreamer1.0-libav, gstreamer1.0-plugins-ugly, gstreamer1.0-plugins-bad, gstreamer1.0-tools, python3-pip
Installed-Size: $(du -sk "$tree/usr" | cut -f 1)
Description: GStreamer plugin of sparse adversarial attacks on video classifiers
 The element sparseadv tests how robust a video classifier is: it attacks it
 with the video that passes through. The tool gst-sparseadv does so with files
 and data sets. Both need libtorch $TORCH_VERSION in /usr/lib/sparseadv/python,
 and say how to put it there.
END
cat >"$tree/DEBIAN/postinst" <<'END'
#!/bin/sh
# Says how to install libtorch, where there is none.
set -e
[ "$1" != configure ] || gst-sparseadv --version >/dev/null || true
END
cat >"$tree/DEBIAN/postrm" <<'END'
#!/bin/sh
set -e
[ "$1" = purge ] || exit 0
rm -rf /usr/lib/sparseadv/python
# dpkg left it, as long as libtorch lay in it.
[ ! -d /usr/lib/sparseadv ] || rmdir --ignore-fail-on-non-empty /usr/lib/sparseadv
END
chmod 755 "$tree/DEBIAN/postinst" "$tree/DEBIAN/postrm"
mkdir -p "$(dirname "$target")"
dpkg-deb --root-owner-group --build "$tree" "$work/package.deb" >/dev/null
mv "$work/package.deb" "$target"
say "Made $target. \`apt-get install $target\` installs it, and \`bash tests/debian.sh $target\` tries it in a clean Debian."
