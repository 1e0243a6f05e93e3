// SPDX-License-Identifier: MPL-2.0

//! What a process holds on to.

use std::fmt;

use anyhow::{Context, ensure};
use gst::prelude::*;

#[derive(Clone, Debug)]
pub struct Vitals {
    /// In KiB.
    memory: u64,
    threads: usize,
    descriptors: usize,
    /// Objects of GStreamer that are alive: elements, and all.
    elements: usize,
    objects: usize,
}

/// Memory that a round more may take: libtorch and the allocator keep some, and more streams at a time need more.
const ROOM: u64 = 300 << 10;

impl Vitals {
    pub fn now() -> anyhow::Result<Self> {
        // SAFETY: gives memory that is free back, so that what is left is in use.
        unsafe { libc::malloc_trim(0) };
        let status = std::fs::read_to_string("/proc/self/status")?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).context("a field of the status")?;
            let number = line.split_whitespace().next().context("a number")?;
            Ok::<u64, anyhow::Error>(number.parse()?)
        };
        let (elements, objects) =
            alive().context("Expected the tracer leaks to say what is alive, found that it does not.")?;
        Ok(Self {
            memory: field("VmRSS:")?,
            threads: field("Threads:")? as usize,
            descriptors: std::fs::read_dir("/proc/self/fd")?.count(),
            elements,
            objects,
        })
    }

    /// Whether it is as it was after the warm-up.
    pub fn check(&self, warm: &Self, rounds: u64) -> anyhow::Result<()> {
        ensure!(self.elements == 0, "{} elements are left: {self}", self.elements);
        ensure!(self.objects <= warm.objects + 8, "objects pile up: {self}, before {warm}");
        ensure!(self.threads <= warm.threads + 2, "threads pile up: {self}, before {warm}");
        ensure!(self.descriptors <= warm.descriptors + 4, "descriptors pile up: {self}, before {warm}");
        ensure!(self.memory <= warm.memory + ROOM, "memory piles up over {rounds} rounds: {self}, before {warm}");
        Ok(())
    }
}

impl fmt::Display for Vitals {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { memory, threads, descriptors, elements, objects } = self;
        write!(
            f,
            "{} MiB, {threads} threads, {descriptors} descriptors, {elements} elements and {objects} objects alive",
            memory >> 10
        )
    }
}

/// Elements of this plugin and all objects that the tracer knows of.
fn alive() -> Option<(usize, usize)> {
    let tracers = gst::active_tracers();
    let leaks = tracers.iter().find(|tracer| tracer.type_().name() == "GstLeaksTracer")?;
    let live = leaks.emit_by_name::<Option<gst::Structure>>("get-live-objects", &[])?;
    let list = live.get::<gst::List>("live-objects-list").ok()?;
    let names = list.iter().filter_map(|value| {
        let described = value.get::<gst::Structure>().ok()?;
        let object = described.value("object").ok()?;
        Some(object.type_().name().to_string())
    });
    let names: Vec<String> = names.collect();
    let elements = names.iter().filter(|name| ["SparseAdv", "ClipClassifier"].iter().any(|own| name.contains(own)));
    let found = (elements.count(), names.len());
    // The tracer of 1.22 gives away references that it does not have.
    std::mem::forget((list, live));
    Some(found)
}
