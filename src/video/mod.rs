// SPDX-License-Identifier: MPL-2.0

//! Between the bytes of a video stream and the model's view of them: *observe* turns a frame's planes into the model's
//! geometry, *render* turns a perturbation of the view into bytes of the planes. Knows neither GStreamer nor the model.

pub mod changes;
pub mod device;
pub mod geometry;
mod kernels;
mod lanes;
pub mod layout;
pub mod observe;
pub mod observer;
pub mod taps;
pub mod view;

pub use device::DeviceView;
pub use geometry::{Chroma, Geometry};
pub use layout::{Color, Component, FrameLayout, Rows, RowsMut};
pub use view::View;
