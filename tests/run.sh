#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Sets up, builds, and runs every test.
. "$(dirname "${BASH_SOURCE[0]}")/../.ci/setup.sh"
install_python_packages
install_test_packages
build
check_plugin
# Several tests run at a time, and several libtorch pools on one machine slow each other down.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
say "Rust tests"
# Property tests draw the same cases every time. For other ones, here 200 times as many (up to half an hour):
#   SPARSEADV_ROUNDS=200 cargo test --release --locked --test view
cargo test --release --locked
cargo test --release --locked --example train
say "The embedded models and clips, judged by a program that shares nothing with the plugin"
.venv/bin/python tests/python/lossless_check.py --models examples/data --data examples/data --groups figures --windows 8
