#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
#
# Tries the Debian package in a clean Debian, which debootstrap makes: installed, without libtorch, with it, used, and purged. To be run
# by hand, as root.
#
#   bash tests/debian.sh FILE.deb [--pip]
#
#   --pip   takes libtorch by the command that the package tells, not from .venv: gigabytes more to fetch
#
# SPARSEADV_MIRROR  where the packages come from (default http://deb.debian.org/debian)

set -euo pipefail
case ${1:---help} in -*) sed -n '3,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit ;; esac
package=$(realpath -- "$1") pip=${2:-}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
say() { printf '== %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
[ "$(id -u)" -eq 0 ] || die "expected to be called as root, which debootstrap needs"
command -v debootstrap >/dev/null || die "expected debootstrap, found none. Install the package of that name."
. .ci/stage.sh
suite=$(. /etc/os-release && echo "$VERSION_CODENAME") root=$(mktemp -d)
# apt fetches as a user of its own.
chmod 755 "$root"
trap 'umount "$root/proc" 2>/dev/null || true; rm -rf --one-file-system "$root"' EXIT
log=$root/tmp/log
inside() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 chroot "$root" "$@"; }
# Runs it, and looks for a text: expect STATUS TEXT COMMAND...
expect() {
    local status=0 wanted=$1 text=$2
    shift 2
    say "$*"
    inside "$@" >"$log" 2>&1 || status=$?
    [ "$status" -eq "$wanted" ] && grep -qF -- "$text" <(cat "$log"; echo) ||
        die "expected status $wanted and \"$text\", found status $status and: $(tail -n 20 "$log")"
    grep -F -m 1 -- "$text" "$log" || true
}

say "A clean $suite"
debootstrap --variant=minbase "$suite" "$root" "${SPARSEADV_MIRROR:-http://deb.debian.org/debian}" >/dev/null
mountpoint -q "$root/proc" || mount -t proc proc "$root/proc"
cp "$package" "$root/tmp/package.deb"
cp examples/data/figures-walk.mp4 examples/data/figures-c3d.pt "$root/tmp"
inside apt-get update -q >/dev/null
expect 0 'python3 -m pip install --target' \
    apt-get install -y -q --no-install-recommends /tmp/package.deb gstreamer1.0-tools gstreamer1.0-libav gstreamer1.0-plugins-ugly ${pip:+python3-pip}
remedy=$(sed -n 's/.*`\(python3 -m pip install --target [^`]*\)`.*/\1/p' "$log")

say "Without libtorch"
expect 1 "$remedy" gst-sparseadv --help
launch=(gst-launch-1.0 filesrc location=/tmp/figures-walk.mp4 ! decodebin ! sparseadv model=/tmp/figures-c3d.pt
    report-location=/tmp/report.jsonl max-iterations=2 ! x264enc ! mp4mux ! filesink location=/tmp/attacked.mp4)
expect 1 "$remedy" "${launch[@]}"
expect 1 "$remedy" "${launch[@]}"

say "With libtorch"
if [ -n "$pip" ]; then
    # shellcheck disable=SC2086 # words of a command
    inside $remedy
else
    libtorch "$(realpath .venv/libtorch/..)" "$root/usr/lib/sparseadv/python"
fi
expect 0 '' gst-inspect-1.0 --exists sparseadv
expect 0 'time-budget' gst-inspect-1.0 sparseadv
expect 0 'Got EOS' "${launch[@]}"
grep -o '"libtorch":"[^"]*"' "$root/tmp/report.jsonl" | sort -u
expect 0 'libtorch' gst-sparseadv --version
expect 0 'fooled' gst-sparseadv attack /tmp/figures-walk.mp4 /tmp/tool.mp4 --model /tmp/figures-c3d.pt --properties max-iterations=20
expect 0 '.TH gst-sparseadv' zcat /usr/share/man/man1/gst-sparseadv.1.gz

say "Purged"
expect 0 'Removing gst-sparseadv' apt-get purge -y -q gst-sparseadv
[ ! -e "$root/usr/lib/sparseadv" ] && [ ! -e "$root/usr/bin/gst-sparseadv" ] || die "expected nothing of the package to be left"
say "Everything is as expected"
