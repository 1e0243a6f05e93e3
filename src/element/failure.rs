// SPDX-License-Identifier: MPL-2.0

//! Whether anything in the pipeline has failed. A source whose stream has failed posts an error, and then ends the
//! stream as if it were whole: the end of stream alone does not say that a report is whole too. Only the pipeline's bus
//! knows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gst::prelude::*;

#[derive(Debug)]
pub struct FailureWatch {
    bus: gst::Bus,
    handler: Option<glib::SignalHandlerId>,
    failed: Arc<AtomicBool>,
}

impl FailureWatch {
    /// Of the pipeline that an element is in, if it is in one.
    pub fn of(element: &gst::Element) -> Option<Self> {
        let bus = whole_of(element).bus()?;
        let failed = Arc::new(AtomicBool::new(false));
        let heard = failed.clone();
        // Messages go to the application all the same; this only listens, in the thread that posts.
        bus.enable_sync_message_emission();
        let handler = bus.connect_sync_message(Some("error"), move |_, _| {
            heard.store(true, Ordering::SeqCst);
        });
        Some(Self { bus, handler: Some(handler), failed })
    }

    pub fn failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }
}

/// The pipeline that an element is in, or itself where it is in none.
pub fn whole_of(element: &gst::Element) -> gst::Element {
    let mut whole = element.clone();
    while let Some(parent) = whole.parent().and_downcast::<gst::Element>() {
        whole = parent;
    }
    whole
}

impl Drop for FailureWatch {
    fn drop(&mut self) {
        if let Some(handler) = self.handler.take() {
            self.bus.disconnect(handler);
        }
        self.bus.disable_sync_message_emission();
    }
}
