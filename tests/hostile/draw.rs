// SPDX-License-Identifier: MPL-2.0

//! Draws from a seed: SplitMix64, so that a mutation is the same on every machine.

use std::ops::Range;

pub struct Draw(u64);

impl Draw {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number of a range, its beginning where that is empty.
    pub fn within(&mut self, range: Range<usize>) -> usize {
        range.start + (self.next() % range.len().max(1) as u64) as usize
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.within(0..from.len())]
    }

    pub fn byte(&mut self) -> u8 {
        self.next() as u8
    }

    pub fn once_in(&mut self, n: usize) -> bool {
        self.within(0..n) == 0
    }

    /// A number that programs get wrong.
    pub fn extreme(&mut self) -> i64 {
        let any = self.next() as i64;
        let list = [0, 1, -1, 2, 3, 127, 128, 255, 256, 65535, 65536, 1 << 24, i64::from(i32::MAX), 1 << 31, 1 << 32];
        match self.within(0..4) {
            0 => *self.pick(&[i64::MAX, i64::MIN, i64::MAX / 4, -(1 << 31), any, any >> 20, any >> 40]),
            _ => *self.pick(&list),
        }
    }
}
