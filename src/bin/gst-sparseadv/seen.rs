// SPDX-License-Identifier: MPL-2.0

//! The frames of a stream, as far back as a window may reach that is not known yet.

use std::collections::VecDeque;
use std::sync::Arc;

use anyhow::Context;
use gst_video::VideoInfo;
use gstsparseadv::element::{format, planes};
use gstsparseadv::model::Metadata;
use gstsparseadv::video::view::Samples;
use gstsparseadv::video::{Chroma, View};
use gstsparseadv::window::Windowing;

use crate::decode::Clip;

/// What is kept of each frame.
#[derive(Clone, Copy)]
pub struct Keep {
    /// What the model sees.
    pub samples: bool,
    /// The frame itself, for people to see.
    pub frames: bool,
    /// Most frames; the oldest goes.
    pub most: usize,
}

/// A window of a stream: its first frame, and how many it has of those that the model sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub first: usize,
    pub frames: usize,
}

pub struct Seen {
    metadata: Metadata,
    windowing: Windowing,
    keep: Keep,
    kind: Option<(gst::Caps, VideoInfo, Arc<View>)>,
    frames: VecDeque<Frame>,
    /// Number in the stream of the first that is kept.
    first: usize,
}

struct Frame {
    samples: Option<Samples>,
    buffer: Option<gst::Buffer>,
    info: VideoInfo,
    view: Arc<View>,
}

impl Seen {
    pub fn new(metadata: Metadata, windowing: Windowing, keep: Keep) -> Self {
        Self { metadata, windowing, keep, kind: None, frames: VecDeque::new(), first: 0 }
    }

    /// Frames that have come so far.
    pub fn end(&self) -> usize {
        self.first + self.frames.len()
    }

    pub fn add(&mut self, buffer: &gst::Buffer, caps: &gst::Caps) -> anyhow::Result<()> {
        if self.kind.as_ref().is_none_or(|(known, ..)| known != caps) {
            let info = VideoInfo::from_caps(caps)?;
            let layout = format::layout(&info);
            let geometry = self.metadata.geometry(layout.height, layout.width);
            let view = Arc::new(View::new(&layout, geometry, Chroma::default()));
            self.kind = Some((caps.clone(), info, view));
        }
        let (_, info, view) = self.kind.as_ref().context("caps")?;
        let frame = self.keep.samples.then(|| planes::Frame::read(buffer, info)).transpose();
        let frame = frame.map_err(anyhow::Error::msg)?;
        self.frames.push_back(Frame {
            samples: frame.map(|frame| view.sample(&frame)),
            buffer: self.keep.frames.then(|| buffer.clone()),
            info: info.clone(),
            view: view.clone(),
        });
        if self.frames.len() > self.keep.most {
            self.forget(self.first + 1);
        }
        Ok(())
    }

    /// Lets go of all before a frame.
    pub fn forget(&mut self, before: usize) {
        while self.first < before && self.frames.pop_front().is_some() {
            self.first += 1;
        }
    }

    /// Whether the whole of a window has come.
    pub fn has(&self, window: Place) -> bool {
        self.places(window).last().is_none_or(|last| self.end() > last)
    }

    /// What the model sees of a window; nothing if it is not all there.
    pub fn view(&self, window: Place) -> Option<Vec<f32>> {
        let window = self.window(window)?;
        let samples: Option<Vec<&Samples>> = window.iter().map(|f| f.samples.as_ref()).collect();
        let view = &window.first()?.view;
        Some(view.observe_window(&samples?, self.metadata.window))
    }

    /// The frames of a window; nothing if they are not all there.
    pub fn clip(&self, window: Place) -> Option<Clip> {
        let window = self.window(window)?;
        Some(Clip {
            info: window.first()?.info.clone(),
            frames: window.iter().map(|f| f.buffer.clone()).collect::<Option<_>>()?,
        })
    }

    /// Numbers in the stream of a window's frames.
    fn places(&self, window: Place) -> impl Iterator<Item = usize> + use<> {
        let first = window.first;
        self.windowing.offsets(self.windowing.span).take(window.frames).map(move |offset| first + offset)
    }

    fn window(&self, window: Place) -> Option<Vec<&Frame>> {
        let window = self.places(window).map(|place| self.frames.get(place.checked_sub(self.first)?));
        let window: Vec<&Frame> = window.collect::<Option<_>>()?;
        let kind = &window.first()?.view;
        let alike = window.iter().all(|frame| Arc::ptr_eq(&frame.view, kind));
        alike.then_some(window)
    }
}
