// SPDX-License-Identifier: MPL-2.0

//! What pages have in common: they open offline, and one style does for all.

const STYLE: &str = "body{font:15px/1.45 sans-serif;max-width:1200px;margin:2em auto;padding:0 1em;color:#222}h2{margin-top:2em}\
    img{max-width:100%}table{border-collapse:collapse;font-size:13px}\
    td,th{border:1px solid #ccc;padding:3px 8px;text-align:left;vertical-align:top}th{background:#f2f2f2}\
    code{background:#f2f2f2;overflow-wrap:anywhere}.wide{overflow-x:auto;white-space:nowrap}\
    .figures{display:flex;flex-wrap:wrap;gap:1em}.bar{display:inline-block;height:9px;background:#888;margin-right:5px}\
    .lost .bar{background:#d62828}.kept .bar{background:#2a7f3f}";

/// A page. The title is text, the body HTML.
pub fn page(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{}</title>\n\
         <style>{STYLE}</style></head><body>\n{body}</body></html>\n",
        escape(title)
    )
}

/// Text as HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
