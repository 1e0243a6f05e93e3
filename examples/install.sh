#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
#
# Sets up, builds and installs: the plugin where GStreamer looks, the tool gst-sparseadv into PATH, its manual pages, completions for
# bash, zsh and fish, and a libtorch of its own. Nothing of it needs this folder any more.
#
#   bash examples/install.sh [--prefix DIR] [--uninstall]
#
#   --prefix DIR   a system's folder such as /usr/local (default ~/.local)
#   --uninstall    takes away exactly what was installed there
#   --help         this text
#
# Everything lies in DIR/lib/sparseadv, with links from the other places. Called again, it replaces what it installed before. A file
# that it did not install is never overwritten.

set -euo pipefail
usage() { sed -n '3,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

prefix=$HOME/.local uninstall=
while [ $# -gt 0 ]; do
    case $1 in
        --prefix) prefix=${2:?expected a folder behind --prefix}; shift 2 ;;
        --prefix=*) prefix=${1#*=}; shift ;;
        --uninstall) uninstall=yes; shift ;;
        --help) usage; exit ;;
        *) fail "expected --prefix DIR, --uninstall or --help, found $1" ;;
    esac
done
prefix=$(realpath -m -- "$prefix")
home=$prefix/lib/sparseadv
# What was installed, one path a line: files and links, then the folders that were made for them, deepest first.
list=$home/installed

# GStreamer looks in a user's data folder, and in the system's own folder.
plugins() {
    if [ "$prefix" = "$(realpath -m -- "$HOME/.local")" ]; then
        printf '%s/gstreamer-1.0/plugins' "${XDG_DATA_HOME:-$HOME/.local/share}"
    elif [ "$prefix" = "$(pkg-config --variable=prefix gstreamer-1.0)" ]; then
        pkg-config --variable=pluginsdir gstreamer-1.0
    else
        printf '%s/lib/gstreamer-1.0' "$prefix"
    fi
}

# What an earlier call installed.
remove() {
    local path paths=()
    mapfile -t paths <"$list"
    for path in "${paths[@]}"; do
        if [ -d "$path" ] && [ ! -L "$path" ]; then
            rmdir --ignore-fail-on-non-empty -- "$path"
        else
            rm -f -- "$path"
        fi
    done
}

if [ -n "$uninstall" ]; then
    [ -f "$list" ] || fail "expected the list of what was installed, $list, found none. Name the folder it was installed in with --prefix."
    remove
    printf 'Removed what was installed in %s\n' "$prefix"
    exit
fi

. "$(dirname "${BASH_SOURCE[0]}")/../.ci/setup.sh"
. .ci/stage.sh
build
made=()
make_folder() { # and those above it, noting them
    [ -d "$1" ] || { make_folder "$(dirname "$1")"; mkdir "$1"; made=("$1" "${made[@]}"); }
}
make_folder "$prefix"
[ -w "$prefix" ] || die "expected a folder that can be written to, found $prefix. Become root, or name another with --prefix."
# On the same disk: what is complete is moved into place.
stage=$(mktemp -d "$prefix/.sparseadv-XXXXXX")
trap 'rm -rf "$stage"' EXIT
tree=$stage/tree
binaries target/release "$tree/lib/sparseadv"
documents target/release "$tree"
libtorch "$(realpath .venv/libtorch/..)" "$tree/lib/sparseadv/python"
mkdir "$tree/bin"
ln -s ../lib/sparseadv/gst-sparseadv "$tree/bin/gst-sparseadv"

# Every file with its place. The plugin's link may lie outside of the prefix.
plugin=$(plugins)/libgstsparseadv.so
files=()
while IFS= read -r -d '' file; do files+=("$file"); done < <(cd "$tree" && find . ! -type d -printf '%P\0')
for place in "${files[@]/#/$prefix/}" "$plugin"; do
    if [ -e "$place" ] || [ -L "$place" ]; then
        grep -qxF -- "$place" "$list" 2>/dev/null ||
            die "expected no file at $place, found one that this program has not installed. Move it away and run this again."
    fi
done
[ ! -f "$list" ] || remove

for file in "${files[@]}"; do
    make_folder "$(dirname "$prefix/$file")"
    mv -- "$tree/$file" "$prefix/$file"
done
make_folder "$(dirname "$plugin")"
ln -s "$home/libgstsparseadv.so" "$plugin"
printf '%s\n' "${files[@]/#/$prefix/}" "$plugin" "$list" "${made[@]}" >"$list"

say "Installed in $prefix. \`bash examples/install.sh --prefix $prefix --uninstall\` removes it."
case ":$PATH:" in *":$prefix/bin:"*) ;; *) say "$prefix/bin is not in PATH: add it to call gst-sparseadv by name." ;; esac
if ! env -u GST_PLUGIN_PATH gst-inspect-1.0 sparseadv >/dev/null 2>&1; then
    say "GStreamer does not look in ${plugin%/*} by itself: export GST_PLUGIN_PATH=${plugin%/*}"
fi
