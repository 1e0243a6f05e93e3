// SPDX-License-Identifier: MPL-2.0

//! What a universal perturbation costs a large frame, beside `identity`: both in one run, in turns.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use gstsparseadv::provenance::Versions;
use gstsparseadv::universal::Universal;

use crate::timed;

const FRAMES: u32 = 300;

pub fn measure(files: &[PathBuf], json: Option<&Path>) -> anyhow::Result<()> {
    for file in files {
        let (universal, _) = Universal::load_hashed(file)?;
        let run = |element: &str| -> anyhow::Result<f64> {
            // One frame again and again: to paint each would cost more than what is measured.
            let (wall, _) = timed::pipeline(&format!(
                "videotestsrc num-buffers=1 ! video/x-raw,format=I420,width=1920,height=1080,framerate=30/1 \
                 ! imagefreeze num-buffers={FRAMES} ! {element} ! fakesink sync=false"
            ))?;
            Ok(wall)
        };
        let element = format!("sparseadv perturbation=\"{}\"", file.display());
        let (mut plain, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..4 {
            plain.push(run("identity"));
            ours.push(run(&element));
        }
        let frame = |times: Vec<anyhow::Result<f64>>| -> anyhow::Result<f64> {
            Ok(timed::least(times.into_iter())? / f64::from(FRAMES))
        };
        let (plain, ours) = (frame(plain)?, frame(ours)?);
        let kind = serde_json::to_string(&universal.header.kind)?.replace('"', "");
        let milliseconds = |seconds: f64| format!("{:.3}", 1e3 * seconds);
        let cells = [kind, FRAMES.to_string(), milliseconds(ours), milliseconds(plain), format!("{:.0}", 1.0 / ours)];
        println!("{}: {}", file.display(), cells.join(", "));
        if let Some(json) = json {
            let Versions { plugin, libtorch, gstreamer } = Versions::here();
            let line =
                serde_json::json!({ "plugin": plugin, "libtorch": libtorch, "gstreamer": gstreamer, "cells": cells });
            writeln!(File::options().create(true).append(true).open(json)?, "{line}")?;
        }
    }
    Ok(())
}
