// SPDX-License-Identifier: MPL-2.0

//! What makes results of a model doubtful without making an attack impossible.

use tch::Kind;

use super::archive::{Archive, sidecar_path};
use super::loaded::Options;
use super::metadata::{Metadata, Resize};
use super::module::Module;
use super::probe::Probed;
use super::{Origin, libtorch};

pub(super) fn of(module: &Module, archive: &Archive, options: &Options, probed: &Probed) -> Vec<String> {
    let mut found = Vec::new();
    let sidecar = sidecar_path(&options.path).display().to_string();
    found.extend(guessed(&module.lens.metadata, archive, options, &sidecar));
    found.extend(numeric_label(&module.lens.metadata.labels));
    if let Some(reason) = &probed.features_unused {
        found.push(format!("The features are not used: {reason}."));
    }
    found.extend(probed.doubts.iter().cloned());
    if matches!(module.giving.kind, Kind::Half | Kind::BFloat16) {
        found.push(format!(
            "The model computes in {}, so its gradients are coarse and small perturbations are lost in rounding. Call .float() before \
             exporting.",
            match module.giving.kind {
                Kind::Half => "half precision (float16)",
                _ => "bfloat16",
            }
        ));
    }
    let running = libtorch::version();
    if running != libtorch::BUILT_AGAINST {
        found.push(format!(
            "Expected libtorch {}, against which this plugin is built, found libtorch {running} running. Take it out of LD_LIBRARY_PATH or \
             LD_PRELOAD, or build the plugin again.",
            libtorch::BUILT_AGAINST
        ));
    }
    found
}

/// The metadata that nobody wrote.
fn guessed(metadata: &Metadata, archive: &Archive, options: &Options, sidecar: &str) -> Option<String> {
    // A window that was asked for is no guess.
    let fields = archive.guessed.iter().copied();
    let fields: Vec<&str> = fields.filter(|f| *f != "window" || options.window.is_none()).collect();
    let taken = |field: &&str| match *field {
        "window" => format!("a window of {} frames", metadata.window),
        "resize" => match metadata.resize {
            Resize::ShortSide(side) => format!("a resize to {side} of the short side"),
            Resize::Exact([h, w]) => format!("a resize to {h}x{w}"),
        },
        _ => format!("a crop of {}x{}", metadata.crop[0], metadata.crop[1]),
    };
    let values: Vec<String> = fields.iter().map(taken).collect();
    let values = values.join(", ");
    if archive.origin == Origin::Defaults {
        return Some(format!(
            "The model has no metadata (extra/sparseadv.json in its archive, or {sidecar}), so C3D's usual values are guessed: {values}, layout \
             BCTHW, RGB in [0, 1] without mean and std, no labels. Wrong ones make every result wrong: write the model's own into {sidecar}."
        ));
    }
    if values.is_empty() {
        return None;
    }
    Some(format!(
        "The model's metadata lack {}, so C3D's usual values are guessed: {values}. Wrong ones make every result wrong: add the model's own to \
         its metadata, or to {sidecar}.",
        fields.join(", ")
    ))
}

/// A class named by a number that is not its index: a property that names it could mean either.
fn numeric_label(labels: &[String]) -> Option<String> {
    let other = |(index, label): &(usize, &String)| {
        label.parse::<usize>().is_ok_and(|number| number != *index && number < labels.len())
    };
    let (index, label) = labels.iter().enumerate().find(other)?;
    Some(format!(
        "The model names classes by numbers that are not their indices: the class named {label} has index {index}. Where label or target-label \
         is {label}, the class of that name is meant, not that of index {label}."
    ))
}

#[cfg(test)]
mod tests {
    use super::numeric_label;

    #[test]
    fn numbers_as_names_are_said_where_they_are_ambiguous() {
        let labels = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<Vec<_>>();
        assert!(numeric_label(&labels(&["3", "2", "0", "1"])).is_some_and(|w| w.contains("index 0")));
        assert_eq!(numeric_label(&labels(&["0", "1", "2"])), None);
        assert_eq!(numeric_label(&labels(&["walk", "run"])), None);
        assert_eq!(numeric_label(&labels(&["walk", "2024"])), None);
    }
}
