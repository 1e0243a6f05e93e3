// SPDX-License-Identifier: MPL-2.0

//! A sparse matrix in blocks of eight outputs, for loops that fill whole vector registers wherever the positions lie.

const LANES: usize = 8;

/// The positions and weights of one tap of eight outputs, or of their part that exists.
#[derive(Clone, Debug, PartialEq)]
struct Block {
    index: [u32; LANES],
    /// Zero where an output has no such tap. It then stands at the output's first one, and changes no sum.
    weight: [f32; LANES],
    /// Whether all of the positions follow one another.
    adjacent: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lanes {
    inputs: usize,
    outputs: usize,
    /// Taps of each block.
    taps: Vec<u32>,
    blocks: Vec<Block>,
}

impl Lanes {
    /// By the positions and weights of each output, in the order in which they are added.
    pub fn new(rows: &[Vec<(u32, f32)>]) -> Self {
        let inputs = rows.iter().flatten().map(|(i, _)| *i as usize + 1).max().unwrap_or(0);
        let mut lanes = Self { inputs, outputs: rows.len(), ..Self::default() };
        for rows in rows.chunks(LANES) {
            let taps = rows.iter().map(Vec::len).max().unwrap_or(0);
            lanes.taps.push(taps as u32);
            lanes.blocks.extend((0..taps).map(|tap| Block::new(rows, tap)));
        }
        lanes
    }

    /// `matrix * from`, in place of what `out` holds or added to it.
    #[inline(always)]
    pub fn apply<const ADD: bool>(&self, from: &[f32], out: &mut [f32]) {
        assert!(from.len() >= self.inputs, "as long as the matrix");
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the machine has AVX2, and every position lies within `from`.
            return unsafe { self.apply_wide::<ADD>(from, out) };
        }
        // SAFETY: every position lies within `from`.
        self.run::<ADD>(from, out, |index| index.map(|i| unsafe { *from.get_unchecked(i as usize) }));
    }

    /// # Safety
    /// Every position lies within `from`.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    unsafe fn apply_wide<const ADD: bool>(&self, from: &[f32], out: &mut [f32]) {
        use std::arch::x86_64::{_mm256_i32gather_ps, _mm256_loadu_si256, _mm256_storeu_ps};
        self.run::<ADD>(
            from,
            out,
            #[inline(always)]
            |index| {
                let mut values = [0.0; LANES];
                // SAFETY: eight numbers are loaded, and stored, where there are eight; those gathered lie within `from`.
                unsafe {
                    let index = _mm256_loadu_si256(index.as_ptr().cast());
                    _mm256_storeu_ps(values.as_mut_ptr(), _mm256_i32gather_ps::<4>(from.as_ptr(), index));
                }
                values
            },
        );
    }

    #[inline(always)]
    fn run<const ADD: bool>(&self, from: &[f32], out: &mut [f32], gather: impl Fn(&[u32; LANES]) -> [f32; LANES]) {
        let mut blocks = self.blocks.iter();
        for (out, taps) in out[..self.outputs].chunks_mut(LANES).zip(&self.taps) {
            let mut sum = [0.0; LANES];
            if ADD {
                load(out, &mut sum);
            }
            for block in blocks.by_ref().take(*taps as usize) {
                let first = block.index[0] as usize;
                let mut values = [0.0; LANES];
                match block.adjacent {
                    true => values.copy_from_slice(&from[first..first + LANES]),
                    false => values = gather(&block.index),
                }
                for ((s, w), v) in sum.iter_mut().zip(&block.weight).zip(values) {
                    *s += w * v;
                }
            }
            match out.len() {
                LANES => out.copy_from_slice(&sum),
                part => out.copy_from_slice(&sum[..part]),
            }
        }
    }
}

/// Fills the front of `eight` with what there is.
#[inline(always)]
fn load(values: &[f32], eight: &mut [f32; LANES]) {
    match values.len() {
        LANES => eight.copy_from_slice(values),
        part => eight[..part].copy_from_slice(values),
    }
}

impl Block {
    fn new(rows: &[Vec<(u32, f32)>], tap: usize) -> Self {
        let (mut index, mut weight) = ([0; LANES], [0.0; LANES]);
        for (lane, row) in rows.iter().enumerate() {
            let first = row.first().map(|(i, _)| (*i, 0.0));
            if let Some((i, w)) = row.get(tap).copied().or(first) {
                (index[lane], weight[lane]) = (i, w);
            }
        }
        let adjacent = rows.len() == LANES && index.windows(2).all(|pair| pair[1] == pair[0] + 1);
        Self { index, weight, adjacent }
    }
}
