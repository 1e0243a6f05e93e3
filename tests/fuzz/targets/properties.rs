// SPDX-License-Identifier: MPL-2.0

//! Strings of properties that this project reads itself. A first line says of which model and property they are; what is
//! accepted fits the model, and reads back as it is printed.

#![no_main]

use gstsparseadv::attack::Selection;
use gstsparseadv::element::codec;
use gstsparseadv::element::model::find_label;
use gstsparseadv::element::settings::Common;
use gstsparseadv::model::{DeviceChoice, Metadata};
use gstsparseadv::sparseadv::settings::Settings;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (labels, text) = text.split_once('\n').unwrap_or(("", text));
    let labels: Vec<String> = labels.split(',').filter(|l| !l.is_empty()).map(String::from).collect();
    let classes = labels.len().max(2);
    let metadata = Metadata { labels, ..Metadata::default() };

    if let Ok(selection) = text.parse::<Selection>() {
        let printed = selection.to_string();
        assert_eq!(printed.parse::<Selection>().expect("what was printed").to_string(), printed);
    }
    if let Ok(label) = find_label("label", text, &metadata, classes) {
        assert!(label < classes);
    }
    if let Ok(DeviceChoice::Cuda(number)) = text.parse() {
        assert_eq!(format!("cuda:{number}").parse::<DeviceChoice>().expect("a device"), DeviceChoice::Cuda(number));
    }
    for bin in codec::split(text) {
        assert!(text.contains(bin) && bin.trim() == bin && !bin.contains('|'));
    }
    let set = || Some(text.to_owned());
    let common = Common {
        model: Some("model.pt".into()),
        model_sha256: set(),
        device: set(),
        label: set(),
        ..Common::default()
    };
    let _ = common.model_options();
    let _ = Common { device: None, ..common.clone() }
        .model_options()
        .map(|o| assert_eq!(o.sha256.map(|s| s.len()), Some(64)));
    let settings = Settings { keyframes: set(), target_label: None, survive: set(), ..Settings::default() };
    if let Ok(config) = settings.attack_config(&metadata, classes) {
        let (wanted, at_most) = config.selection.bounds(metadata.window).unwrap_or_default();
        assert!(wanted <= at_most);
    }
    let _ = Settings { common, target_label: set(), ..Settings::default() }.attack_config(&metadata, classes);
});
