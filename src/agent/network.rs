// SPDX-License-Identifier: MPL-2.0

//! The agent's network: each frame in small, three convolutions, an LSTM in both directions of time, and a number a frame.
//! Nothing in it depends on how many frames there are, or on their size.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{TchError, Tensor};

/// Frames are seen at this side.
const SIDE: i64 = 32;
/// Three colors and what a donor has more of each, and what the convolutions make of them.
const CHANNELS: [i64; 4] = [6, 16, 32, 64];
/// Units of the LSTM in each direction.
const HIDDEN: i64 = 128;

/// The sizes of the parameters: weight and bias of each convolution, weights and biases of the LSTM forwards and backwards,
/// and of the last layer.
fn shapes() -> Vec<Vec<i64>> {
    let convolutions = CHANNELS.windows(2).flat_map(|pair| [vec![pair[1], pair[0], 3, 3], vec![pair[1]]]);
    let gates = 4 * HIDDEN;
    let recurrent = [vec![gates, CHANNELS[3]], vec![gates, HIDDEN], vec![gates], vec![gates]];
    let last = [vec![1, 2 * HIDDEN], vec![1]];
    convolutions.chain(recurrent.clone()).chain(recurrent).chain(last).collect()
}

/// Parameters to begin with, one after the other. Those of the last layer are zero, so that each frame is as probable as not.
pub fn drawn(seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let shapes = shapes();
    let last = shapes.len() - 2;
    let mut values = Vec::new();
    for (n, shape) in shapes.iter().enumerate() {
        let inputs: i64 = shape[1..].iter().product();
        let bound = match shape.len() {
            _ if n >= last => 0.0,
            // He et al., ICCV 2015: what goes through rectifiers keeps its size.
            4 => (6.0 / inputs as f32).sqrt(),
            2 => 1.0 / (HIDDEN as f32).sqrt(),
            _ => 0.0,
        };
        values.extend((0..shape.iter().product()).map(|_: i64| bound * (2.0 * rng.random::<f32>() - 1.0)));
    }
    values
}

/// The parameters in a tensor of all of them.
pub fn parts(values: &Tensor) -> Result<Vec<Tensor>, TchError> {
    let flat = values.f_flatten(0, -1)?;
    let mut from = 0;
    let part = |shape: &Vec<i64>| {
        let len = shape.iter().product();
        from += len;
        flat.f_narrow(0, from - len, len)?.f_view(&shape[..])
    };
    shapes().iter().map(part).collect()
}

/// The logit of each frame's probability, `[T]`, of what is shown, `[1, 6, T, height, width]`.
pub fn logits(parts: &[Tensor], shown: &Tensor) -> Result<Tensor, TchError> {
    let frames = shown.f_squeeze_dim(0)?.f_transpose(0, 1)?;
    let mut features = frames.f_adaptive_avg_pool2d([SIDE, SIDE])?;
    let (convolutions, rest) = parts.split_at(2 * (CHANNELS.len() - 1));
    for layer in convolutions.chunks_exact(2) {
        features = features.f_conv2d(&layer[0], Some(&layer[1]), [2, 2], [1, 1], [1, 1], 1)?.f_relu()?;
    }
    let features = features.f_mean_dim(&[2i64, 3][..], false, None)?;
    // Frames of a window are much alike. What all have would drown what tells one from the others.
    let apart = features.f_sub(&features.f_mean_dim(&[0i64][..], true, None)?)?;
    let scale = apart.f_square()?.f_mean(None)?.f_add_scalar(1e-12)?.f_sqrt()?;
    let features = apart.f_div(&scale)?.f_unsqueeze(0)?;
    let (recurrent, last) = rest.split_at(rest.len() - 2);
    // Of the features' device, whatever it is by then.
    let first = features.f_narrow(1, 0, 1)?.f_narrow(2, 0, 1)?.f_zeros_like()?;
    let zero = first.f_expand([2, 1, HIDDEN], false)?.f_contiguous()?;
    let state = [zero.shallow_clone(), zero];
    let (steps, _, _) = features.f_lstm(&state, recurrent, true, 1, 0.0, false, true, true)?;
    steps.f_linear(&last[0], Some(&last[1]))?.f_flatten(0, -1)
}
