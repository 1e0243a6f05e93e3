// SPDX-License-Identifier: MPL-2.0

//! A window's result as a line of text.

/// What is shown of a window.
pub struct Row {
    pub window: u64,
    /// Place of its first frame in the stream.
    pub first_frame: usize,
    pub frames: usize,
    pub clean: (usize, String),
    pub attacked: (usize, String),
    pub success: bool,
    pub queries: u32,
    pub keyframes: Vec<usize>,
    pub weights: Vec<f64>,
    pub map: f64,
    pub map_keyframes: f64,
    label: Option<usize>,
    target: Option<usize>,
    /// Label after encoding and decoding, and whether the goal still holds.
    pub after_codec: Option<(String, bool)>,
}

impl Row {
    /// From a `sparseadv-window` message; `None` for a window that was never classified.
    pub fn new(structure: &gst::StructureRef) -> Option<Self> {
        let json: serde_json::Value =
            serde_json::from_str(structure.get::<&str>("json").ok()?).ok()?;
        let index = |key: &str| json[key].as_u64().map(|n| n as usize);
        let name = |key: &str| json[key].as_str().unwrap_or_default().to_string();
        let list = |key: &str| json[key].as_array().cloned().unwrap_or_default();
        Some(Self {
            window: json["window"].as_u64()?,
            first_frame: index("first_frame")?,
            frames: index("frames")?,
            clean: (index("clean_label")?, name("clean_label_name")),
            attacked: (index("final_label")?, name("final_label_name")),
            success: json["success"].as_bool()?,
            queries: index("queries")? as u32,
            keyframes: list("keyframes")
                .iter()
                .filter_map(|v| v.as_u64().map(|n| n as usize))
                .collect(),
            weights: list("weights")
                .iter()
                .filter_map(serde_json::Value::as_f64)
                .collect(),
            map: json["map"].as_f64()?,
            map_keyframes: json["map_keyframes"].as_f64()?,
            label: index("label"),
            target: index("target_label"),
            after_codec: None,
        })
    }

    /// Whether a label is what the attack is after.
    pub fn reached(&self, label: usize) -> bool {
        match self.target {
            Some(target) => label == target,
            None => label != self.label.unwrap_or(self.clean.0),
        }
    }

    pub fn set_after_codec(&mut self, label: usize, name: String) {
        self.after_codec = Some((name, self.reached(label)));
    }
}

/// Prints all windows and a summary.
pub fn table(rows: &[Row], encoder: &str) {
    println!(
        "{:>6}  {:<24} {:>7}  {:<16} {:>9} {:>9}  after {encoder}",
        "window", "clean -> attacked", "queries", "keyframes", "MAP", "in them"
    );
    for row in rows {
        let keyframes: Vec<String> = row.keyframes.iter().map(usize::to_string).collect();
        let after = match &row.after_codec {
            Some((name, true)) => format!("{name} (success)"),
            Some((name, false)) => format!("{name} (undone)"),
            None => String::new(),
        };
        println!(
            "{:>6}  {:<24} {:>7}  {:<16} {:>9.4} {:>9.3}  {after}",
            row.window,
            format!("{} -> {}", row.clean.1, row.attacked.1),
            row.queries,
            keyframes.join(","),
            row.map,
            row.map_keyframes
        );
    }
    let count = |f: &dyn Fn(&Row) -> bool| rows.iter().filter(|r| f(r)).count();
    println!(
        "{} of {} windows fooled on the bytes pushed, {} after {encoder}. MAP: mean absolute perturbation in grey levels 0..255, over all \
         frames, and over the keyframes.",
        count(&|r| r.success),
        rows.len(),
        count(&|r| r.after_codec.as_ref().is_some_and(|a| a.1)),
    );
}
