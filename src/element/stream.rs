// SPDX-License-Identifier: MPL-2.0

//! What follows from the caps: the model's view of the frames, and reading and writing them.

use std::sync::{Arc, Mutex};

use once_cell::sync::OnceCell;

use super::planes::{Frame, FrameMut};
use super::{format, lock};
use crate::model::Metadata;
use crate::universal::Universal;
use crate::video::changes::Changes;
use crate::video::observe::{Scratch, Tape};
use crate::video::view::Samples;
use crate::video::{Chroma, Geometry, View};

/// A stream of frames of one format.
pub struct Stream {
    pub info: gst_video::VideoInfo,
    pub view: View,
    /// From the caps, or one 25th of a second where the rate is variable.
    pub frame_duration: gst::ClockTime,
    geometry: Geometry,
    second_view: OnceCell<Option<View>>,
    /// The view that a universal perturbation was learned in, and what it changes at each of its phases.
    universal: Mutex<Option<Arc<Applied>>>,
}

/// A universal perturbation of the stream's frames.
struct Applied {
    view: View,
    universal: Universal,
    /// At each phase, worked out when a frame first gets it.
    changes: Vec<OnceCell<Changes>>,
}

impl Applied {
    fn at(&self, phase: usize) -> Option<&Changes> {
        Some(self.changes.get(phase)?.get_or_init(|| self.universal.changes_at(&self.view, phase)))
    }
}

impl Stream {
    pub fn new(info: gst_video::VideoInfo, metadata: &Metadata) -> Self {
        let layout = format::layout(&info);
        let geometry = metadata.geometry(layout.height, layout.width);
        let frame_duration = format::frame_duration(&info);
        Self {
            view: View::new(&layout, geometry, Chroma::Repeated),
            info,
            frame_duration,
            geometry,
            second_view: OnceCell::new(),
            universal: Mutex::default(),
        }
    }

    /// One whose frames a universal perturbation changes, for a model of its own metadata.
    pub fn perturbed(info: gst_video::VideoInfo, metadata: &Metadata, universal: &Universal) -> Self {
        let stream = Self::new(info, metadata);
        *lock(&stream.universal) = Some(Arc::new(stream.applied(universal)));
        stream
    }

    /// From now on this one changes frames, which do not wait for it.
    pub fn set_universal(&self, universal: &Universal) {
        let applied = self.applied(universal);
        for phase in 0..universal.period() {
            let _ = applied.at(phase);
        }
        *lock(&self.universal) = Some(Arc::new(applied));
    }

    fn applied(&self, universal: &Universal) -> Applied {
        let layout = format::layout(&self.info);
        let view = View::new(&layout, universal.header.view.geometry(layout.height, layout.width), Chroma::Repeated);
        let changes = (0..universal.period()).map(|_| OnceCell::new()).collect();
        Applied { view, universal: universal.clone(), changes }
    }

    /// Changes a frame by the universal perturbation at a phase.
    pub fn change(&self, buffer: &mut gst::BufferRef, phase: usize) -> Result<(), String> {
        let universal = lock(&self.universal).clone();
        let Some(applied) = universal.as_deref() else { return Ok(()) };
        let Some(changes) = applied.at(phase) else { return Ok(()) };
        applied.view.apply(&mut FrameMut::write(buffer, &self.info)?, changes);
        Ok(())
    }

    /// The model's view through another reader's chroma, where there can be one.
    pub fn second_view(&self) -> Option<&View> {
        let make = || {
            let layout = format::layout(&self.info);
            layout.is_subsampled().then(|| View::new(&layout, self.geometry, Chroma::Interpolated))
        };
        self.second_view.get_or_init(make).as_ref()
    }

    /// Reads what the model sees of a frame.
    pub fn sample(&self, buffer: &gst::BufferRef) -> Result<Samples, String> {
        self.sample_by(&self.view, buffer)
    }

    /// The same through one of the views of this stream.
    pub fn sample_by(&self, view: &View, buffer: &gst::BufferRef) -> Result<Samples, String> {
        Ok(view.sample(&Frame::read(buffer, &self.info)?))
    }

    /// Renders a perturbation into a frame, reads it back, and makes sure that the model sees of the bytes just what
    /// the attack was judged by. Returns what it sees.
    pub fn render(&self, buffer: &mut gst::BufferRef, delta: &[f32]) -> Result<Samples, String> {
        let clean = self.sample(buffer)?;
        let mut frame = FrameMut::write(buffer, &self.info)?;
        self.view.render(&mut frame, delta);
        drop(frame);
        let rendered = self.sample(buffer)?;
        let mut expected = vec![0.0; self.view.len()];
        let mut found = vec![0.0; self.view.len()];
        let (tape, scratch) = (&mut Tape::default(), &mut Scratch::default());
        self.view.observe_perturbed(&clean, Some(delta), tape, scratch, &mut expected);
        self.view.observe(&rendered, &mut found);
        if expected != found {
            return Err("the rendered frame is not the one that was attacked".into());
        }
        Ok(rendered)
    }
}
