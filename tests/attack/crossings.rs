// SPDX-License-Identifier: MPL-2.0

//! What crosses between the model's device and the host: a GPU has to be waited for each time.

use std::path::Path;

use gstsparseadv::attack::Config;
use gstsparseadv::torch;

use super::toy::*;

/// Values brought to the host by an attack of so many iterations.
fn downloaded(iterations: u32) -> u64 {
    let mut model = Linear::new(RISING, 1e6);
    let config = Config { selection: select("fixed:2"), max_iterations: iterations, ..config(UNTARGETED) };
    let before = torch::downloaded();
    let outcome = attack(&scene(), &mut model, &config);
    assert_eq!(outcome.iterations, iterations);
    // The toy's own window and gradient are made on the host.
    torch::downloaded() - before - u64::from(iterations) * (2 * LEN as u64 + 6)
}

#[test]
fn an_iteration_brings_logits_and_a_few_scalars_to_the_host() {
    // Three logits, and two norms of each of the two keyframes: of what is seen, and of the
    // gradient. A perturbation or a gradient has 24 values here.
    assert_eq!(downloaded(21) - downloaded(1), 20 * (3 + 2 * 2));
}

/// All files of a folder of the sources.
fn sources(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&root).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(sources(&format!("{folder}/{name}")));
        } else {
            found.push((format!("{folder}/{name}"), std::fs::read_to_string(&path).unwrap()));
        }
    }
    found
}

/// There is no GPU here to fail on a tensor of the wrong device. So the attack makes tensors in two ways only, both of
/// which are told the device, and reads them in one, which counts.
#[test]
fn the_attack_makes_every_tensor_on_the_targets_device() {
    let words =
        ["from_slice", "try_from", "copy_data", "double_value", "int64_value", "Device::Cpu", "zeros(", "randn("];
    let files = sources("attack");
    assert!(files.len() > 15);
    for (name, text) in files {
        // Tests in a file are of the CPU.
        let text = text.split("#[cfg(test)]").next().unwrap();
        for word in words {
            assert!(!text.contains(word), "{name} has {word}: use crate::torch, or a tensor made like another one");
        }
    }
}
