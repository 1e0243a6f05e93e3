// SPDX-License-Identifier: MPL-2.0

//! What becomes of the stream when something fails beside it, by the property `on-error`.

use gst::subclass::prelude::*;

use super::imp::SparseAdv;
use super::settings::OnError;

impl SparseAdv {
    /// Something of a window failed. That is an error, or one warning where it is to be no reason to stop. Returns whether
    /// the stream goes on.
    pub(super) fn fail(&self, text: &str) -> bool {
        let goes_on = self.settings().on_error == OnError::Passthrough;
        let mut state = self.state();
        state.stats.failure();
        // An error is one even where a warning was given before, with the property as it was then.
        let is_news = if goes_on { state.note_failure() } else { !state.has_failed() };
        drop(state);
        if goes_on {
            if is_news {
                let rest = "The stream goes on, and failures in stats counts this and what follows.";
                gst::element_imp_warning!(self, gst::LibraryError::Failed, ("{text} {rest}"));
            }
            return true;
        }
        // Told before upstream hears of it, or its own error would be the first on the bus.
        if is_news {
            let remedy = "Set on-error=passthrough for a stream that goes on all the same.";
            gst::element_imp_error!(self, gst::LibraryError::Failed, ("{text} {remedy}"));
        }
        // The frames are not lost for it: they pass.
        self.state().fail();
        self.tell();
        false
    }

    /// The pipeline must hear of a panic instead of waiting for ever.
    pub(super) fn tell_panic(&self) {
        const REPORT: &str = "The attack's thread panicked, which is an error of this plugin. Please report it.";
        let passes = self.settings().on_error == OnError::Passthrough;
        let mut state = self.state();
        state.stats.failure();
        let is_news = !state.has_failed();
        drop(state);
        // Told before frames pass or upstream hears of it: the end of the stream, or upstream's own error, would come first.
        if passes {
            gst::element_imp_warning!(
                self,
                gst::LibraryError::Failed,
                ("{REPORT} No window is attacked or classified from here on.")
            );
            self.state().give_up();
            self.tell();
            return;
        }
        if is_news {
            gst::element_imp_error!(self, gst::LibraryError::Failed, ("{REPORT}"));
        }
        // After a flush, too, there is nobody to attack: frames pass, and upstream is told.
        let mut state = self.state();
        state.fail();
        state.downstream.fail(gst::FlowError::Error);
        drop(state);
        self.tell();
    }
}
