// SPDX-License-Identifier: MPL-2.0

//! Made-up frames. Passes over other numbers take another time: noise has no denormals, and saturates nothing.

use gstsparseadv::video::layout::BT709;
use gstsparseadv::video::view::Samples;
use gstsparseadv::video::{Color, Component, FrameLayout, View};

/// A layout of frames of this size.
pub fn i420(width: usize, height: usize) -> FrameLayout {
    let component = |plane, shift| Component { plane, offset: 0, pixel_stride: 1, shift_x: shift, shift_y: shift };
    FrameLayout {
        width,
        height,
        components: vec![component(0, 0), component(1, 1), component(2, 1)],
        color: Color::Yuv { kr: BT709.0, kb: BT709.1, full_range: false },
    }
}

fn textured(layout: &FrameLayout, k: usize) -> Vec<(Vec<u8>, usize)> {
    let plane = |shift: u32| {
        let (w, h) = (layout.width >> shift, layout.height >> shift);
        let data = (0..w * h).map(|i| 32 + ((i * 7 + i / w * 13 + k * 5) % 180) as u8).collect();
        (data, w)
    };
    vec![plane(0), plane(1), plane(1)]
}

/// What a view sees of so many frames.
pub fn samples(view: &View, layout: &FrameLayout, frames: usize) -> Vec<Samples> {
    let sample = |k: usize| {
        let frame = textured(layout, k);
        let planes: Vec<(&[u8], usize)> = frame.iter().map(|(d, s)| (d.as_slice(), *s)).collect();
        view.sample(&planes)
    };
    (0..frames).map(sample).collect()
}
