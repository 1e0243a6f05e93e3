// SPDX-License-Identifier: MPL-2.0

//! The agent that picks keyframes, and how it learns: by REINFORCE (Williams, 1992), from what an attack on the frames that it
//! has drawn comes to. [`crate::attack::select::agent`] says what it is for, [`crate::model::agent`] runs what was learned.
//!
//! The abstract of Wang et al. (IJCAI 2021) says that the agent sees the difference to a clip of another class, and that the
//! victim's answers reward it. The rest is that of SVA and EARL, but for this:
//!
//! - *Features.* They take those of a ResNet-18 that has seen ImageNet. No such weights are here. Three small convolutions
//!   take their place, and learn along ([`network`]). What all frames of a window have in common is taken off: without that an
//!   agent ended with all frames where one decides.
//! - *The attack.* SVA's reward is `exp(-MAP / 0.05)` of a fooled window, and -1 of any other, with values from 0 to 1. Its
//!   attack takes thousands of queries. Here it is the beginning of the search of Wang et al. ([`trial`]): the radius at
//!   which the direction to a donor fools, by labels alone and in eight queries.
//! - *Diversity and representativeness.* SVA rewards these too, without a question to the victim, by its fixed features. Of
//!   features that the agent makes by itself, it could have any. They are left out.
//! - *The gradient.* In SVA's published program the attack's reward meets log-probabilities that are cut off from the network,
//!   and has no gradient. Here it has, and that is tested.
//! - *Entropy.* That frames stay open is rewarded a little, so that an agent is not sure too early.
//! - *The step.* It is a thousandth, without decay of the weights. Theirs is a hundred-thousandth, for layers behind features
//!   that are there.
//!
//! As published are the bidirectional LSTM of 128 units, one number a frame, five draws a clip, a baseline `b = 0.9 b + 0.1 r`
//! for each clip, Adam, and gradients no longer than 5.

mod file;
pub mod learn;
pub mod network;
pub mod trial;

pub use file::{Error, MEMBER, is_one, save};
pub use learn::{Config, Episode, Learner};
