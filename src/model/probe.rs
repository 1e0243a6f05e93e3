// SPDX-License-Identifier: MPL-2.0

//! Passes over a few windows when a model is loaded: every way in which it may not fit becomes a sentence now, not a
//! crash or a wrong number later.

use tch::{Kind, Tensor};

use super::classifier::{Features, Pass};
use super::features::Coverage;
use super::metadata::FeatureLayout;
use super::tensor::{FLOATS, copy_to, gradient, run_error};
use super::{Error, Model, refusal};

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
    black: Vec<f32>,
    noise: Vec<f32>,
    texture: Vec<f32>,
}

impl Views {
    fn of(model: &Model) -> Self {
        let [_, w] = model.metadata().crop;
        let hash = |i: usize| ((i.wrapping_mul(2_654_435_761)) >> 7 & 255) as f32;
        let len = model.view_len();
        let stripes = |i: usize| {
            // Of another width and place in every row, color and frame.
            let (x, row) = (i % w, i / w);
            let phase = x as f32 * (0.15 + 0.01 * (row % 7) as f32) + row as f32 * 0.4;
            127.5 + 100.0 * phase.sin() + (hash(i) - 127.5) * 0.2
        };
        Self { black: vec![0.0; len], noise: (0..len).map(hash).collect(), texture: (0..len).map(stripes).collect() }
    }
}

pub(super) fn probe(model: &mut Model) -> Result<Probed, Error> {
    // Per thread: without it the second call of a module is ten times as slow as the others.
    tch::jit::f_set_graph_executor_optimize(false).map_err(run_error)?;
    let views = Views::of(model);
    begin(model, &views.black)?;
    let classes = shape_of(model)?;
    let black = look(model, &views.black, BLACK)?;
    let labels = model.metadata().labels.len();
    if labels != 0 && labels != classes {
        return Err(Error::Labels { labels, logits: classes });
    }
    let noise = look(model, &views.noise, NOISE)?;
    let texture = look(model, &views.texture, TEXTURE)?;
    for (view, name, first) in [(&views.noise, NOISE, &noise), (&views.texture, TEXTURE, &texture)] {
        let second = look(model, view, name)?;
        repeated(model, name, first, &second)?;
    }
    // The last pass was over texture.
    let zero = match zero_gradient(model) {
        // cuDNN has no backward of recurrent layers in evaluation mode; libtorch's own kernels have.
        Err(Error::Run { reason }) if reason.contains("cudnn RNN backward") => {
            tch::Cuda::set_user_enabled_cudnn(false);
            return probe(model);
        }
        zero => zero?,
    };
    let (features, features_unused) = probe_features(model)?;
    let mut doubts = Vec::new();
    doubts.extend(probabilities(model, &[black, noise, texture])?);
    if zero == Gradient::Zero {
        model.pass(&views.noise, &all(model))?;
        if zero_gradient(model)? == Gradient::Zero {
            doubts.push(
                "The model gives no gradient: it is zero on windows of texture and of noise alike, so that no attack can move it. That is no \
                 robustness. Take saturating or rounding operations (a softmax, a sign, a threshold) out of it, and export it again."
                    .into(),
            );
        }
    } else if zero == Gradient::NotFinite {
        model.pass(&views.noise, &all(model))?;
        if zero_gradient(model)? == Gradient::NotFinite {
            return Err(Error::GradientNotFinite);
        }
    }
    Ok(Probed { classes, features, features_unused, doubts })
}

fn all(model: &Model) -> Vec<usize> {
    (0..model.metadata().window).collect()
}

/// The first pass, in the precision that the model takes.
fn begin(model: &mut Model, view: &[f32]) -> Result<(), Error> {
    let all = all(model);
    let mut refused = match model.pass(view, &all).map(|_| ()) {
        Err(Error::Run { reason }) => reason,
        done => return done,
    };
    if refusal::of_precision(&refused) {
        // A traced model holds its weights as constants, so its parameters do not tell their kind.
        let stated = model.giving.kind;
        for kind in FLOATS.into_iter().filter(|kind| *kind != stated) {
            model.giving.kind = kind;
            match model.pass(view, &all).map(|_| ()) {
                Err(Error::Run { reason }) if kind == Kind::Float => refused = reason,
                Err(Error::Run { .. }) => {}
                done => return done,
            }
        }
        model.giving.kind = stated;
    }
    let remedy = refusal::of_input(model, &refused);
    Err(Error::Input { shape: format!("{:?}", model.input_shape()), reason: refused, remedy })
}

/// The number of classes, by the last pass.
fn shape_of(model: &mut Model) -> Result<usize, Error> {
    let logits = &model.last()?.logits;
    let size = logits.size();
    let classes = match size[..] {
        [1, classes] if classes >= 2 => classes,
        _ => return Err(Error::Logits { found: format!("{size:?}") }),
    };
    match FLOATS.contains(&logits.kind()) {
        true => Ok(classes as usize),
        false => Err(Error::NoGradient),
    }
}

/// The logits of a window. A model that writes into its input gets a copy from here on.
fn look(model: &mut Model, view: &[f32], name: &str) -> Result<Vec<f32>, Error> {
    let all = all(model);
    let meant = model.fill(view, &all).and_then(|t| t.f_detach()?.f_mul_scalar(1.0));
    let meant = meant.map_err(run_error)?;
    let mut logits = model.pass(view, &all)?.logits()?;
    // libtorch does not count writes through `.data`.
    let given = model.last()?.input.f_detach().map_err(run_error)?;
    if !model.giving.copies && !given.f_equal(&meant).map_err(run_error)? {
        model.copy_input();
        logits = model.pass(view, &all)?.logits()?;
    }
    if logits.iter().any(|z| !z.is_finite()) {
        return Err(Error::NotFinite { found: format!("{logits:?}"), input: name.into() });
    }
    Ok(logits)
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

fn repeated(model: &Model, name: &str, first: &[f32], second: &[f32]) -> Result<(), Error> {
    let largest = first.iter().chain(second).fold(0.0f32, |m, z| m.max(z.abs()));
    let pairs = first.iter().zip(second);
    let difference = pairs.fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
    if difference <= noise_of(model.giving.kind) * largest {
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
fn zero_gradient(model: &mut Model) -> Result<Gradient, Error> {
    let pass = model.last()?;
    let classes = pass.logits.numel();
    // Whole numbers of the sum zero: what moves all logits alike moves no label, and cancels exactly.
    let mut weights: Vec<f32> = (0..classes).map(|k| ((k * 7 + 3) % 11) as f32 - 5.0).collect();
    let sum: f32 = weights.iter().sum();
    if let Some(last) = weights.last_mut() {
        *last -= sum;
    }
    let sum = pass.weighted(&weights).map_err(run_error)?;
    let mut grad = vec![0.0; model.view_len()];
    let all = all(model);
    model.input_gradient(&sum, &all, &mut grad)?;
    Ok(if grad.iter().any(|g| !g.is_finite()) {
        Gradient::NotFinite
    } else if grad.iter().all(|g| *g == 0.0) {
        Gradient::Zero
    } else {
        Gradient::Some
    })
}

/// Whether the outputs are probabilities: they sum to 1 or 100 whatever the input, or stay between 0 and 1.
/// Log-probabilities are logits up to a constant, and fit.
fn probabilities(model: &mut Model, outputs: &[Vec<f32>; 3]) -> Result<Option<String>, Error> {
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
    } else if outputs.iter().all(|z| within(z)) && bounded(model, within)? {
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
fn bounded(model: &mut Model, within: impl Fn(&[f32]) -> bool) -> Result<bool, Error> {
    let strong = Views::of(model).noise;
    let strong: Vec<f32> = strong.iter().map(|v| (v - 127.5) * 1e4).collect();
    let all = all(model);
    let Ok(pass) = model.pass(&strong, &all) else {
        return Ok(false);
    };
    // A sigmoid is driven to its ends; what is bounded before the last layer is not.
    let ends = |z: &[f32]| z.iter().all(|p| *p < 0.05 || *p > 0.95);
    let logits = pass.logits()?;
    Ok(within(&logits) && ends(&logits))
}

/// Looks at the features of the last pass.
fn probe_features(model: &mut Model) -> Result<(Option<Features>, Option<String>), Error> {
    let metadata = model.metadata().clone();
    let frames = metadata.window;
    let pass = model.last()?;
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
        None => Coverage::new(frames, measure_coverage(pass, layout, steps, &metadata)?),
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
fn measure_coverage(
    pass: &Pass,
    layout: FeatureLayout,
    steps: usize,
    metadata: &super::Metadata,
) -> Result<Vec<Vec<usize>>, Error> {
    let map = pass.features.as_ref().ok_or(Error::FeaturesOffPath)?;
    let time = match metadata.layout {
        super::metadata::Layout::Bcthw => 2,
        super::metadata::Layout::Btchw => 1,
    };
    let others: Vec<i64> = (0..5).filter(|d| *d != time).collect();
    let covered = |step: usize| -> Result<Vec<usize>, Error> {
        let sum = map
            .f_select(layout.time_axis() as i64, step as i64)
            .and_then(|s: Tensor| s.f_sum(Kind::Float))
            .map_err(run_error)?;
        let grad = gradient(&sum, &pass.input, true)?.ok_or(Error::FeaturesOffPath)?;
        let sums =
            grad.f_abs().and_then(|g| g.f_sum_dim_intlist(&others[..], false, Kind::Float)).map_err(run_error)?;
        let mut host = vec![0.0; metadata.window];
        copy_to(&sums, &mut host)?;
        Ok((0..host.len()).filter(|k| host[*k] > 0.0).collect())
    };
    (0..steps).map(covered).collect()
}
