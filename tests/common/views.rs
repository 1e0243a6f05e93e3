// SPDX-License-Identifier: MPL-2.0

//! Small frames of I420 as a model sees them.

use gstsparseadv::model::Model;
use gstsparseadv::video::view::Samples;
use gstsparseadv::video::{Chroma, Color, Component, FrameLayout, View};

/// Height and width.
const SIZE: [usize; 2] = [30, 40];

fn i420() -> FrameLayout {
    let component = |plane, shift| Component { plane, offset: 0, pixel_stride: 1, shift_x: shift, shift_y: shift };
    FrameLayout {
        width: SIZE[1],
        height: SIZE[0],
        components: vec![component(0, 0), component(1, 1), component(2, 1)],
        color: Color::Yuv { kr: 0.299, kb: 0.114, full_range: false },
    }
}

/// A model's view of such frames.
pub fn view(model: &Model, chroma: Chroma) -> View {
    View::new(&i420(), model.metadata().geometry(SIZE[0], SIZE[1]), chroma)
}

/// What it takes of so many of them, each of another texture.
pub fn samples(view: &View, frames: usize) -> Vec<Samples> {
    let frame = |k: usize| {
        let plane = |of: usize, width: usize, height: usize| -> Vec<u8> {
            (0..width * height).map(|i| 40 + ((i * (of + 3) + k * 29 + i / width * 7) % 170) as u8).collect()
        };
        [(plane(0, 40, 30), 40), (plane(1, 20, 15), 20), (plane(2, 20, 15), 20)]
    };
    let frames = (0..frames).map(|k| {
        let planes = frame(k);
        view.sample(&planes.iter().map(|(data, stride)| (data.as_slice(), *stride)).collect::<Vec<_>>())
    });
    frames.collect()
}

/// What it takes of frames of one color, as Y, U and V.
pub fn flat(view: &View, color: [u8; 3], frames: usize) -> Vec<Samples> {
    let planes = [(vec![color[0]; 40 * 30], 40), (vec![color[1]; 20 * 15], 20), (vec![color[2]; 20 * 15], 20)];
    let planes: Vec<_> = planes.iter().map(|(data, stride)| (data.as_slice(), *stride)).collect();
    vec![view.sample(&planes); frames]
}
