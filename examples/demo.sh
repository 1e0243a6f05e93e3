#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Sets up, builds, and attacks the embedded clip with the embedded model: out/attacked.mp4, out/attacked.png and a printed result.
. "$(dirname "${BASH_SOURCE[0]}")/../.ci/setup.sh"
build
check_plugin
mkdir -p out
say "Attacking examples/data/figures-walk.mp4"
target/release/gst-sparseadv attack examples/data/figures-walk.mp4 out/attacked.mp4 --model examples/data/figures-c3d.pt \
    --picture out/attacked.png --report out/attacked.jsonl "$@"
