// SPDX-License-Identifier: MPL-2.0

//! What a machine without a GPU can check of the CUDA path: that the libraries which register it are linked at all, and
//! that the libtorch beside the build is found without LD_LIBRARY_PATH. Both fail silently otherwise.

use std::path::PathBuf;
use std::process::Command;

/// The dynamic section of the plugin's library.
fn dynamic_section() -> String {
    let exe = std::env::current_exe().expect("this program's path");
    let deps = exe.parent().expect("its folder");
    let places = [deps.parent().expect("the profile's folder"), deps];
    let plugin: Vec<PathBuf> =
        places.iter().map(|folder| folder.join("libsparseadv_torch.so")).filter(|path| path.exists()).collect();
    let plugin = plugin.first().expect("expected a built plugin; run `cargo build --release` first");
    let output = Command::new("readelf").arg("-d").arg(plugin).output();
    let output = output.expect("expected readelf, of the package binutils");
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn libtorch_is_found_by_the_run_path() {
    let section = dynamic_section();
    // LD_LIBRARY_PATH, which may hold another libtorch, comes before RUNPATH and behind RPATH.
    assert!(!section.contains("(RUNPATH)"), "{section}");
    let line = section.lines().find(|l| l.contains("(RPATH)"));
    let line = line.expect("a run path");
    // What is installed beside it goes before the libtorch of the build.
    let path = line.split(['[', ']']).nth(1).and_then(|path| path.strip_prefix("$ORIGIN/python/torch/lib:"));
    let lib = PathBuf::from(path.expect("two folders"));
    assert!(lib.join("libtorch_cpu.so").exists(), "{line}");
    // A wheel with CUDA registers it from a library of which no symbol is called.
    assert_eq!(lib.join("libtorch_cuda.so").exists(), section.contains("[libtorch_cuda.so]"), "{section}");
}

/// ROS, conda and CUDA set-ups put folders with another libtorch into LD_LIBRARY_PATH.
#[test]
fn another_libtorch_in_the_library_path_does_no_harm() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["libtorch_cpu.so", "libtorch.so", "libc10.so"] {
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-x", "c", "/dev/null", "-o"]);
        compiler.arg(folder.path().join(name));
        compiler.arg(format!("-Wl,-soname,{name}"));
        assert!(compiler.status().expect("a C compiler").success());
    }
    let mut tool = Command::new(env!("CARGO_BIN_EXE_gst-sparseadv"));
    let ran = tool.arg("--version").env("LD_LIBRARY_PATH", folder.path()).output();
    let ran = ran.expect("the tool");
    assert!(ran.status.success(), "{ran:?}");
}
