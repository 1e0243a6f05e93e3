# SPDX-License-Identifier: MPL-2.0
# Sourced by examples/demo.sh and tests/run.sh: installs what is missing, and nothing that is there. Safe to repeat.
#
# SPARSEADV_TORCH_INDEX  another package index for the torch wheel, for instance PyTorch's own one of CUDA wheels of another version
# SPARSEADV_PYTHON       the Python 3 to make .venv with (default python3)

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

TORCH_VERSION=2.13.0

# Bold on a terminal, plain in a log.
say() { if [ -t 2 ]; then printf '\033[1m%s\033[0m\n' "$*"; else printf '%s\n' "$*"; fi >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

. .ci/torch.sh

install_packages() {
    local wanted=(build-essential pkg-config ca-certificates python3-venv libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev
        gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly
        gstreamer1.0-libav gstreamer1.0-x)
    local missing=() package
    for package in "${wanted[@]}"; do
        [ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | cut -c1-2)" = ii ] || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    command -v apt-get >/dev/null ||
        die "expected these packages or your distribution's equals: ${missing[*]}. Install them and run this again."
    local sudo=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || die "expected root or sudo to install ${missing[*]}. Install them and run this again."
        sudo=(sudo)
    fi
    say "Installing ${missing[*]}"
    "${sudo[@]}" apt-get update -q >&2
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >&2
}

check_versions() {
    command -v cargo >/dev/null || die "expected a Rust toolchain (cargo), found none. Install one from https://rustup.rs and run this again."
    pkg-config --atleast-version=1.22 gstreamer-1.0 ||
        die "expected GStreamer 1.22 or newer, found $(pkg-config --modversion gstreamer-1.0 2>/dev/null || echo none)."
}

# The wheel brings libtorch. It stays in .venv; build.rs writes its place into the plugin, so that nothing needs LD_LIBRARY_PATH.
install_torch() {
    local python=${SPARSEADV_PYTHON:-python3}
    if ! .venv/bin/python -c '' 2>/dev/null; then
        rm -rf .venv
        "$python" -m venv .venv || die "expected $python with the venv module. Install python3-venv, or name another in SPARSEADV_PYTHON."
    fi
    local found
    found=$(.venv/bin/python -c 'import importlib.metadata as m; print(m.version("torch"))' 2>/dev/null || true)
    if [ "${found%%+*}" != "$TORCH_VERSION" ]; then
        local index
        index=$(torch_index .venv/bin/python)
        say "Installing torch $TORCH_VERSION into .venv (some minutes, and up to 5 GB with CUDA)"
        if ! .venv/bin/pip install -q ${index:+--index-url "$index"} "torch==$TORCH_VERSION" >&2; then
            [ "$index" = "$cpu_index" ] && [ -z "${SPARSEADV_TORCH_INDEX:-}" ] || return 1
            say "$index does not have it whole: torch comes with CUDA, from the ordinary package index"
            .venv/bin/pip install -q "torch==$TORCH_VERSION" >&2
        fi
    fi
    ln -sfn "$(.venv/bin/python -c 'import importlib.util as u, os; print(os.path.dirname(u.find_spec("torch").origin))')" .venv/libtorch
}

# For the independent checks and the exporter alone.
install_python_packages() {
    .venv/bin/python -c 'import av, numpy' 2>/dev/null || .venv/bin/pip install -q 'numpy>=2,<3' 'av>=14,<19' >&2
}

# For the checks of the exporter and of the Python package: other people's packages, beside the torch of .venv, which they may not change.
install_test_packages() {
    local wanted=tests/python/packages.txt folder=target/python
    cmp -s "$wanted" "$folder/installed.txt" && return
    say "Installing the packages of $wanted into $folder"
    rm -rf "$folder"
    .venv/bin/python -m venv "$folder"
    local site='import sysconfig; print(sysconfig.get_path("purelib"))'
    .venv/bin/python -c "$site" >"$("$folder/bin/python" -c "$site")/venv.pth"
    # What comes as a source is built with one setuptools, not with one for each.
    "$folder/bin/pip" install -q --no-compile setuptools==84.2.1 >&2
    "$folder/bin/pip" install -q --no-deps --no-compile --no-build-isolation -r "$wanted" >&2
    cp "$wanted" "$folder/installed.txt"
}

build() {
    say "Building"
    cargo build --release --locked
}

# The plugin says itself why its elements cannot be loaded, so that GStreamer has no cause to remember a failure.
check_plugin() {
    export GST_PLUGIN_PATH="$PWD/target/release${GST_PLUGIN_PATH:+:$GST_PLUGIN_PATH}"
    local said
    said=$(gst-inspect-1.0 sparseadv 2>&1) || die "expected gst-inspect-1.0 to find sparseadv in $PWD/target/release, found: $(tail -n 1 <<<"$said")"
    ! grep -q 'Cannot be loaded' <<<"$said" || die "$(sed -n 's/^ *Description *//p' <<<"$said")"
}

install_packages
check_versions
install_torch
