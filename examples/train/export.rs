// SPDX-License-Identifier: MPL-2.0

//! Writes the trained network as the plugin wants it: a TorchScript archive of one traced `forward` that returns logits
//! and features, with the metadata as `extra/sparseadv.json`; then reads it back and compares.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use gstsparseadv::model::Metadata;
use tch::{CModule, IValue, Kind, TchError, Tensor};
use zip::ZipArchive;

use crate::archive::{self, MEMBER};
use crate::network::Network;

/// Largest difference of the logits, relative to the largest of them (or to 1, if that is larger): what folding batch
/// norm and the order of additions may change.
const TOLERANCE: f64 = 1e-5;

/// Writes `network`, whose variables must not require gradients any more. `input` is an example with a batch of more
/// than one, so that the traced graph keeps nothing that holds for one alone.
pub fn write(network: &mut dyn Network, input: &Tensor, metadata: &Metadata, path: &Path) -> Result<()> {
    let trained = network.forward(input, false)?.logits;
    network.fold()?;
    let traced = path.with_extension("traced");
    let json = serde_json::to_vec_pretty(metadata)?;
    trace(network, input)?
        .save(&traced)
        .map_err(anyhow::Error::from)
        .and_then(|()| archive::finish(&traced, path, &json, network.encodes_frames()))
        .with_context(|| format!("{} could not be written", path.display()))?;
    std::fs::remove_file(&traced).with_context(|| format!("{} could not be removed", traced.display()))?;
    verify(path, input, &trained, metadata).with_context(|| format!("{} is not what was trained", path.display()))
}

fn trace(network: &dyn Network, input: &Tensor) -> Result<CModule> {
    let mut failure = None;
    let module =
        CModule::create_by_tracing("SparseadvClassifier", "forward", &[input.shallow_clone()], &mut |inputs| {
            match packed(network, &inputs[0]) {
                Ok(packed) => vec![packed],
                // The closure cannot fail; a module without outputs is thrown away below.
                Err(error) => {
                    failure = Some(error);
                    Vec::new()
                }
            }
        });
    match failure {
        Some(error) => Err(error).context("the network could not be traced"),
        None => Ok(module?),
    }
}

fn packed(network: &dyn Network, input: &Tensor) -> Result<Tensor, TchError> {
    let output = network.forward(input, false)?;
    archive::pack(&output.logits, &output.features)
}

fn verify(path: &Path, input: &Tensor, trained: &Tensor, metadata: &Metadata) -> Result<()> {
    ensure!(&read_metadata(path)? == metadata, "the metadata came back changed");
    let module = CModule::load(path)?;
    let largest = trained.f_abs()?.f_max()?.f_double_value(&[])?.max(1.0);
    // libtorch optimizes the graph in the second and third run; gradients must survive that.
    for _ in 0..3 {
        let input = input.f_detach()?.f_set_requires_grad(true)?;
        let (logits, features) = run(&module, &input)?;
        let difference = logits.f_sub(trained)?.f_abs()?.f_max()?;
        let difference = difference.f_double_value(&[])? / largest;
        ensure!(
            difference <= TOLERANCE,
            "expected logits within {TOLERANCE} of the trained network's, found a difference of {difference:.2e}"
        );
        let best = logits.f_amax(&[-1_i64][..], false)?.f_sum(Kind::Float)?;
        for gradient in Tensor::f_run_backward(&[best], &[features, input], false, false)? {
            let size = gradient.f_abs()?.f_sum(Kind::Double)?.f_double_value(&[])?;
            ensure!(
                size.is_finite() && size > 0.0,
                "expected a finite gradient of the logits other than zero, found one of size {size}"
            );
        }
    }
    // The batch must not have become a constant of the graph.
    let (one, _) = run(&module, &input.f_narrow(0, 0, 1)?)?;
    let difference = one.f_sub(&trained.f_narrow(0, 0, 1)?)?.f_abs()?.f_max()?;
    ensure!(difference.f_double_value(&[])? / largest <= TOLERANCE, "expected the same logits for a batch of one");
    Ok(())
}

fn run(module: &CModule, input: &Tensor) -> Result<(Tensor, Tensor)> {
    let output = module.forward_is(&[IValue::Tensor(input.shallow_clone())])?;
    Ok(<(Tensor, Tensor)>::try_from(output)?)
}

fn read_metadata(path: &Path) -> Result<Metadata> {
    let mut archive = ZipArchive::new(std::fs::File::open(path)?)?;
    let name = archive
        .file_names()
        .find(|name| name.ends_with(&format!("/extra/{MEMBER}")))
        .context("expected a member extra/sparseadv.json, found none")?
        .to_owned();
    let mut text = Vec::new();
    std::io::copy(&mut archive.by_name(&name)?, &mut text)?;
    Ok(Metadata::from_json(&text, &path.display().to_string())?)
}
