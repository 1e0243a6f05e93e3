// SPDX-License-Identifier: MPL-2.0

//! Where libtorch is expected, what it says of itself, and what is said where it cannot be loaded. The build, the plugin's
//! loader, the tool's launcher and the library share this file, so it uses nothing but the standard library.

use std::path::{Path, PathBuf};

/// Beside the installed plugin: what pip makes there with `--target`, or the installation copies. The run path has it too.
pub const BESIDE: &str = "python/torch/lib";

/// What the folder of a libtorch says: `version.py` of a wheel, `build-version` of a libtorch archive.
pub fn stated(root: &Path) -> Option<String> {
    let wheel = std::fs::read_to_string(root.join("version.py")).ok().and_then(|text| {
        let line = text.lines().find(|l| l.starts_with("__version__"))?;
        line.split(['\'', '"']).nth(1).map(str::to_string)
    });
    wheel.or_else(|| {
        let text = std::fs::read_to_string(root.join("build-version")).ok()?;
        Some(text.trim().to_string())
    })
}

/// The build, as its script tells it to the loader and to the launcher.
pub struct Build {
    /// The folder of the libtorch that it was linked to.
    pub lib: &'static str,
    /// The version of it.
    pub version: &'static str,
}

impl Build {
    /// Where libtorch is looked for, by what lies in the folder `home`.
    pub fn places(&self, home: &Path) -> Vec<PathBuf> {
        let mut places = vec![home.join(BESIDE)];
        if !is_installed(home) {
            places.push(self.lib.into());
        }
        places
    }

    /// What is said where the loader of the system could not load what lies in `home`.
    pub fn missing(&self, home: &Path, found: &str) -> String {
        // What follows a plus says which package index it is from. Those with CUDA are in the ordinary one.
        let (version, local) = self.version.split_once('+').unwrap_or((self.version, ""));
        let index = if local == "cpu" { " --index-url https://download.pytorch.org/whl/cpu" } else { "" };
        let (place, remedy) = if is_installed(home) {
            let python = home.join("python");
            let remedy = format!("Run `python3 -m pip install --target {} torch=={version}{index}`", python.display());
            (home.join(BESIDE), remedy)
        } else {
            let remedy = "Run `bash examples/demo.sh` in the project's folder, which installs it and builds anew";
            (self.lib.into(), remedy.into())
        };
        format!(
            "Expected libtorch {version} in {}, found that it cannot be loaded: {found}. {remedy}.",
            place.display()
        )
    }

    /// What is said where a libtorch of another version lies in `root`.
    pub fn other(&self, root: &Path) -> Option<String> {
        let found = stated(root).filter(|found| found != self.version)?;
        Some(format!(
            "Expected libtorch {}, against which this program is built, found libtorch {found} in {}. Results may be wrong: install that \
             version there, or build the plugin again.",
            self.version,
            root.display()
        ))
    }
}

/// An installation lies in lib/sparseadv, wherever that is. Nothing there may depend on the folder that it was built in.
fn is_installed(home: &Path) -> bool {
    home.ends_with("lib/sparseadv")
}
