// SPDX-License-Identifier: MPL-2.0

//! Sparse adversarial attacks on video classifiers inside GStreamer pipelines.
//!
//! The crate is a GStreamer plugin with two elements. `sparseadv` attacks the video that passes through it.
//! `clipclassifier` says what a classifier makes of a video. This page has the terms, the layers, and the way of a
//! buffer. The method is described in [`attack`], the model in [`model`]. The manual of each element is the first
//! comment of its `imp.rs`. The tool `gst-sparseadv` runs the elements on files and data sets.
//!
//! # Terms
//!
//! - **Window**: the stream frames that the classifier sees at once, T of them. Windows begin a *stride* apart.
//! - **View**: what the classifier sees of a frame. It is resized and cropped RGB, `[3, height, width]`, in gray levels
//!   from 0 to 255, before the model's own mean and deviation.
//! - **Observe**: to compute the view from the bytes of a frame, as a decoder and a resizer would.
//! - **Render**: to change the bytes of a frame so that its view changes by a perturbation. Rendering rounds to 8 bits.
//! - **Perturbation**: what is added to the view of each keyframe. It is written delta, in gray levels.
//! - **Keyframe**: a frame of a window that may be perturbed. All other frames stay as they are.
//! - **Logits**: what the classifier returns, one number for each class. The *label* is the class of the largest.
//! - **Margin**: how far the logit that the attack wants leads over the best one that it does not want. A success needs
//!   a margin of at least the confidence.
//! - **Reading**: one way in which another program may see the pushed frames. Subsampled chroma is repeated in one
//!   reading and interpolated in another. With `survive`, what comes out of each codec is a reading too. A success
//!   holds in all readings.
//! - **Query**: a forward pass of the classifier, with or without its backward pass, or a further backward pass.
//! - **Fooled**: the label of the window is not the true one, or is the target's. [`tally`] counts by this.
//! - **Already fooled**: fooled before the attack. Such a window is not attacked, and no rate counts it.
//! - **Budget**: the time that the attack of a window may take. At its end the best perturbation so far is used.
//! - **Barrier**: a place in the stream that no window reaches over, such as a caps change or the end of the stream.
//! - **Overrun**: a window whose attack was cut short by its deadline.
//!
//! # A buffer's way
//!
//! Three threads share a schedule ([`window`]). It has no threads, locks or clock of its own: time is an argument.
//!
//! 1. The sink pad's thread puts each buffer and event into the schedule. It waits only where too many frames are held.
//! 2. The schedule knows which frames form which window, and what is due when.
//! 3. When a window is complete, or nothing more is to come for it, the worker thread gets it as a task. Where nothing is
//!    live it gets several at a time, and attacks each on a thread of its own.
//! 4. The worker observes the frames: each becomes a view, in one reading or several.
//! 5. The model gives the logits of the clean window. An already fooled window is done. Every pass is made on the model's
//!    own thread. Windows that are attacked together wait there for one another, and have their passes made as one.
//! 6. Select: the gradient, or another rule, weighs the frames, and the keyframes are chosen.
//! 7. Search: each iteration renders the perturbation, observes the result, asks the model for logits and gradient, and
//!    takes a step. It goes towards the wrong label until the window is fooled, and then towards a smaller norm.
//! 8. Settle: the smallest success is the result. In a live stream it is the best one so far when the window is due.
//! 9. The source pad's task renders the result into copies of the keyframes. It adds metas and pushes the frames in
//!    order. It never waits for a pass of the model.
//! 10. The rendered bytes are judged. The report line and the message tell what came of the window.
//!
//! A universal perturbation takes another way. The source pad's task changes each frame as it comes. With a model
//! [`window::watch`] notes what left, and the worker judges whole windows beside the stream. In causal mode the worker also
//! learns between two judgments, and gives frames to come what it has found.
//!
//! # Layers
//!
//! A layer imports only from layers above it in this list.
//!
//! - [`torch`]: what every layer needs of libtorch: values on their way to a device and back. `threads`: where its loops
//!   and ours are done.
//! - [`files`]: outputs that appear whole or not at all, and inputs that are read up to a bound.
//! - [`attack`]: the method, on tensors of one device. It knows neither GStreamer nor models. What it attacks is behind
//!   the traits [`attack::Query`] and [`attack::Differentiate`]: a perturbation goes in, logits come out, and gradients
//!   come back.
//! - [`video`]: observing and rendering between the bytes of a stream and the model's view.
//! - [`model`]: TorchScript classifiers: archive, metadata, probing, passes of one window or several, sharing.
//! - [`agent`]: what picks keyframes after it has learned which ones an attack gains by.
//! - [`universal`]: perturbations for any window: learning them, files of them, and what they change in a stream's bytes.
//! - [`target`]: a window of a stream as a model sees it, which is what is attacked.
//! - [`tally`]: what the labels of a window come to, and the rates over windows.
//! - [`provenance`]: what made a result: model, settings and versions.
//! - [`window`]: which frames form a window, what is due when, and what came of a window. It has no threads and no
//!   clock.
//! - [`element`]: what both elements share: caps and formats, frames in memory, codecs, metas, report files.
//! - [`mod@sparseadv`], [`mod@clipclassifier`]: the two elements, threads and pads around the layers above.
//! - [`dataset`]: the folders and lists that action recognition sets come in.
//! - `src/bin/gst-sparseadv`: the tool with its commands `attack`, `convert`, `merge`, `learn`, `reproduce`, `report`
//!   and `inspect`. It works through the elements, in real pipelines.
//!
//! # The rest of the tree
//!
//! - `src/load`: what GStreamer and the shell start. It is not linked to libtorch, loads what is, or says why it cannot.
//! - `pipelines`: ready scripts, each with `--help`.
//! - `examples`: embedded models and clips, training, exporter, comparisons, cluster jobs, benchmark, measured results.
//! - `tests`: tests against values computed by hand, references pixel by pixel, and PyTorch. `tests/fuzz_layout.rs`
//!   also runs under valgrind, by the command in its header. `tests/python` has the independent judge.
//! - `.ci/run`: what a change has to pass. `.github/CONTRIBUTING.md` says how to make one.

// A panic in a pad function ends the element for good.
#![deny(clippy::expect_used, clippy::panic, clippy::unwrap_used)]
// Messages go to the bus and to GStreamer's log; a host program does not end because an element failed.
#![deny(clippy::exit, clippy::print_stderr, clippy::print_stdout)]

// The tests within share what those in `tests` do.
#[cfg(test)]
extern crate self as gstsparseadv;

pub mod agent;
pub mod attack;
pub mod clipclassifier;
pub mod dataset;
pub mod element;
#[warn(missing_docs)]
pub mod files;
pub mod model;
pub mod provenance;
pub mod sparseadv;
pub mod tally;
#[warn(missing_docs)]
pub mod target;
mod threads;
#[warn(missing_docs)]
pub mod torch;
pub mod universal;
pub mod video;
pub mod window;

/// Registers both elements.
///
/// # Errors
///
/// GStreamer takes no element of that name.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    sparseadv::register(plugin)?;
    clipclassifier::register(plugin)
}

// For programs that have this crate in them. `src/load/plugin` is the plugin as a file.

gst::plugin_define!(
    sparseadv,
    env!("CARGO_PKG_DESCRIPTION"),
    register,
    concat!(env!("CARGO_PKG_VERSION"), "-", env!("COMMIT_ID")),
    // GStreamer's name of the MPL-2.0.
    "MPL-2.0",
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_REPOSITORY"),
    env!("BUILD_REL_DATE")
);
