// SPDX-License-Identifier: MPL-2.0

//! The clips that a perturbation is learned from, and those that it is judged on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use gstsparseadv::dataset;
use gstsparseadv::element::stream::Stream;
use gstsparseadv::element::survive::CONTEXT;
use gstsparseadv::model::Metadata;
use gstsparseadv::provenance;
use gstsparseadv::universal::Universal;
use gstsparseadv::video::view::Samples;
use gstsparseadv::window::Windowing;

use crate::decode;
use crate::interrupt;
use crate::out::errln;

/// A clip of at least a window.
pub struct Clip {
    pub stream: Arc<Stream>,
    pub frames: Vec<gst::Buffer>,
    windowing: Windowing,
    /// What the model says of windows that were asked about, by their first frames.
    labels: Mutex<BTreeMap<usize, usize>>,
}

impl Clip {
    /// The label of the window that begins with this frame. A model says the same every time, so it is asked once.
    pub fn label(&self, first: usize, ask: impl FnOnce() -> anyhow::Result<usize>) -> anyhow::Result<usize> {
        let labels = || self.labels.lock().unwrap_or_else(PoisonError::into_inner);
        let known = labels().get(&first).copied();
        let label = known.map_or_else(ask, Ok)?;
        labels().insert(first, label);
        Ok(label)
    }

    pub fn windowing(&self) -> Windowing {
        self.windowing
    }

    fn bytes(&self) -> usize {
        self.frames.len() * self.stream.info.size()
    }

    /// The frames before a window that begins with this frame at a phase, as they leave: as many as an encoder is shown.
    pub fn before(&self, first: usize, phase: usize, universal: &Universal) -> anyhow::Result<Vec<gst::Buffer>> {
        let stream = Stream::perturbed(self.stream.info.clone(), &universal.header.view, universal);
        let step = self.windowing.step;
        let changed = |back: usize| {
            let mut frame = self.frames[first - back].copy();
            // Frames count backwards from the first of the window.
            let steps = back.div_ceil(step) % universal.period();
            let phase = (phase + universal.period() - steps) % universal.period();
            stream.change(frame.make_mut(), phase).map_err(anyhow::Error::msg)?;
            Ok(frame)
        };
        (1..=CONTEXT.min(first)).rev().map(changed).collect()
    }

    /// The frames of the window that begins with this frame at a phase: those that the model sees as they are, and those in
    /// between as they leave.
    pub fn window(&self, first: usize, phase: usize, universal: &Universal) -> anyhow::Result<Vec<gst::Buffer>> {
        let Windowing { step, span, .. } = self.windowing;
        let stream = Stream::perturbed(self.stream.info.clone(), &universal.header.view, universal);
        let of = |place: usize| {
            let mut frame = self.frames[first + place].copy();
            if !place.is_multiple_of(step) {
                let phase = (phase + place / step) % universal.period();
                stream.change(frame.make_mut(), phase).map_err(anyhow::Error::msg)?;
            }
            Ok(frame)
        };
        (0..span).map(of).collect()
    }

    /// What the model sees of the window that begins with this frame.
    pub fn samples(&self, first: usize) -> Vec<Samples> {
        let places = self.windowing.offsets(self.windowing.span);
        places.filter_map(|place| self.stream.sample(&self.frames[first + place]).ok()).collect()
    }
}

/// The clips of one side of a set. Those that were used last are kept decoded.
pub struct Clips<'a> {
    listed: Vec<&'a dataset::Clip>,
    metadata: &'a Metadata,
    kept: VecDeque<(usize, Arc<Clip>)>,
    /// Those that cannot be read or have no window, and how many could not be read.
    unusable: BTreeSet<usize>,
    skipped: usize,
}

/// Bytes of decoded frames that are kept.
const KEPT: usize = 1 << 30;

impl<'a> Clips<'a> {
    pub fn new(listed: Vec<&'a dataset::Clip>, metadata: &'a Metadata) -> Self {
        Self { listed, metadata, kept: VecDeque::new(), unusable: BTreeSet::new(), skipped: 0 }
    }

    pub fn len(&self) -> usize {
        self.listed.len()
    }

    /// The places of those that the set says to be of a class.
    pub fn of_class(&self, class: &str, labels: &[String]) -> Vec<usize> {
        let is = |clip: &dataset::Clip| labels.get(clip.label).is_some_and(|label| label == class);
        (0..self.len()).filter(|place| is(self.listed[*place])).collect()
    }

    /// What tells these clips from others.
    pub fn digest(&self) -> String {
        let names: Vec<&str> = self.listed.iter().map(|clip| clip.name.as_str()).collect();
        provenance::digest(names.join("\n").as_bytes())
    }

    /// Those that could not be read.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// Whether each was tried and none can be used.
    pub fn is_spent(&self) -> bool {
        self.unusable.len() == self.listed.len()
    }

    /// A clip by its place; nothing where it cannot be read, which is said once, or has no window.
    pub fn get(&mut self, place: usize) -> anyhow::Result<Option<Arc<Clip>>> {
        interrupt::check()?;
        if self.unusable.contains(&place) {
            return Ok(None);
        }
        if let Some(at) = self.kept.iter().position(|(kept, _)| *kept == place)
            && let Some(kept) = self.kept.remove(at)
        {
            self.kept.push_back(kept.clone());
            return Ok(Some(kept.1));
        }
        let listed = self.listed[place];
        match read(&listed.path, self.metadata) {
            Ok(Some(clip)) => {
                let clip = Arc::new(clip);
                self.kept.push_back((place, clip.clone()));
                let mut bytes: usize = self.kept.iter().map(|(_, clip)| clip.bytes()).sum();
                while bytes > KEPT && self.kept.len() > 1 {
                    bytes -= self.kept.pop_front().map_or(0, |(_, clip)| clip.bytes());
                }
                return Ok(Some(clip));
            }
            Ok(None) => {}
            Err(error) => {
                errln!("skipped {}: {error:#}", listed.name);
                self.skipped += 1;
            }
        }
        self.unusable.insert(place);
        Ok(None)
    }
}

/// Reads a clip. Nothing where it has no window.
fn read(path: &Path, metadata: &Metadata) -> anyhow::Result<Option<Clip>> {
    let windowing = Windowing::new(metadata.window, metadata.frame_step, None);
    let read = decode::read(path, "")?;
    let long = read.frames.len() >= windowing.span;
    Ok(long.then(|| Clip {
        stream: Arc::new(Stream::new(read.info, metadata)),
        frames: read.frames,
        windowing,
        labels: Mutex::default(),
    }))
}
