// SPDX-License-Identifier: MPL-2.0

//! One pass over a black window when a model is loaded: every way in which it may not fit becomes a sentence now, not a crash later.

use tch::{Kind, Tensor};

use super::classifier::{Features, Pass};
use super::features::Coverage;
use super::metadata::FeatureLayout;
use super::tensor::{copy_to, gradient, run_error};
use super::{Error, Model};

pub(super) struct Probed {
    pub classes: usize,
    pub features: Option<Features>,
    pub features_unused: Option<String>,
}

pub(super) fn probe(model: &mut Model) -> Result<Probed, Error> {
    // Per thread: without it the second call of a module is ten times as slow as the others.
    tch::jit::f_set_graph_executor_optimize(false).map_err(run_error)?;
    let shape = format!("{:?}", model.input_shape());
    let black = vec![0.0; model.view_len()];
    let all: Vec<usize> = (0..model.metadata().window).collect();
    let pass = model.pass(&black, &all).map_err(|e| match e {
        Error::Run { reason } => Error::Input { shape, reason },
        other => other,
    })?;
    let size = pass.logits.size();
    let &[1, classes] = size.as_slice() else {
        return Err(Error::Logits {
            found: format!("{size:?}"),
        });
    };
    if classes < 2 {
        return Err(Error::Logits {
            found: format!("{size:?}"),
        });
    }
    if !matches!(
        pass.logits.kind(),
        Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16
    ) {
        return Err(Error::NoGradient);
    }
    let classes = classes as usize;
    let mut logits = vec![0.0; classes];
    copy_to(&pass.logits.f_detach().map_err(run_error)?, &mut logits)?;
    if logits.iter().any(|z| !z.is_finite()) {
        return Err(Error::NotFinite {
            found: format!("{logits:?}"),
        });
    }
    let sum = pass.logits.f_sum(Kind::Float).map_err(run_error)?;
    let labels = model.metadata().labels.len();
    if labels != 0 && labels != classes {
        return Err(Error::Labels {
            labels,
            logits: classes,
        });
    }
    let mut grad_view = black;
    if let Err(error) = model.input_gradient(&sum, &all, &mut grad_view) {
        match error {
            // cuDNN has no backward of recurrent layers in evaluation mode; libtorch's own kernels have.
            Error::Run { reason } if reason.contains("cudnn RNN backward") => {
                tch::Cuda::set_user_enabled_cudnn(false);
                return probe(model);
            }
            other => return Err(other),
        }
    }
    let (features, features_unused) = probe_features(model)?;
    Ok(Probed {
        classes,
        features,
        features_unused,
    })
}

fn probe_features(model: &mut Model) -> Result<(Option<Features>, Option<String>), Error> {
    let metadata = model.metadata().clone();
    let frames = metadata.window;
    // Black frames may leave units dead that then seem to see nothing; any texture will do.
    let texture = (0..model.view_len()).map(|i| ((i * 2_654_435_761) >> 7 & 255) as f32);
    let texture: Vec<f32> = texture.collect();
    let all: Vec<usize> = (0..frames).collect();
    let pass = model.pass(&texture, &all)?;
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
            })
        }
        (None, 3) => FeatureLayout::Btd,
        (None, 5) if shape[1] == frames as i64 && shape[2] != frames as i64 => FeatureLayout::Btchw,
        (None, 5) => FeatureLayout::Bcthw,
        (None, 4) => return Ok((None, Some(collapsed(&shape)))),
        (None, _) => {
            return Err(Error::Features {
                expected: "[B, C, T', H', W'], [B, T', C, H', W'] or [B, T', D]".into(),
                found: format!("{shape:?}"),
            })
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
    let features = Features {
        layout,
        coverage,
        shape,
    };
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
        let sums = grad
            .f_abs()
            .and_then(|g| g.f_sum_dim_intlist(&others[..], false, Kind::Float))
            .map_err(run_error)?;
        let mut host = vec![0.0; metadata.window];
        copy_to(&sums, &mut host)?;
        Ok((0..host.len()).filter(|k| host[*k] > 0.0).collect())
    };
    (0..steps).map(covered).collect()
}
