// SPDX-License-Identifier: MPL-2.0

//! The sparse attack of Xu et al., "Sparse Adversarial Attack for Video via Gradient-Based Keyframe Selection" (ICASSP
//! 2023), and the selections it is compared with. It knows neither GStreamer nor models, only the three traits of
//! [`target`]: perturbation in, logits out, and what can be differentiated of that. Tensors stay on the target's
//! device.
//!
//! Perturbations are `[batch, frames, 3, height, width]` in gray levels 0..255, in the model's own geometry.
//!
//! # The method
//!
//! 1. *Select* ([`select`]). The clean window goes through the model once. The gradient of the label's logit by the
//!    model's feature map weighs the frames (Eq. 3 and Eq. 4). The frames with the largest weights become keyframes,
//!    until their weights reach the share b of the sum. Other selections take the place of this step.
//! 2. *Search* ([`Search`]). By default a walk goes along the decision boundary. Each call tells where the boundary is,
//!    if the model is linear around here. The next perturbation is close to the smallest one that crosses it, in the norm
//!    that `norm` names. Where fifteen iterations bring no success, the paper's search takes over.
//! 3. *Settle.* The success with the smallest norm is the result.
//!
//! # How success is defined
//!
//! The paper judges a float tensor. This attack judges the bytes that are pushed. Each iteration renders the
//! perturbation into the samples of the stream's own planes that the model's view depends on, and rounds them to 8
//! bits. It reads them back as any decoder would. Chroma is repeated over the pixels it covers. The caps' matrix and
//! range give 8-bit RGB, which is resized (bilinear) and cropped. Then the attack asks the model.
//!
//! - A window is fooled when the label of that view has changed, with a margin of more than `confidence` between the
//!   logits ([`criterion`]). Other decoders' rounding may take the margin away.
//! - The same must hold when chroma is interpolated instead of repeated, since programs differ in that. A walk
//!   knows from its gradient what that reading leaves of a success, and asks it at the end.
//! - With `survive`, it must hold behind each codec instead, and need not hold for the undamaged stream.
//! - All these are readings of one window ([`Reading`]), and one policy says which are looked at when.
//! - A window is already fooled when the model is wrong about it before the attack, or gives the target. It is not
//!   attacked.
//!
//! The perturbation has the resolution of the view, and is interpolated into the rectangle of the planes that the crop
//! covers. So an iteration costs the same at any stream size, and the perturbation is smooth. In the gradient, rounding
//! and codecs count as the identity (straight-through).
//!
//! # What is measured
//!
//! - *MAP* is the mean absolute perturbation in gray levels, of what the model sees, over all pixels, channels and
//!   frames of the window (`map`). It is also given over the keyframes (`map_keyframes`), and before rendering and
//!   rounding (`map_float`).
//! - *SR*, the sparse rate, is the share of frames left clean. The paper's text says "perturbed". But a boundary of 0.3
//!   can select at most 5 of 16 frames, and Table 2 has 82 %.
//! - A *query* is a forward pass of the model, with or without its backward, or a further backward on the same pass.
//!   Forwards and backwards are also counted apart. *MQ*, the mean number of queries up to the first success, includes
//!   those of the selection.
//!
//! # The paper's search
//!
//! The paper descends in two stages ([`objective`], [`optimizer`]): `search=two-stage`. While the window keeps its label,
//! a step descends the class term (Eq. 1 untargeted, Eq. 2 targeted). While the window is fooled, a step descends the L2,1
//! norm of the perturbation instead. The walk takes its place by default, since it takes about a third of the calls and
//! leaves half of the perturbation or less.
//!
//! The two-stage rule, L2,1, Eq. 3 and Eq. 4, the boundaries and the bounds on iterations are the paper's. These
//! properties give the paper's attack: `search=two-stage learning-rate=0.255 learning-rate-decay=1 patience=0 grow-after=0
//! confidence=0`. With `search=two-stage` alone the attack departs from the paper in these:
//!
//! - *Absolute gradients*, normalized to sum to 1. A share b in (0, 1] needs non-negative weights.
//! - *The gradients of both stages at unit RMS.* Adam's moments are shared by two losses of unrelated units.
//! - *`learning-rate` 2.* Steps of a quarter of a gray level take many steps to move any 8-bit sample.
//! - *`learning-rate-decay` 0.7.* The step decays whenever a fooled window gets its label back. The boundary between
//!   the labels then lies within the last step.
//! - *`patience` 10.* A window that fell on the third query must not cost hundreds. A success that is smaller by less
//!   than one per cent does not renew the patience.
//! - *`grow-after` 5.* Two or three keyframes are too few for some windows of an LRCN. Without growth such windows take
//!   hundreds of iterations. The frames that join are chosen by the gradient of the step at hand, which costs no call.
//! - *`confidence` 0.5, and two readings of chroma.* Decoders differ in how they bring chroma to full size, and in how
//!   they round. A margin alone was not enough in a decoder that interpolates chroma.
//! - *Measured coverage of features.* When the model is loaded, it is measured which frames each feature step depends
//!   on, unless the metadata say so. A layer whose time axis has collapsed is not used: a warning says so, and the
//!   input gradient weighs the frames.
//!
//! `search=weighted-sum` is what SA's program does.

pub mod access;
pub mod adam;
pub mod blackbox;
pub mod calls;
pub mod config;
pub mod criterion;
pub mod donors;
mod error;
pub mod norm;
pub mod objective;
pub mod optimizer;
pub mod outcome;
mod readings;
pub mod region;
mod run;
mod search;
pub mod select;
pub mod support;
pub mod surrogate;
pub mod target;

pub use access::Access;
pub use calls::{Calls, Purpose, Purposes};
pub use config::{Config, Search};
pub use criterion::{Goal, Loss};
pub use donors::Donors;
pub use error::Error;
pub use norm::Norm;
pub use outcome::{Best, Outcome, Perturbation, Progress, Size, Trail};
pub use region::Region;
pub use run::{Start, run};
pub use select::{Keyframes, Selection};
pub use target::{Beyond, ByFrames, Delta, Differentiate, FeatureGradient, Features, Query, Reading, Shape};
