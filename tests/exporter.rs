// SPDX-License-Identifier: MPL-2.0

//! The exporter in Python, by a check in Python.

use std::path::Path;
use std::process::Command;

#[test]
fn checkpoints_and_models_are_exported_or_refused_with_a_sentence() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(".venv/bin/python");
    let mut check = Command::new(python);
    let check = check.arg(root.join("tests/python/export_check.py")).env("PYTHONDONTWRITEBYTECODE", "1").output();
    let check = check.expect("expected .venv/bin/python; run tests/run.sh");
    assert!(
        check.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&check.stdout),
        String::from_utf8_lossy(&check.stderr)
    );
}
