// SPDX-License-Identifier: MPL-2.0

//! Pages of HTML: templates beside this file, one layout and one style for all. They open offline, and whatever is put in is
//! escaped.

use anyhow::Context;
use base64::Engine;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;

macro_rules! files {
    ($($name:literal),+) => { [$(($name, include_str!($name))),+] };
}

const FILES: [(&str, &str); 7] =
    files!["base.html", "tables.html", "attack.html", "report.html", "evaluate.html", "style.css", "play.js"];

/// The page of a template.
pub fn page(template: &str, data: &impl Serialize) -> anyhow::Result<String> {
    let make = || -> Result<String, minijinja::Error> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        for (name, text) in FILES {
            environment.add_template(name, text)?;
        }
        environment.get_template(template)?.render(Serde(data))
    };
    make().with_context(|| format!("the page {template}"))
}

/// A picture as what its `src` says, so that it lies in the page itself.
pub fn inline(png: &[u8]) -> String {
    format!("data:image/png;base64,{}", base64::engine::general_purpose::STANDARD.encode(png))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_is_text() {
        let table =
            serde_json::json!({"title": "<b>", "note": "a & b", "header": ["<i>"], "rows": [["\"</td><script>"]]});
        let parts = [serde_json::json!({"table": table, "figures": null})];
        let data = serde_json::json!({"title": "<u>", "conditions": ["<s>"], "parts": parts});
        let page = page("report.html", &data).expect("a page");
        assert!(page.contains("<title>&lt;u&gt;</title>") && page.contains("a &amp; b"), "{page}");
        for tag in ["<b>", "<i>", "<u>", "<s>", "<script>"] {
            assert!(!page.contains(tag), "{tag}: {page}");
        }
    }
}
