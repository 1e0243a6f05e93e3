// SPDX-License-Identifier: MPL-2.0

//! The attack's rules, on a classifier simple enough to know every answer: logits that are linear in the view.

mod agent;
mod blackbox;
mod crossings;
mod objective;
mod rules;
mod selection;
mod surrogate;
mod toy;
mod walk;
