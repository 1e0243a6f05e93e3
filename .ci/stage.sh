# SPDX-License-Identifier: MPL-2.0
# Sourced by examples/install.sh and examples/debian.sh: lays out what is installed.
#
# All that runs lies in one folder, PREFIX/lib/sparseadv, and finds the rest beside itself. The plugin's folder and PATH get links. cargo-c
# installs a C library with its headers, into a system's folders. It knows no user's folder, no tool, no manual, and Debian 12's own
# is too old for edition 2024. So this is plain shell.

# What was built, stripped, with the run path of an installation: binaries BUILT FOLDER
binaries() {
    local file
    mkdir -p "$2"
    for file in libgstsparseadv.so libsparseadv_torch.so gst-sparseadv gst-sparseadv-torch; do
        [ -f "$1/$file" ] || die "expected $1/$file, found none. Run \`cargo build --release --locked\`."
        # The folder that it was built in may go, or be somebody else's on another machine.
        perl -0777 -pe 's{(\$ORIGIN/python/torch/lib)(:[^\0]*)}{$1 . "\0" x length $2}ge' "$1/$file" >"$2/$file"
        strip --strip-unneeded "$2/$file"
        chmod 755 "$2/$file"
    done
}

# Manual pages, completions and the license: documents BUILT PREFIX
documents() {
    "$1/gst-sparseadv" manual "$2"
    install -D -m 644 LICENSE-MPL-2.0 "$2/share/doc/gst-sparseadv/LICENSE-MPL-2.0"
}

# libtorch as pip would put it there, without what only Python needs: libtorch SITE_PACKAGES FOLDER
libtorch() {
    local file folder
    (cd "$1" && find torch/lib nvidia -name '*.so*' -print0 2>/dev/null; printf 'torch/version.py\0') |
        while IFS= read -r -d '' file; do
            folder=$2/${file%/*}
            [ -d "$folder" ] || mkdir -p "$folder"
            # A second name for the same file takes no room, and stays when pip replaces the first.
            cp -lL "$1/$file" "$2/$file" 2>/dev/null || cp -L "$1/$file" "$2/$file"
        done
}
