// SPDX-License-Identifier: MPL-2.0

//! What follows from the caps: the model's view of the frames, and reading and writing them.

use std::sync::{Arc, Mutex};

use crate::model::Metadata;
use crate::video::observe::{Scratch, Tape};
use crate::video::view::Samples;
use crate::video::{Chroma, StreamScene, View};

use super::codec::{self, Codec};
use super::format;
use super::lock;
use super::planes::{Frame, FrameMut};

/// Bins, and what they were made from.
type Codecs = (String, Arc<Vec<Codec>>);

/// A stream of frames of one format.
pub struct Stream {
    pub info: gst_video::VideoInfo,
    pub view: View,
    /// The model's view through another reader's chroma, where there can be one.
    pub second_view: Option<View>,
    /// From the caps, or one 25th of a second where the rate is variable.
    pub frame_duration: gst::ClockTime,
    /// Those of the survive property, made once.
    codecs: Mutex<Option<Codecs>>,
}

impl Stream {
    pub fn new(info: gst_video::VideoInfo, metadata: &Metadata) -> Self {
        let layout = format::layout(&info);
        let geometry = metadata.geometry(layout.height, layout.width);
        let frame_duration = format::frame_duration(&info);
        Self {
            view: View::new(&layout, geometry, Chroma::Repeated),
            second_view: layout.is_subsampled().then(|| View::new(&layout, geometry, Chroma::Interpolated)),
            info,
            codecs: Mutex::new(None),
            frame_duration,
        }
    }

    /// The window that some frames make up.
    pub fn scene<'b>(&self, buffers: impl Iterator<Item = &'b gst::Buffer>) -> Result<StreamScene<'_>, String> {
        let mut scene = match &self.second_view {
            Some(second) => StreamScene::with_second(&self.view, second),
            None => StreamScene::new(&self.view),
        };
        for buffer in buffers {
            scene.push(&Frame::read(buffer, &self.info)?);
        }
        Ok(scene)
    }

    /// The bins of a `survive` property, for frames of this format.
    pub fn codecs(&self, survive: &str) -> Result<Arc<Vec<Codec>>, String> {
        let mut made = lock(&self.codecs);
        if let Some((_, codecs)) =
            made.as_ref().filter(|(of, codecs)| of == survive && codecs.iter().all(Codec::is_usable))
        {
            return Ok(codecs.clone());
        }
        let codecs: Result<Vec<Codec>, String> =
            codec::split(survive).map(|description| Codec::new(description, &self.info, self.frame_duration)).collect();
        let codecs = Arc::new(codecs?);
        *made = Some((survive.to_string(), codecs.clone()));
        Ok(codecs)
    }

    /// Reads what the model sees of a frame.
    pub fn sample(&self, buffer: &gst::BufferRef) -> Result<Samples, String> {
        Ok(self.view.sample(&Frame::read(buffer, &self.info)?))
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
