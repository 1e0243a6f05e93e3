// SPDX-License-Identifier: MPL-2.0

//! The ground truth of a conversion: which of the model's labels each class folder stands for.

use std::collections::BTreeMap;

use gst::prelude::*;
use gstsparseadv::dataset;

/// Where the labels come from that the windows are judged against.
pub enum Truth {
    /// The label property, for every clip.
    Property(String),
    /// The model's label of each class that it knows.
    Classes(BTreeMap<String, String>),
}

impl Truth {
    /// By the properties the user gave, the model's labels and the classes of the clips. The notes say what has no
    /// ground truth, and why.
    pub fn of<'a>(
        properties: &str,
        labels: &[String],
        classes: impl Iterator<Item = &'a str>,
    ) -> anyhow::Result<(Self, Vec<String>)> {
        let element = gst::parse::launch(&format!("sparseadv {properties}"))?;
        if let Some(label) = element.property::<Option<String>>("label") {
            let note =
                format!("the true label of every clip is {label} (label property); class folders are not looked at");
            return Ok((Self::Property(label), vec![note]));
        }
        let mut known = BTreeMap::new();
        let mut unknown = Vec::new();
        for class in classes {
            match dataset::find_class(class, labels) {
                Some(index) => {
                    known.insert(class.to_string(), labels[index].clone());
                }
                None if !unknown.contains(&class) => unknown.push(class),
                None => {}
            }
        }
        let mut notes = Vec::new();
        if labels.is_empty() {
            notes.push(
                "the model names no labels: there is no ground truth, all labels are the model's own".to_string(),
            );
        } else if !unknown.is_empty() {
            notes.push(format!(
                "the model has no label for the class folders {}: their windows have no ground truth, their labels are the model's own. The \
                 model's labels are {}",
                unknown.join(", "),
                labels.join(", ")
            ));
        }
        Ok((Self::Classes(known), notes))
    }

    /// The label to set for a clip of a class.
    pub fn label(&self, class: &str) -> Option<&String> {
        match self {
            Self::Property(label) => Some(label),
            Self::Classes(known) => known.get(class),
        }
    }
}
