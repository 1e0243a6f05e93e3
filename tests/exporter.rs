// SPDX-License-Identifier: MPL-2.0

//! The exporter and the package in Python, by checks in Python.

use std::path::Path;
use std::process::Command;

/// Runs a check in an environment that tests/run.sh has made.
fn passes(python: &str, check: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(root.join(python));
    let output = command.arg(root.join("tests/python").join(check)).env("PYTHONDONTWRITEBYTECODE", "1").output();
    let output = output.unwrap_or_else(|error| panic!("{python}: {error}; run tests/run.sh"));
    let [said, errors] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{said}\n{errors}");
}

/// Where the packages of other people are: none of them may change the torch of .venv.
const PACKAGES: &str = "target/python/bin/python";

#[test]
fn checkpoints_and_models_are_exported_or_refused_with_a_sentence() {
    passes(".venv/bin/python", "export_check.py");
}

#[test]
fn models_of_other_packages_see_a_clip_as_the_package_does() {
    passes(PACKAGES, "packages_check.py");
}

#[test]
fn the_wheel_and_the_notebook_give_what_the_element_reports() {
    passes(PACKAGES, "notebook_check.py");
}
