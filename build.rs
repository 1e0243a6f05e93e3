//! Checks libtorch's version, bakes its folder into the run path, and keeps the CUDA library linked. All three packages
//! of the project have this script.

use std::{env, fs, path::Path};

#[path = "src/load/libtorch.rs"]
#[allow(dead_code)]
mod libtorch;

/// The libtorch that the `tch` release in Cargo.toml is written for.
const LIBTORCH_VERSION: &str = "2.13.0";

fn main() {
    gst_plugin_version_helper::info();
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    // The commit stands in every result: with a rule of one's own, Cargo runs this again only when one of these
    // changes.
    let root = if Path::new("build.rs").exists() { "" } else { "../../../" };
    for path in ["build.rs", "Cargo.toml", "src", ".git/logs/HEAD"] {
        let path = format!("{root}{path}");
        if Path::new(&path).exists() {
            println!("cargo:rerun-if-changed={path}");
        }
    }

    // Set by torch-sys, whose `links` key is `tch`.
    let Ok(lib_dir) = env::var("DEP_TCH_LIBTORCH_LIB") else {
        return;
    };
    let lib_dir = fs::canonicalize(&lib_dir).unwrap_or_else(|_| lib_dir.into());
    check_version(&lib_dir);
    println!("cargo:rustc-env=LIBTORCH_LIB={}", lib_dir.display());
    link(&lib_dir);
}

fn link(lib_dir: &Path) {
    // DT_RPATH, not DT_RUNPATH: another libtorch in LD_LIBRARY_PATH, as ROS or a conda environment sets it, would come
    // before the latter. What is installed beside the program comes first.
    println!("cargo:rustc-link-arg=-Wl,--disable-new-dtags");
    println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/{}:{}", libtorch::BESIDE, lib_dir.display());
    // The linker's --as-needed drops libtorch_cuda, whose symbols are only reached through registration at load time;
    // without it no GPU is ever seen, and nothing says so. The plugin and `gst-sparseadv` load it through others.
    let kinds: &[&str] = match env::var("CARGO_PKG_NAME").as_deref() {
        Ok("gst-plugin-sparseadv") => &["bin=gst-sparseadv-torch", "tests", "examples"],
        Ok("sparseadv-torch") => &["cdylib"],
        _ => &[],
    };
    if lib_dir.join("libtorch_cuda.so").exists() {
        for kind in kinds {
            println!("cargo:rustc-link-arg-{kind}=-Wl,--no-as-needed,-ltorch_cuda,--as-needed");
        }
    }
}

/// torch-sys reads `build-version`, which the PyPI wheel lacks, so a wrong wheel would only show up as strange C++
/// errors.
fn check_version(lib_dir: &Path) {
    let root = lib_dir.parent().unwrap_or(lib_dir);
    let found = libtorch::stated(root);
    // For records of what made a result.
    println!("cargo:rustc-env=LIBTORCH_VERSION={}", found.as_deref().unwrap_or(LIBTORCH_VERSION));
    match found {
        Some(v) if v.split('+').next() == Some(LIBTORCH_VERSION) => {}
        Some(v) => panic!(
            "expected libtorch {LIBTORCH_VERSION}, found {v} in {}. Install it with \
             `pip install torch=={LIBTORCH_VERSION}` into .venv (the set-up command of README.md does), or point LIBTORCH at such a copy.",
            root.display()
        ),
        None => println!(
            "cargo:warning=cannot tell the version of the libtorch in {}; {LIBTORCH_VERSION} is needed",
            root.display()
        ),
    }
}
