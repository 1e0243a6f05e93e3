// SPDX-License-Identifier: MPL-2.0

//! The libtorch that runs, which need not be the one that the plugin was built against.

use std::ffi::c_void;
use std::path::{Path, PathBuf};

use crate::torch;

#[path = "../load/libtorch.rs"]
#[allow(dead_code)]
mod folder;

/// The version that the plugin was built against.
pub const BUILT_AGAINST: &str = env!("LIBTORCH_VERSION");

/// The version of the libtorch loaded into this process.
pub fn version() -> String {
    let root = loaded().and_then(|library| Some(library.parent()?.parent()?.to_path_buf()));
    let found = root.as_deref().and_then(folder::stated).or_else(of_abi);
    found.unwrap_or_else(|| "unknown".into())
}

/// Where this process has libtorch_cpu from.
fn loaded() -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let paths = maps.lines().filter_map(|line| {
        let path = &line[line.find('/')?..];
        Some(Path::new(path.trim_end_matches(" (deleted)")))
    });
    let mut ours = paths.filter(|path| {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("");
        name.starts_with("libtorch_cpu.so")
    });
    ours.next().map(Path::to_path_buf)
}

/// What the library says itself: one byte each of the major, minor and patch numbers, in the top ones.
fn of_abi() -> Option<String> {
    let symbol = torch::symbol(c"aoti_torch_abi_version")?;
    // SAFETY: the symbol, where there is one, is a function of this type in torch/csrc/inductor/aoti_torch/c/shim.h since
    // PyTorch 2.9.
    let function = unsafe { std::mem::transmute::<*mut c_void, extern "C" fn() -> u64>(symbol.as_ptr()) };
    let number = function();
    let [major, minor, patch, ..] = number.to_be_bytes();
    Some(format!("{major}.{minor}.{patch}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_libtorch_that_runs_is_the_one_of_the_build() {
        // Loads the library, should the linker have put that off.
        let _ = tch::get_num_threads();
        assert!(loaded().is_some_and(|path| path.exists()));
        assert_eq!(version(), BUILT_AGAINST);
        let plain = BUILT_AGAINST.split('+').next();
        assert_eq!(of_abi().as_deref(), plain);
    }
}
