// SPDX-License-Identifier: MPL-2.0

//! A thread that classifies beside a live stream, whose frames never wait for a pass of the model.

use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use gst::subclass::prelude::*;

use super::ClipClassifier;
use super::gather::Window;

#[derive(Debug)]
pub struct Worker {
    line: SyncSender<Window>,
    thread: JoinHandle<()>,
}

impl Worker {
    /// The thread holds no reference to the element while it waits, so that one that nobody holds is let go.
    pub fn start(element: glib::WeakRef<ClipClassifier>) -> io::Result<Self> {
        // One window waits while another is classified.
        let (line, windows) = sync_channel::<Window>(1);
        let thread = Builder::new().name("clipclassifier".into()).spawn(move || {
            for window in windows {
                let Some(element) = element.upgrade() else {
                    return;
                };
                let classify = std::panic::AssertUnwindSafe(|| element.imp().classify_in_line(&window));
                if std::panic::catch_unwind(classify).is_err() {
                    gst::element_error!(
                        element,
                        gst::LibraryError::Failed,
                        ("The classifier's thread panicked, which is an error of this plugin. Please report it.")
                    );
                    return;
                }
            }
        })?;
        Ok(Self { line, thread })
    }

    /// Puts a window in line, unless another is waiting.
    pub fn take(&self, window: Window) -> bool {
        self.line.try_send(window).is_ok()
    }

    /// Waits until the windows in line are done. A thread inside libtorch at the process's exit would crash it.
    pub fn end(self) {
        drop(self.line);
        // A panic there has been said already, and there is nothing to clean up.
        let _ = self.thread.join();
    }
}
