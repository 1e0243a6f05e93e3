// SPDX-License-Identifier: MPL-2.0

//! Passes over a few windows when a model is loaded: every way in which it may not fit becomes a sentence now, not a
//! crash or a wrong number later.

use tch::{Kind, Tensor};

use super::features::{Coverage, Features};
use super::metadata::FeatureLayout;
use super::module::{Module, Pass};
use super::tensor::{FLOATS, gradient, run_error};
use super::{Error, cudnn, refusal};
use crate::torch;

pub(super) struct Probed {
    pub classes: usize,
    pub features: Option<Features>,
    pub features_unused: Option<String>,
    /// What makes results doubtful, a sentence each.
    pub doubts: Vec<String>,
}

const BLACK: &str = "a black window";
const NOISE: &str = "a window of noise";
const TEXTURE: &str = "a window of texture";

/// The windows a model is looked at with. Black alone may leave units dead, and one window may meet a model's
/// exception.
struct Views {
    black: Tensor,
    noise: Tensor,
    texture: Tensor,
}

impl Views {
    fn of(module: &Module) -> Result<Self, Error> {
        let [h, w] = module.lens.metadata.crop;
        let shape = [1, module.lens.metadata.window, 3, h, w];
        let len = shape.iter().product();
        let hash = |i: usize| ((i.wrapping_mul(2_654_435_761)) >> 7 & 255) as f32;
        let stripes = |i: usize| {
            // Of another width and place in every row, color and frame.
            let (x, row) = (i % w, i / w);
            let phase = x as f32 * (0.15 + 0.01 * (row % 7) as f32) + row as f32 * 0.4;
            127.5 + 100.0 * phase.sin() + (hash(i) - 127.5) * 0.2
        };
        let view = |of: &dyn Fn(usize) -> f32| {
            let values: Vec<f32> = (0..len).map(of).collect();
            torch::upload(&values, &shape.map(|n| n as i64), module.lens.device).map_err(run_error)
        };
        Ok(Self { black: view(&|_| 0.0)?, noise: view(&hash)?, texture: view(&stripes)? })
    }
}

/// One pass over a window. A model that writes into its input gets a copy from here on.
fn pass<'a>(module: &'a mut Module, view: &Tensor) -> Result<&'a Pass, Error> {
    module.show(&module.lens.all(), view)?;
    match module.forward(true, false) {
        Err(Error::WritesInput) if !module.giving.copies => {
            module.copy_input();
            module.show(&module.lens.all(), view)?;
            module.forward(true, false)?;
        }
        Err(error) => return Err(error),
        Ok(_) => {}
    }
    module.last()
}

/// Shows the window of texture.
pub(super) fn show_texture(module: &mut Module) -> Result<(), Error> {
    let texture = Views::of(module)?.texture;
    module.show(&module.lens.all(), &texture)
}

/// Two windows that have nothing to do with each other, `[2, T, 3, height, width]`.
pub(super) fn two_windows(module: &Module) -> Result<Tensor, Error> {
    let Views { noise, texture, .. } = Views::of(module)?;
    Tensor::f_cat(&[texture, noise], 0).map_err(run_error)
}

pub(super) fn probe(module: &mut Module) -> Result<Probed, Error> {
    let found = {
        let _as_it_is = cudnn::as_it_is();
        look_at(module)
    };
    match found {
        Err(Error::Run { reason }) if cudnn::lacks_backward(&reason) => {
            module.giving.without_cudnn = true;
            look_at(module)
        }
        found => found,
    }
}

fn look_at(module: &mut Module) -> Result<Probed, Error> {
    // Per thread: without it the second call of a module is ten times as slow as the others.
    tch::jit::f_set_graph_executor_optimize(false).map_err(run_error)?;
    let views = Views::of(module)?;
    begin(module, &views.black)?;
    let classes = shape_of(module)?;
    let black = look(module, &views.black, BLACK)?;
    let labels = module.lens.metadata.labels.len();
    if labels != 0 && labels != classes {
        return Err(Error::Labels { labels, logits: classes });
    }
    let noise = look(module, &views.noise, NOISE)?;
    let texture = look(module, &views.texture, TEXTURE)?;
    for (view, name, first) in [(&views.noise, NOISE, &noise), (&views.texture, TEXTURE, &texture)] {
        let second = look(module, view, name)?;
        repeated(module, name, first, &second)?;
    }
    // The last pass was over texture.
    let zero = zero_gradient(module)?;
    let (features, features_unused) = probe_features(module)?;
    let mut doubts = Vec::new();
    doubts.extend(probabilities(module, &[black, noise, texture])?);
    if zero == Gradient::Zero {
        pass(module, &views.noise)?;
        if zero_gradient(module)? == Gradient::Zero {
            doubts.push(
                "The model gives no gradient: it is zero on windows of texture and of noise alike, so that no attack can move it. That is no \
                 robustness. Take saturating or rounding operations (a softmax, a sign, a threshold) out of it, and export it again."
                    .into(),
            );
        }
    } else if zero == Gradient::NotFinite {
        pass(module, &views.noise)?;
        if zero_gradient(module)? == Gradient::NotFinite {
            return Err(Error::GradientNotFinite);
        }
    }
    Ok(Probed { classes, features, features_unused, doubts })
}

/// The first pass, in the precision that the model takes.
fn begin(module: &mut Module, view: &Tensor) -> Result<(), Error> {
    let mut refused = match pass(module, view).map(|_| ()) {
        Err(Error::Run { reason }) => reason,
        done => return done,
    };
    if refusal::of_precision(&refused) {
        // A traced model holds its weights as constants, so its parameters do not tell their kind.
        let stated = module.giving.kind;
        for kind in FLOATS.into_iter().filter(|kind| *kind != stated) {
            module.giving.kind = kind;
            match pass(module, view).map(|_| ()) {
                Err(Error::Run { reason }) if kind == Kind::Float => refused = reason,
                Err(Error::Run { .. }) => {}
                done => return done,
            }
        }
        module.giving.kind = stated;
    }
    let remedy = refusal::of_input(module, &refused);
    Err(Error::Input { shape: format!("{:?}", module.lens.input_shape()), reason: refused, remedy })
}

/// The number of classes, by the last pass.
fn shape_of(module: &mut Module) -> Result<usize, Error> {
    let logits = &module.last()?.logits;
    let size = logits.size();
    let classes = match size[..] {
        [1, classes] if classes >= 2 => classes,
        _ => return Err(Error::Logits { found: format!("{size:?}") }),
    };
    if FLOATS.contains(&logits.kind()) { Ok(classes as usize) } else { Err(Error::NoGradient) }
}

/// The logits of a window.
fn look(module: &mut Module, view: &Tensor, name: &str) -> Result<Vec<f32>, Error> {
    module.show(&module.lens.all(), view)?;
    let meant = module.input()?.f_mul_scalar(1.0).map_err(run_error)?;
    let mut logits = logits_of(pass(module, view)?)?;
    // libtorch does not count writes through `.data`.
    if !module.giving.copies && !module.input()?.f_equal(&meant).map_err(run_error)? {
        module.copy_input();
        logits = logits_of(pass(module, view)?)?;
    }
    if logits.iter().any(|z| !z.is_finite()) {
        return Err(Error::NotFinite { found: format!("{logits:?}"), input: name.into() });
    }
    Ok(logits)
}

fn logits_of(pass: &Pass) -> Result<Vec<f32>, Error> {
    torch::download(&pass.logits).map_err(run_error)
}

/// How far two passes over one input may lie apart, as a part of the largest logit. A matrix product may sum in another
/// order at another address; that is some hundred roundings at most.
fn noise_of(kind: Kind) -> f32 {
    match kind {
        Kind::Half => 2e-2,
        Kind::BFloat16 => 1e-1,
        _ => 1e-4,
    }
}

fn repeated(module: &Module, name: &str, first: &[f32], second: &[f32]) -> Result<(), Error> {
    let largest = first.iter().chain(second).fold(0.0f32, |m, z| m.max(z.abs()));
    let pairs = first.iter().zip(second);
    let difference = pairs.fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
    if difference <= noise_of(module.giving.kind) * largest {
        return Ok(());
    }
    Err(Error::NotRepeatable { difference, input: name.into() })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Gradient {
    Zero,
    NotFinite,
    Some,
}

/// The gradient of a mixture of the last pass's logits. Their sum would not do: that of probabilities is constant.
fn zero_gradient(module: &mut Module) -> Result<Gradient, Error> {
    let pass = module.last()?;
    let classes = pass.logits.numel();
    // Whole numbers of the sum zero: what moves all logits alike moves no label, and cancels exactly.
    let mut weights: Vec<f32> = (0..classes).map(|k| ((k * 7 + 3) % 11) as f32 - 5.0).collect();
    let sum: f32 = weights.iter().sum();
    if let Some(last) = weights.last_mut() {
        *last -= sum;
    }
    let weighted = torch::upload(&weights, &pass.logits.size(), module.lens.device).and_then(|w| pass.weighted(&w));
    let gradient = module.view_gradient(&weighted.map_err(run_error)?, &module.lens.all())?;
    let is = |of: Result<Tensor, tch::TchError>| -> Result<bool, Error> {
        let found = of.and_then(|t| torch::download(&t)).map_err(run_error)?;
        Ok(found.iter().any(|v| *v != 0.0))
    };
    Ok(if !is(gradient.f_isfinite().and_then(|finite| finite.f_all()))? {
        Gradient::NotFinite
    } else if !is(gradient.f_ne(0.0).and_then(|some| some.f_any()))? {
        Gradient::Zero
    } else {
        Gradient::Some
    })
}

/// Whether the outputs are probabilities: they sum to 1 or 100 whatever the input, or stay between 0 and 1.
/// Log-probabilities are logits up to a constant, and fit.
fn probabilities(module: &mut Module, outputs: &[Vec<f32>; 3]) -> Result<Option<String>, Error> {
    let sums_to = |total: f32| {
        let sums = |z: &Vec<f32>| (z.iter().sum::<f32>() - total).abs() <= 2e-3 * total;
        let positive = |z: &Vec<f32>| z.iter().all(|p| *p >= -1e-6 * total);
        outputs.iter().all(|z| sums(z) && positive(z))
    };
    let within = |z: &[f32]| z.iter().all(|p| (0.0..=1.0).contains(p));
    let found = if sums_to(1.0) {
        "sum to 1 on every input, as probabilities (softmax) do"
    } else if sums_to(100.0) {
        "sum to 100 on every input, as probabilities in percent do"
    } else if outputs.iter().all(|z| within(z)) && bounded(module, within)? {
        "stay between 0 and 1 on every input, as probabilities (sigmoid) do"
    } else {
        return Ok(None);
    };
    Ok(Some(format!(
        "The model's outputs {found}, where logits are expected: where the model is sure, their gradient vanishes, and a lead of `confidence` \
         cannot be reached. Failures of the attack are then no robustness. Take the softmax or sigmoid out of the model's end, and export it \
         again."
    )))
}

/// Whether the outputs stay within their bounds for input ten thousand times as strong as any, which takes logits far
/// away.
fn bounded(module: &mut Module, within: impl Fn(&[f32]) -> bool) -> Result<bool, Error> {
    let strong = Views::of(module)?.noise;
    let strong = strong.f_add_scalar(-127.5).and_then(|view| view.f_mul_scalar(1e4)).map_err(run_error)?;
    let Ok(pass) = pass(module, &strong) else {
        return Ok(false);
    };
    // A sigmoid is driven to its ends; what is bounded before the last layer is not.
    let ends = |z: &[f32]| z.iter().all(|p| *p < 0.05 || *p > 0.95);
    let logits = logits_of(pass)?;
    Ok(within(&logits) && ends(&logits))
}

/// Looks at the features of the last pass.
fn probe_features(module: &mut Module) -> Result<(Option<Features>, Option<String>), Error> {
    let metadata = module.lens.metadata.clone();
    let frames = metadata.window;
    let pass = module.last()?;
    let Some(map) = &pass.features else {
        return Ok((None, None));
    };
    let shape = map.size();
    let sum = pass.logits.f_sum(Kind::Float).map_err(run_error)?;
    if gradient(&sum, map, true)?.is_none() {
        return Err(Error::FeaturesOffPath);
    }
    let layout = match (metadata.feature_layout, shape.len()) {
        (Some(layout), rank) if layout.rank() == rank => layout,
        (Some(layout), _) => {
            return Err(Error::Features {
                expected: format!("{layout:?} ({} axes)", layout.rank()),
                found: format!("{shape:?}"),
            });
        }
        (None, 3) => FeatureLayout::Btd,
        (None, 5) if shape[1] == frames as i64 && shape[2] != frames as i64 => FeatureLayout::Btchw,
        (None, 5) => FeatureLayout::Bcthw,
        (None, 4) => return Ok((None, Some(collapsed(&shape)))),
        (None, _) => {
            return Err(Error::Features {
                expected: "[B, C, T', H', W'], [B, T', C, H', W'] or [B, T', D]".into(),
                found: format!("{shape:?}"),
            });
        }
    };
    let steps = shape[layout.time_axis()] as usize;
    let coverage = match metadata.feature_window {
        Some(window) => Coverage::from_window(frames, steps, window),
        None if steps < 2 && frames > 1 => Coverage::new(frames, vec![(0..frames).collect()]),
        None => Coverage::new(frames, measure_coverage(pass, layout, steps, module.lens.time_axis())?),
    };
    if coverage.is_blind() {
        return Ok((None, Some(collapsed(&shape))));
    }
    let features = Features { layout, coverage, shape };
    Ok((Some(features), None))
}

fn collapsed(shape: &[i64]) -> String {
    format!(
        "the feature map {shape:?} tells no frame from another (its time axis has collapsed, or each of its steps sees the whole window), \
         so keyframes are weighed by the input gradient; export an earlier layer to weigh them by features"
    )
}

/// The frames whose input has a gradient from each feature step.
fn measure_coverage(pass: &Pass, layout: FeatureLayout, steps: usize, time: i64) -> Result<Vec<Vec<usize>>, Error> {
    let map = pass.features.as_ref().ok_or(Error::FeaturesOffPath)?;
    let others: Vec<i64> = (0..5).filter(|d| *d != time).collect();
    let covered = |step: usize| -> Result<Vec<usize>, Error> {
        let sum = map
            .f_select(layout.time_axis() as i64, step as i64)
            .and_then(|s: Tensor| s.f_sum(Kind::Float))
            .map_err(run_error)?;
        let grad = gradient(&sum, &pass.input, true)?.ok_or(Error::FeaturesOffPath)?;
        let sums =
            grad.f_abs().and_then(|g| g.f_sum_dim_intlist(&others[..], false, Kind::Float)).map_err(run_error)?;
        let host = torch::download(&sums).map_err(run_error)?;
        Ok((0..host.len()).filter(|k| host[*k] > 0.0).collect())
    };
    (0..steps).map(covered).collect()
}
