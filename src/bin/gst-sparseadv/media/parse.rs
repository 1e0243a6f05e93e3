// SPDX-License-Identifier: MPL-2.0

//! Elements from descriptions that people write, and what is wrong with those.

use anyhow::{anyhow, bail, ensure};
use gst::prelude::*;

/// A bin with a pad for each end of the chain. `what` is the name its user knows it by.
pub fn bin(what: &str, description: &str) -> anyhow::Result<gst::Bin> {
    ensure!(
        !description.trim().is_empty(),
        "Expected elements as {what}, found nothing."
    );
    // A description of one element would give that element.
    let whole = format!("{description} ! identity");
    let made = made(description, |context, flags| {
        gst::parse::bin_from_description_full(&whole, true, Some(context), flags)
    })
    .map_err(|error| anyhow!("{what}: {error}"))?;
    made.downcast()
        .map_err(|_| anyhow!("{what}: expected elements, found {description}"))
}

/// An element of a given kind with the properties that are written behind its name in gst-launch-1.0.
pub fn element(kind: &str, properties: &str) -> anyhow::Result<gst::Element> {
    let description = format!("{kind} {properties}");
    let element = made(&description, |context, flags| {
        gst::parse::launch_full(&description, Some(context), flags)
    })?;
    if element.factory().is_none_or(|f| f.name() != kind) {
        bail!("Expected properties of {kind} as name=value, found \"{properties}\".");
    }
    Ok(element)
}

fn made<T>(
    description: &str,
    parse: impl FnOnce(&mut gst::ParseContext, gst::ParseFlags) -> Result<T, glib::Error>,
) -> anyhow::Result<T> {
    let mut context = gst::ParseContext::new();
    parse(&mut context, gst::ParseFlags::FATAL_ERRORS).map_err(|error| {
        let missing = context.missing_elements();
        if !error.matches(gst::ParseError::NoSuchElement) || missing.is_empty() {
            return anyhow!("{error}, in \"{}\"", description.trim());
        }
        anyhow!(
            "Expected the GStreamer elements {}, found none of that name. Correct the name, or install their plugins (the set-up command of \
             README.md does); if they are installed, delete GStreamer's stale registry: rm -r ~/.cache/gstreamer-1.0",
            missing.join(", ")
        )
    })
}
