// SPDX-License-Identifier: MPL-2.0

//! The file of a universal perturbation: what is accepted has all its values, changes a frame, and reads back as it was.

#![no_main]

use gstsparseadv::universal::{Universal, Values};
use gstsparseadv::video::{Chroma, Color, Component, FrameLayout, View};
use libfuzzer_sys::fuzz_target;

/// Pixels of a view that a run has the time to work out.
const SMALL: usize = 64 * 64;

/// A gray frame of this height and width.
const FRAME: [usize; 2] = [24, 32];

fuzz_target!(|bytes: &[u8]| {
    let Ok(universal) = Universal::from_bytes(bytes) else {
        return;
    };
    let values = match &universal.values {
        Values::Added(values) => values.len(),
        Values::Shown(values) => values.len(),
    };
    assert_eq!(values, universal.shape.iter().product::<usize>());
    assert!(universal.phase(u64::MAX) < universal.period());
    let view = &universal.header.view;
    let geometry = view.geometry(FRAME[0], FRAME[1]);
    if view.crop[0] * view.crop[1] <= SMALL && geometry.resized[0] * geometry.resized[1] <= 16 * SMALL {
        let component = Component { plane: 0, offset: 0, pixel_stride: 1, shift_x: 0, shift_y: 0 };
        let layout = FrameLayout {
            width: FRAME[1],
            height: FRAME[0],
            components: vec![component],
            color: Color::Gray { full_range: true },
        };
        let view = View::new(&layout, geometry, Chroma::Repeated);
        let mut gray = vec![128; FRAME[0] * FRAME[1]];
        for phase in [0, universal.period() - 1] {
            view.apply(&mut vec![(&mut gray[..], FRAME[1])], &universal.changes_at(&view, phase));
        }
    }
    let written = universal.to_bytes().expect("a file");
    assert_eq!(Universal::from_bytes(&written).expect("what was written"), universal);
});
