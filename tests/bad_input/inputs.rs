// SPDX-License-Identifier: MPL-2.0

//! Models that take another input than the contract's, and models that treat it badly.

use tch::{Kind, Tensor};

use crate::common::guarded;
use crate::common::models::{CLASSES, ModelFile, SIDE, edit_code, plain_metadata, traced_with, weights};
use crate::{linear, plain, refused};

const N: i64 = SIDE as i64;
const LEN: i64 = 3 * 4 * N * N;

/// A model traced at an input of this shape.
fn of(shape: &[i64], kind: Kind, net: impl Fn(&Tensor) -> Tensor) -> ModelFile {
    let input = (weights(9, shape, 0.5) + 0.5).to_kind(kind);
    let file = traced_with(&[input], |inputs| vec![net(&inputs[0])]);
    file.with_metadata(&plain_metadata(4).to_string())
}

fn matrix(kind: Kind) -> Tensor {
    weights(3, &[LEN, CLASSES as i64], 0.1).to_kind(kind)
}

#[test]
fn inputs_of_other_conventions() {
    guarded(60, || {
        let kernel = weights(1, &[4, 3, 1, 3, 3], 1.0);
        let head = weights(3, &[4 * 4 * (N - 2) * (N - 2), CLASSES as i64], 0.1);
        let net = move |x: &Tensor| {
            let map = x.conv3d(&kernel, None::<&Tensor>, 1, 0, 1, 1);
            map.flatten(1, -1).matmul(&head)
        };
        let six = of(&[1, 1, 3, 4, N, N], Kind::Float, |x| net(&x.select(1, 0)));
        refused(&six, &[], &["refuses its input", "six axes", "wrap it"]);
        let last = of(&[1, 4, N, N, 3], Kind::Float, |x| net(&x.permute([0, 4, 1, 2, 3])));
        refused(&last, &[], &["channels last", "wrap it"]);
        let swapped = of(&[1, 4, 3, N, N], Kind::Float, |x| net(&x.transpose(1, 2)));
        refused(&swapped, &[], &["[1, 4, 3, 16, 16]", "layout", "BTCHW"]);
        let bytes = of(&[1, 3, 4, N, N], Kind::Uint8, |x| net(&(x.bitwise_not().to_kind(Kind::Float) / 255.0)));
        refused(&bytes, &[], &["bytes (uint8)", "no gradient"]);
    });
}

#[test]
fn other_numbers_on_the_axes() {
    guarded(60, || {
        let m = matrix(Kind::Float);
        let batch = of(&[8, 3, 4, N, N], Kind::Float, |x| x.reshape([8, -1]).matmul(&m));
        refused(&batch, &[], &["batches of 8", "batch of 1"]);
        let wide = weights(3, &[2 * LEN, CLASSES as i64], 0.1);
        let frames = of(&[1, 3, 8, N, N], Kind::Float, |x| x.flatten(1, -1).matmul(&wide));
        refused(&frames, &[], &["windows of 8 frames", "window-size"]);
    });
}

#[test]
fn other_arguments() {
    guarded(60, || {
        let input = weights(9, &[1, 3, 4, N, N], 0.5) + 0.5;
        let m = matrix(Kind::Float);
        let two = traced_with(&[input.shallow_clone(), input], |x| vec![(&x[0] * &x[1]).flatten(1, -1).matmul(&m)]);
        refused(&plain(two), &[], &["number of arguments", "takes one clip"]);
    });
}

#[test]
fn tensors_of_a_gpu() {
    if tch::Cuda::is_available() {
        return;
    }
    guarded(60, || {
        let model = linear(|logits, _| vec![logits.to_device(tch::Device::Cpu)]);
        edit_code(&model.path, |code| {
            assert!(code.contains("torch.device(\"cpu\")"), "{code}");
            code.replace("torch.device(\"cpu\")", "torch.device(\"cuda:0\")")
        });
        let words = ["refuses its input", "of a GPU", ".cpu()"];
        refused(&plain(model), &[], &words);
    });
}

#[test]
fn random_models_and_models_with_a_memory() {
    guarded(60, || {
        let words = ["two passes over one input", "differ", ".eval()"];
        // So many choices that two passes never make the same ones.
        let random = plain(linear(|logits, _| {
            let many = logits.repeat([1, 32]).dropout(0.5, true);
            vec![many.view([-1, 32, 4]).mean_dim(1i64, false, Kind::Float)]
        }));
        refused(&random, &[], &words);
        // On black the product is zero whatever is dropped.
        let elsewhere = plain(linear(|logits, x| vec![logits + x.dropout(0.5, true).flatten(1, -1).narrow(1, 0, 4)]));
        refused(&elsewhere, &[], &words);
        // Counts its passes, and differs from the third on.
        let passes = Tensor::zeros([1], (Kind::Float, tch::Device::Cpu));
        let counting = plain(linear(move |logits, _| {
            let mut passes = passes.shallow_clone();
            let n = passes.g_add_(&Tensor::ones([1], (Kind::Float, tch::Device::Cpu)));
            vec![logits + (n - 2.0).relu()]
        }));
        refused(&counting, &[], &words);
    });
}

#[test]
fn quantized_models() {
    guarded(60, || {
        let model = plain(linear(|logits, _| vec![logits.quantize_per_tensor(0.1, 0, Kind::QInt8).dequantize()]));
        refused(&model, &[], &["quantized", "before it was quantized"]);
    });
}
