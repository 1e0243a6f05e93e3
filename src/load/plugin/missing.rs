// SPDX-License-Identifier: MPL-2.0

//! What stands in for an element that cannot be loaded, and says why. Without any, GStreamer would say that there is no
//! such element, and nothing more.

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use once_cell::sync::{Lazy, OnceCell};

/// The one reason in this process.
static WHY: OnceCell<String> = OnceCell::new();

fn why() -> &'static str {
    WHY.get().map_or("", String::as_str)
}

pub fn register(plugin: &gst::Plugin, why: String) -> Result<(), glib::BoolError> {
    // What asks for an element may end before the element can post an error: gst-launch-1.0 does, since it finds no
    // property to set. GStreamer's scanner asks for none.
    let scans = std::env::current_exe().is_ok_and(|own| own.ends_with("gst-plugin-scanner"));
    // A second try in one process fails for the same reason.
    if WHY.set(why).is_ok() && !scans {
        glib::g_warning!("sparseadv", "{}", self::why());
    }
    for name in ["sparseadv", "clipclassifier"] {
        gst::Element::register(Some(plugin), name, gst::Rank::NONE, Missing::static_type())?;
    }
    Ok(())
}

glib::wrapper! {
    pub struct Missing(ObjectSubclass<Imp>) @extends gst::Element, gst::Object;
}

#[derive(Default)]
pub struct Imp;

#[glib::object_subclass]
impl ObjectSubclass for Imp {
    const NAME: &'static str = "SparseAdvMissing";
    type Type = Missing;
    type ParentType = gst::Element;
}

impl ObjectImpl for Imp {
    fn constructed(&self) {
        self.parent_constructed();
        let element = self.obj();
        for template in element.pad_template_list() {
            let _ = element.add_pad(&gst::Pad::from_template(&template));
        }
    }
}

impl GstObjectImpl for Imp {}

impl ElementImpl for Imp {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: Lazy<gst::subclass::ElementMetadata> = Lazy::new(|| {
            gst::subclass::ElementMetadata::new("Cannot be loaded", "Filter/Video", why(), env!("CARGO_PKG_NAME"))
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: Lazy<Vec<gst::PadTemplate>> = Lazy::new(|| {
            let ways = [("sink", gst::PadDirection::Sink), ("src", gst::PadDirection::Src)];
            let template =
                |(name, way)| gst::PadTemplate::new(name, way, gst::PadPresence::Always, &gst::Caps::new_any()).ok();
            ways.into_iter().filter_map(template).collect()
        });
        &TEMPLATES
    }

    fn change_state(&self, transition: gst::StateChange) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::NullToReady {
            gst::element_imp_error!(self, gst::LibraryError::Init, ("{}", why()));
            return Err(gst::StateChangeError);
        }
        self.parent_change_state(transition)
    }
}
