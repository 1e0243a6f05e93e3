#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Sets up, builds, and runs every test.
. "$(dirname "${BASH_SOURCE[0]}")/../.ci/setup.sh"
install_python_packages
build
check_plugin
# Two libtorch pools on one machine slow each other down.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
say "Rust tests"
cargo test --release --locked "$@"
