// SPDX-License-Identifier: MPL-2.0

//! Files of agents that pick keyframes, and are none.

use crate::common::guarded;
use crate::common::models::{Good, ModelFile, agent, bright_agent, edit_code, edit_members, good};
use crate::refused;
use tch::{Kind, Tensor};

/// Has the element refuse an agent, in spite of a model that fits.
fn refused_agent(path: &str, words: &[&str]) {
    let model = good(Good::default());
    let keyframes = format!("agent:{path}");
    let words = [&["keyframes property", path], words].concat();
    for more in [&[][..], &[("access", "label"), ("search", "sign-opt")]] {
        refused(&model, &[&[("keyframes", keyframes.as_str())], more].concat(), &words);
    }
}

/// One of numbers for each frame.
fn each(of: impl Fn(Tensor) -> Tensor) -> ModelFile {
    agent(4, |shown| vec![of(shown.mean_dim(&[0i64, 1, 3, 4][..], false, Kind::Float))])
}

#[test]
fn files_that_are_no_agents() {
    guarded(60, || {
        let model = good(Good::default());
        refused(&model, &[("keyframes", "agent")], &["keyframes property", "agent:FILE", "found agent"]);
        refused(&model, &[("keyframes", "agent:")], &["keyframes property", "agent:FILE", "found agent:"]);
        refused_agent("/nowhere/a.pt", &["cannot be read", "no such file", "check the path"]);
        let beside = |name: &str, content: &[u8]| {
            let path = model.beside(name);
            std::fs::write(&path, content).expect("a file");
            path
        };
        refused_agent(&beside("text.pt", b"not an agent at all"), &["TorchScript", "no zip"]);
        refused_agent(&beside("empty.pt", b""), &["TorchScript", "empty"]);
        let whole = std::fs::read(&bright_agent().path).expect("an agent");
        refused_agent(&beside("half.pt", &whole[..whole.len() / 2]), &["TorchScript", "truncated"]);
        refused_agent(&beside("tensors.pt", b"\x40\0\0\0\0\0\0\0{\"w\":{}}"), &["TorchScript", "safetensors"]);
    });
}

/// Looked into as models are, before libtorch gets them.
#[test]
fn archives_that_would_do_harm() {
    guarded(60, || {
        let nested = bright_agent();
        edit_code(&nested.path, |code| {
            code.replace("torch.sigmoid(", &format!("{}torch.sigmoid(", "(".repeat(20_000)))
        });
        refused_agent(nested.location(), &["the code", "to fit the archive"]);
        let rubbish = bright_agent();
        edit_members(&rubbish.path, |name, data| match name.ends_with("/data.pkl") {
            true => b"rubbish".to_vec(),
            false => data,
        });
        refused_agent(rubbish.location(), &["data.pkl", "to fit the archive"]);
        let unknown = bright_agent();
        edit_code(&unknown.path, |code| code.replace("torch.sigmoid(", "torch.brand_new("));
        refused_agent(unknown.location(), &["cannot be loaded", "aten::brand_new"]);
    });
}

#[test]
fn answers_that_are_no_probabilities() {
    guarded(60, || {
        let expected = ["a probability for each of 4 frames", "shape [4]", "--kind agent"];
        let wrong =
            |agent: &ModelFile, found: &str| refused_agent(agent.location(), &[&expected[..], &[found]].concat());
        wrong(&each(|means| means.sigmoid().unsqueeze(0)), "shape [1, 4]");
        wrong(&each(|means| means.mean(Kind::Float).sigmoid()), "shape []");
        wrong(&each(|means| means - 100.0), "the number -");
        wrong(&each(|means| means + 1.5), "the number 1.");
        wrong(&each(|means| means * f64::NAN), "NaN");
        let two = each(|means| means.sigmoid());
        edit_code(&two.path, |code| {
            let (body, all) = code.trim_end().rsplit_once("return ").expect("what it returns");
            format!("{}return ({all}, {all})\n", body.replace("-> Tensor:", "-> Tuple[Tensor, Tensor]:"))
        });
        wrong(&two, "else than a tensor");
        // A classifier of three channels.
        wrong(&good(Good::default()), "it fails");
    });
}
