// SPDX-License-Identifier: MPL-2.0

//! Elements from descriptions that people write, and what is wrong with those.

use anyhow::{anyhow, bail, ensure};
use gst::prelude::*;

/// A bin with a pad for each end of the chain. `what` is the name its user knows it by.
pub fn bin(what: &str, description: &str) -> anyhow::Result<gst::Bin> {
    ensure!(!description.trim().is_empty(), "Expected elements as {what}, found nothing.");
    // A description of one element would give that element.
    let whole = format!("{description} ! identity");
    let made =
        made(description, |context, flags| gst::parse::bin_from_description_full(&whole, true, Some(context), flags))
            .map_err(|error| anyhow!("{what}: {error}"))?;
    made.downcast().map_err(|_| anyhow!("{what}: expected elements, found {description}"))
}

/// An element of a given kind with the properties that are written behind its name in gst-launch-1.0.
pub fn element(kind: &str, properties: &str) -> anyhow::Result<gst::Element> {
    let description = format!("{kind} {properties}");
    let element = made(&description, |context, flags| gst::parse::launch_full(&description, Some(context), flags))?;
    if element.factory().is_none_or(|f| f.name() != kind) {
        bail!("Expected properties of {kind} as name=value, found \"{properties}\".");
    }
    in_range(&element, properties)?;
    Ok(element)
}

/// GObject takes values outside a property's range with a warning, and sets others.
fn in_range(element: &gst::Element, properties: &str) -> anyhow::Result<()> {
    let words = glib::shell_parse_argv(properties).unwrap_or_default();
    for word in words.iter().filter_map(|word| word.to_str()) {
        let Some((name, text)) = word.split_once('=') else {
            continue;
        };
        let Some(property) = element.find_property(name.trim()) else {
            continue;
        };
        if name.trim() == "model" {
            bail!("Expected the model by --model, found the property {word}. Leave it out.");
        }
        // What is no value of its type has been refused already.
        let Ok(mut value) = glib::Value::deserialize_with_pspec(text.trim(), &property) else {
            continue;
        };
        // SAFETY: both point to what lives here; the value is of the property's type, and may be changed.
        let changed = unsafe {
            use glib::translate::{ToGlibPtr, ToGlibPtrMut};
            glib::gobject_ffi::g_param_value_validate(property.to_glib_none().0, value.to_glib_none_mut().0)
        };
        if changed != glib::ffi::GFALSE {
            bail!(
                "Expected a value of the property {name} within its range, found {}: {}. gst-inspect-1.0 sparseadv shows the range.",
                text.trim(),
                property.blurb().unwrap_or_default()
            );
        }
    }
    Ok(())
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
