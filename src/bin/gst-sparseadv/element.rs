// SPDX-License-Identifier: MPL-2.0

//! A `sparseadv` element that keeps its model from one pipeline to the next.

use std::path::Path;

use anyhow::{anyhow, bail, Context};
use gst::prelude::*;
use gstsparseadv::sparseadv::report::WindowReport;

use super::decode::{self, Clip};

/// Set for a process beside which another says what there is to say of the model.
pub const TOLD: &str = "SPARSEADV_TOLD";

pub struct Attacker {
    element: gst::Element,
}

impl Attacker {
    /// `properties` as in gst-launch-1.0. Loads the model.
    pub fn new(model: &Path, properties: &str) -> anyhow::Result<Self> {
        let element = gst::parse::launch(&format!("sparseadv {properties}"))
            .with_context(|| format!("the properties \"{properties}\""))?;
        if element.factory().is_none_or(|f| f.name() != "sparseadv") {
            bail!("expected properties of sparseadv, found \"{properties}\"");
        }
        element.set_property("model", model.to_str().context("a path in UTF-8")?);
        let attacker = Self { element };
        attacker.load()?;
        Ok(attacker)
    }

    /// Gives every property but the model its default, and then those in `properties`, as in gst-launch-1.0 but without spaces in values.
    pub fn configure(&self, properties: &str) -> anyhow::Result<()> {
        let known = self.element.list_properties();
        let own = known.iter().filter(|p| {
            let kept = ["model", "device", "report-location"].contains(&p.name());
            p.owner_type() == self.element.type_()
                && p.flags().contains(glib::ParamFlags::WRITABLE)
                && !kept
        });
        for property in own {
            self.element
                .set_property_from_value(property.name(), property.default_value());
        }
        for setting in properties.split_whitespace() {
            let found = setting
                .split_once('=')
                .and_then(|(name, value)| Some((self.element.find_property(name)?, value)));
            let (property, value) = found.with_context(|| {
                format!("expected property=value of sparseadv, found {setting}")
            })?;
            let value = glib::Value::deserialize_with_pspec(value, &property)
                .with_context(|| format!("the value in {setting}"))?;
            self.element
                .set_property_from_value(property.name(), &value);
        }
        Ok(())
    }

    /// Attacks frames, and returns them with the windows' reports.
    pub fn attack(&self, clip: &Clip) -> anyhow::Result<(Clip, Vec<WindowReport>)> {
        let source = gst_app::AppSrc::builder()
            .caps(&clip.info.to_caps()?)
            .format(gst::Format::Time)
            .max_bytes(0)
            .build();
        let sink = gst_app::AppSink::builder().sync(false).build();
        let pushed = decode::collect(&sink);
        let windows = self.run(
            |pipeline, pad| {
                pipeline.add(&source)?;
                let from = source.static_pad("src").context("a source pad")?;
                from.link(&pad)?;
                // Its queue takes them all before it runs.
                source.set_state(gst::State::Ready)?;
                for frame in &clip.frames {
                    source.push_buffer(frame.clone())?;
                }
                source.end_of_stream()?;
                Ok(())
            },
            sink.upcast_ref(),
        )?;
        let pushed = pushed
            .lock()
            .map_err(|_| anyhow!("the reader failed"))?
            .take();
        Ok((pushed.context("expected frames, found none")?, windows))
    }

    pub fn element(&self) -> &gst::Element {
        &self.element
    }

    /// Goes to READY, where the element loads its model and checks its settings.
    fn load(&self) -> anyhow::Result<()> {
        let bus = gst::Bus::new();
        self.element.set_bus(Some(&bus));
        let result = self.element.set_state(gst::State::Ready);
        self.element.set_bus(None);
        if result.is_err() {
            let error = bus.pop_filtered(&[gst::MessageType::Error]);
            match error.as_ref().map(|message| message.view()) {
                Some(gst::MessageView::Error(error)) => bail!("{}", error.error()),
                _ => bail!("the element could not be prepared"),
            }
        }
        // What is doubtful about the model. The bus that the pipeline brings later is another.
        while let Some(message) = bus.pop_filtered(&[gst::MessageType::Warning]) {
            if let gst::MessageView::Warning(warning) = message.view() {
                if std::env::var_os(TOLD).is_none() {
                    eprintln!("warning: {}", warning.error());
                }
            }
        }
        Ok(())
    }

    /// Runs `source ! sparseadv ! sink` to the end of the stream. `source` links itself to the pad it is given. Returns the windows'
    /// reports.
    pub fn run(
        &self,
        source: impl FnOnce(&gst::Pipeline, gst::Pad) -> anyhow::Result<()>,
        sink: &gst::Element,
    ) -> anyhow::Result<Vec<WindowReport>> {
        let pipeline = gst::Pipeline::new();
        pipeline.add_many([&self.element, sink])?;
        self.element.link(sink)?;
        let pad = self.element.static_pad("sink").context("a sink pad")?;
        let mut windows = Vec::new();
        let result = source(&pipeline, pad).and_then(|()| {
            decode::play(&pipeline, |structure| {
                let json = structure.get::<&str>("json").ok();
                let is_window = structure.name() == "sparseadv-window";
                if let Some(json) = json.filter(|_| is_window) {
                    windows.extend(serde_json::from_str::<WindowReport>(json));
                }
            })
        });
        // READY keeps the model.
        let stopped = pipeline.set_state(gst::State::Ready);
        pipeline.remove(&self.element)?;
        pipeline.set_state(gst::State::Null)?;
        result?;
        stopped?;
        Ok(windows)
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        // An element has to be in NULL before it goes; there is nothing to be done if it cannot.
        let _ = self.element.set_state(gst::State::Null);
    }
}

/// Decodes the video of a file into `pad`.
pub fn decode_into(pipeline: &gst::Pipeline, file: &Path, pad: gst::Pad) -> anyhow::Result<()> {
    let source = gst::ElementFactory::make("filesrc")
        .property("location", file.to_str().context("a path in UTF-8")?)
        .build()?;
    let decoder = gst::ElementFactory::make("decodebin").build()?;
    pipeline.add_many([&source, &decoder])?;
    source.link(&decoder)?;
    let found = pad.downgrade();
    decoder.connect_pad_added(move |_, from| {
        let is_video = from
            .current_caps()
            .and_then(|caps| Some(caps.structure(0)?.name() == "video/x-raw"));
        if let Some(pad) = found.upgrade().filter(|pad| !pad.is_linked()) {
            if is_video == Some(true) {
                // A failure shows as a stream that is not linked.
                let _ = from.link(&pad);
            }
        }
    });
    decoder.connect_no_more_pads(move |decoder| {
        if !pad.is_linked() {
            gst::element_error!(
                decoder,
                gst::StreamError::WrongType,
                ("expected a video stream, found none")
            );
        }
    });
    Ok(())
}
