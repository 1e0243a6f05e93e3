// SPDX-License-Identifier: MPL-2.0

//! What is called as `gst-sparseadv`. It looks whether libtorch can be loaded, and becomes the tool. The tool itself is
//! linked to libtorch: without it not even `--help` would start, and the system's loader says nothing of what to do.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

#[allow(dead_code)]
mod libtorch;

use libtorch::Build;

const BUILD: Build = Build { lib: env!("LIBTORCH_LIB"), version: env!("LIBTORCH_VERSION") };

/// The tool, beside this program.
const TOOL: &str = "gst-sparseadv-torch";

fn main() -> ExitCode {
    let said = match std::env::current_exe() {
        Ok(own) => start(own.parent().unwrap_or(Path::new("/"))),
        Err(error) => format!("Expected to find the path of this program, found: {error}. Mount /proc."),
    };
    eprintln!("gst-sparseadv: {said}");
    ExitCode::FAILURE
}

/// Comes back only with what is wrong.
fn start(home: &Path) -> String {
    let tool = home.join(TOOL);
    // The system's loader maps the tool and all that it needs, lists it, and starts nothing.
    let listed = Command::new(&tool).env("LD_TRACE_LOADED_OBJECTS", "1").output();
    let listed = match listed {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(error) => {
            return format!("Expected the program {}, found: {error}. Build or install it again.", tool.display());
        }
    };
    let missing: Vec<&str> = listed.lines().filter_map(|l| l.trim().strip_suffix(" => not found")).collect();
    if !missing.is_empty() {
        return BUILD.missing(home, &format!("no {}", missing.join(", ")));
    }
    let mut found = listed.lines().filter_map(|l| l.split(" => ").nth(1)?.split(" (0x").next());
    let library = found.find(|path| Path::new(path).file_name() == Some(OsStr::new("libtorch_cpu.so")));
    let root = library.and_then(|path| Path::new(path).parent()?.parent());
    if let Some(said) = root.and_then(|root| BUILD.other(root)) {
        eprintln!("gst-sparseadv: {said}");
    }
    let mut arguments = std::env::args_os();
    let mut command = Command::new(&tool);
    // The name that it was called by stands in its own texts.
    command.arg0(arguments.next().unwrap_or_else(|| "gst-sparseadv".into())).args(arguments);
    format!("Expected to start {}, found: {}.", tool.display(), command.exec())
}
