// SPDX-License-Identifier: MPL-2.0

//! A `sparseadv` element that keeps its model from one pipeline to the next.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, anyhow, bail};
use gst::prelude::*;
use gstsparseadv::window::report::WindowReport;

use super::decode::{self, Clip};
use super::media::{self, Plan};
use super::out::errln;

/// Set for a process beside which another says what there is to say of the model.
pub const TOLD: &str = "SPARSEADV_TOLD";

pub struct Attacker {
    pub element: gst::Element,
}

impl Attacker {
    /// `properties` as in gst-launch-1.0. Loads the model.
    pub fn new(model: &Path, properties: &str) -> anyhow::Result<Self> {
        let attacker = Self::make(model, properties)?;
        attacker.load()?;
        Ok(attacker)
    }

    /// The same without the model, for [`Attacker::load`] to load.
    pub fn make(model: &Path, properties: &str) -> anyhow::Result<Self> {
        let element = media::element("sparseadv", properties)?;
        let model = model.to_str().context("Expected a model whose path is in UTF-8. Rename it.")?;
        element.set_property("model", model);
        Ok(Self { element })
    }

    /// Gives every property but the model its default, and then those in `properties`, as in gst-launch-1.0 but without
    /// spaces in values.
    pub fn configure(&self, properties: &str) -> anyhow::Result<()> {
        let known = self.element.list_properties();
        let own = known.iter().filter(|p| {
            let kept = ["model", "device", "report-location"].contains(&p.name());
            p.owner_type() == self.element.type_() && p.flags().contains(glib::ParamFlags::WRITABLE) && !kept
        });
        for property in own {
            self.element.set_property_from_value(property.name(), property.default_value());
        }
        for setting in properties.split_whitespace() {
            let found =
                setting.split_once('=').and_then(|(name, value)| Some((self.element.find_property(name)?, value)));
            let (property, value) =
                found.with_context(|| format!("expected property=value of sparseadv, found {setting}"))?;
            let value = glib::Value::deserialize_with_pspec(value, &property)
                .with_context(|| format!("the value in {setting}"))?;
            self.element.set_property_from_value(property.name(), &value);
        }
        Ok(())
    }

    /// Attacks frames, and returns them with the windows' reports.
    pub fn attack(&self, clip: &Clip) -> anyhow::Result<(Clip, Vec<WindowReport>)> {
        let source =
            gst_app::AppSrc::builder().caps(&clip.info.to_caps()?).format(gst::Format::Time).max_bytes(0).build();
        let sink = gst_app::AppSink::builder().sync(false).build();
        let pushed = decode::collect(&sink);
        let pad = self.element.static_pad("sink").context("a sink pad")?;
        let mut windows = Vec::new();
        self.with(sink.upcast_ref(), |pipeline| {
            pipeline.add(&source)?;
            source.static_pad("src").context("a source pad")?.link(&pad)?;
            decode::fill(&source, clip.frames.iter().cloned())?;
            decode::play(pipeline, |structure| windows.extend(report(structure)))
        })?;
        let windows = windows.into_iter().collect::<serde_json::Result<Vec<_>>>()?;
        let pushed = pushed.lock().map_err(|_| anyhow!("the reader failed"))?.take();
        Ok((pushed.context("expected frames, found none")?, windows))
    }

    /// Goes to READY, where the element loads its model and checks its settings.
    pub fn load(&self) -> anyhow::Result<()> {
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
            if let gst::MessageView::Warning(warning) = message.view()
                && std::env::var_os(TOLD).is_none()
            {
                errln!("warning: {}", warning.error());
            }
        }
        Ok(())
    }

    /// Attacks a file as planned, into `part`, and reads what was written. `message` sees every element message, and
    /// `None` several times a second besides. Returns the frames written.
    pub fn convert(
        &self,
        plan: &Plan,
        part: &Path,
        mut message: impl FnMut(Option<&gst::StructureRef>) -> anyhow::Result<()>,
    ) -> anyhow::Result<u64> {
        let (sink, _written) = plan.sink(part)?;
        let frames = self.push(plan, &sink, |_| {}, |structure, _| message(structure))?;
        media::verify(part, &plan.sizes())?;
        Ok(frames)
    }

    /// The same into any sink, which nobody looks at afterwards. `at_once` sees every element message in the thread
    /// that sends it; `message` gets the number of frames pushed so far too.
    pub fn push(
        &self,
        plan: &Plan,
        sink: &gst::Element,
        at_once: impl Fn(&gst::StructureRef) + Send + Sync + 'static,
        mut message: impl FnMut(Option<&gst::StructureRef>, u64) -> anyhow::Result<()>,
    ) -> anyhow::Result<u64> {
        let pad = |name: &str| self.element.static_pad(name).context("a pad");
        let (into, out_of) = (pad("sink")?, pad("src")?);
        let counts = [&into, &out_of].map(Count::new);
        let frames = counts[1].frames.clone();
        let result = self.with(sink, |pipeline| {
            let bus = pipeline.bus().context("a pipeline has a bus")?;
            bus.set_sync_handler(move |_, message| {
                if let gst::MessageView::Element(element) = message.view() {
                    element.structure().into_iter().for_each(&at_once);
                }
                gst::BusSyncReply::Pass
            });
            let _read = plan.feed(pipeline, &into)?;
            media::play(pipeline, &into, |structure| message(structure, frames.load(Ordering::Relaxed)))
        });
        let [decoded, pushed] = counts.map(Count::end);
        result?;
        let expected = plan.source.frames;
        if (decoded, pushed) != (expected, expected) {
            bail!(
                "Expected to attack the {expected} frames that the file holds, found {decoded} decoded and {pushed} pushed. Try again; if it \
                 stays so, the file is damaged."
            );
        }
        Ok(pushed)
    }

    /// Puts the element in front of `sink` in a pipeline that ends with `action`, and keeps the model.
    fn with<T>(
        &self,
        sink: &gst::Element,
        action: impl FnOnce(&gst::Pipeline) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let pipeline = gst::Pipeline::new();
        pipeline.add_many([&self.element, sink])?;
        self.element.link(sink)?;
        let result = action(&pipeline);
        // READY keeps the model.
        let stopped = pipeline.set_state(gst::State::Ready);
        pipeline.remove(&self.element)?;
        pipeline.set_state(gst::State::Null)?;
        let result = result?;
        stopped?;
        Ok(result)
    }
}

/// The report in an element message, if it is of a window.
pub fn report(structure: &gst::StructureRef) -> Option<serde_json::Result<WindowReport>> {
    let json = structure.get::<&str>("json").ok().filter(|_| structure.name() == "sparseadv-window")?;
    Some(serde_json::from_str(json))
}

/// Counts what goes through a pad.
struct Count {
    pad: gst::Pad,
    probe: Option<gst::PadProbeId>,
    frames: Arc<AtomicU64>,
}

impl Count {
    fn new(pad: &gst::Pad) -> Self {
        let frames = Arc::new(AtomicU64::new(0));
        let seen = frames.clone();
        let probe = pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            seen.fetch_add(1, Ordering::Relaxed);
            gst::PadProbeReturn::Ok
        });
        Self { pad: pad.clone(), probe, frames }
    }

    fn end(self) -> u64 {
        if let Some(probe) = self.probe {
            self.pad.remove_probe(probe);
        }
        self.frames.load(Ordering::Relaxed)
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        // An element has to be in NULL before it goes; there is nothing to be done if it cannot.
        let _ = self.element.set_state(gst::State::Null);
    }
}
