// SPDX-License-Identifier: MPL-2.0

//! What the documents say exists: files, headings, options, properties, fields. And they can be read.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use gst::prelude::*;
use gstsparseadv::attack::Selection;
use gstsparseadv::model::Metadata;

/// The documents that people read first.
const DOCUMENTS: [&str; 5] = [
    "README.md",
    "examples/README.md",
    "examples/results/README.md",
    ".github/CONTRIBUTING.md",
    ".github/CHANGELOG.md",
];

/// The comments that are the elements' manuals, and the pages of the crate that people read first.
const COMMENTS: [&str; 5] =
    ["src/sparseadv/imp.rs", "src/clipclassifier/imp.rs", "src/lib.rs", "src/attack/mod.rs", "src/model/mod.rs"];

/// Folders of the project whose files the documents name.
const FOLDERS: [&str; 6] = ["examples/", "tests/", "src/", "pipelines/", ".ci/", ".github/"];

/// The most words of a sentence.
const WORDS: usize = 25;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The first comment that documents a module or an element, without the signs of a comment.
fn comment(path: &str) -> String {
    let text = read(path);
    let lines = text.lines().skip_while(|l| !l.starts_with("//!") && !l.starts_with("/**"));
    let lines = lines.take_while(|l| l.starts_with("//!") || l.starts_with("/**") || l.starts_with(" *"));
    let bare = lines.map(|l| ["//!", "/**", " *"].iter().find_map(|sign| l.strip_prefix(sign)).unwrap_or(l));
    let text = bare.map(|l| l.strip_prefix(' ').unwrap_or(l)).collect::<Vec<_>>().join("\n");
    text.replace("|[", "```").replace("]|", "```")
}

/// Code that is a block, with lines that end in a backslash put together, and the rest.
fn blocks(text: &str) -> (Vec<String>, Vec<&str>) {
    let (mut code, mut prose) = (Vec::<String>::new(), Vec::new());
    let (mut fenced, mut goes_on, mut blank) = (false, false, true);
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced || (line.starts_with("    ") && (blank || goes_on)) {
            let part = line.trim().trim_end_matches('\\').to_owned();
            match code.last_mut().filter(|_| goes_on) {
                Some(last) => last.push_str(&part),
                None => code.push(part),
            }
            goes_on = line.ends_with('\\');
        } else {
            prose.push(line);
            blank = line.trim().is_empty();
        }
    }
    (code, prose)
}

/// What stands between backticks.
fn spans(prose: &[&str]) -> Vec<String> {
    let text = prose.join("\n");
    text.split('`').skip(1).step_by(2).map(|s| s.replace('\n', " ")).collect()
}

/// Every piece of code of every document, with the document's name; not of the changelog, which names what is gone.
fn code() -> Vec<(&'static str, String)> {
    let documents = DOCUMENTS.iter().filter(|d| !d.ends_with("CHANGELOG.md")).map(|d| (*d, read(d)));
    let all = documents.chain(COMMENTS.map(|c| (c, comment(c))));
    all.flat_map(|(name, text)| {
        let (mut code, prose) = blocks(&text);
        code.extend(spans(&prose));
        code.into_iter().map(move |c| (name, c)).collect::<Vec<_>>()
    })
    .collect()
}

fn properties(element: &str) -> BTreeSet<String> {
    let element = gst::ElementFactory::make(element).build().expect(element);
    element.list_properties().iter().map(|p| p.name().to_owned()).collect()
}

/// What a program says of its options.
fn help(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect(program);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(text.contains("--help"), "{program} {arguments:?} has no help: {text}");
    text
}

const TOOL: &str = env!("CARGO_BIN_EXE_gst-sparseadv");
const COMMANDS: [&str; 10] =
    ["attack", "convert", "evaluate", "merge", "learn", "judge", "reproduce", "report", "inspect", "fields"];

/// Where the options of examples/python/export_model.py are.
const EXPORTER: &str = "examples/python/sparseadv/exporter/command.py";

/// Whether a text names just this option, not one that begins alike.
fn names(text: &str, option: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').any(|word| word == option)
}

/// A heading as GitHub links to it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn the_readme_has_at_most_150_lines() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 150, "{lines} lines");
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut found = 0;
    for document in DOCUMENTS {
        let text = read(document);
        let (_, prose) = blocks(&text);
        let prose = prose.join("\n");
        for link in prose.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            found += 1;
            let (path, heading) = link.split_once('#').map_or((link, None), |(p, h)| (p, Some(h)));
            let target = match path {
                "" => PathBuf::from(document),
                path => Path::new(document).parent().unwrap_or(Path::new("")).join(path),
            };
            assert!(root().join(&target).exists(), "{document} links to {link}, which does not exist");
            if let Some(heading) = heading {
                let text = read(&target);
                let mut headings = text.lines().filter(|l| l.starts_with('#')).map(anchor);
                assert!(headings.any(|h| h == heading), "{document} links to {link}: there is no such heading");
            }
        }
    }
    assert!(found > 20, "{found} links");
}

#[test]
fn every_file_of_the_project_that_is_named_exists() {
    let mut found = 0;
    for (document, code) in code() {
        let words = code.split(|c: char| c.is_whitespace() || matches!(c, '"' | '=' | ','));
        for path in words.filter(|w| FOLDERS.iter().any(|folder| w.starts_with(folder))) {
            found += 1;
            assert!(root().join(path).exists(), "{document} names {path}, which does not exist");
        }
    }
    assert!(found > 20, "{found} files");
}

#[test]
fn every_property_that_is_set_exists() {
    gst::init().expect("GStreamer");
    gstsparseadv::plugin_register_static().expect("the plugin");
    let own = [properties("sparseadv"), properties("clipclassifier")];
    let any: BTreeSet<String> = own.iter().flatten().cloned().chain(properties("x264enc")).collect();
    let is_name = |key: &str| {
        key.starts_with(|c: char| c.is_ascii_lowercase()) && key.chars().all(|c| c.is_ascii_lowercase() || c == '-')
    };
    let mut found = 0;
    for (document, code) in code() {
        // What stands in quotes is another pipeline, or another program's.
        let outside: String = code.split('"').step_by(2).collect();
        for part in outside.split('!') {
            let words: Vec<&str> = part.split_whitespace().collect();
            // By itself a setting is one of ours, or of the encoder that is spoken of.
            let known = match ["sparseadv", "clipclassifier"].iter().position(|name| words.contains(name)) {
                Some(element) => &own[element],
                None if outside.contains('!') => continue,
                None => &any,
            };
            for (key, _) in words
                .iter()
                .filter_map(|w| w.split_once('='))
                .filter(|(key, value)| is_name(key) && !value.starts_with('='))
            {
                found += 1;
                assert!(known.contains(key), "{document} sets {key} in {code:?}, which is no property");
            }
        }
    }
    assert!(found > 20, "{found} properties");
    let readme = read("README.md");
    let table = readme.lines().skip_while(|l| !l.starts_with("| property |")).skip(2);
    let rows: Vec<_> = table.take_while(|l| l.starts_with('|')).map(|l| l.split('`').nth(1).expect("a name")).collect();
    assert!(rows.len() > 5, "{rows:?}");
    for name in rows {
        assert!(own[0].contains(name), "README.md describes {name}, which is no property of sparseadv");
    }
}

#[test]
fn every_selection_of_keyframes_that_is_named_exists() {
    let mut found = 0;
    for (document, code) in code() {
        let set = code.split_whitespace().filter_map(|w| w.strip_prefix("keyframes="));
        let named = [code.as_str()].into_iter().filter(|c| c.starts_with("gradient:") || c.starts_with("ifd:"));
        for selection in set.chain(named) {
            found += 1;
            let parsed = Selection::from_str(selection.trim_matches(['"', '\'']));
            assert!(parsed.is_ok(), "{document} names the selection {selection}: {parsed:?}");
        }
    }
    assert!(found > 4, "{found} selections");
}

#[test]
fn every_option_exists_where_it_is_given() {
    let of_tool = COMMANDS.map(|command| help(TOOL, &[command, "--help"]));
    let mut any: String = of_tool.concat();
    any += &help("gst-inspect-1.0", &["--help-all"]);
    any += &read("examples/install.sh");
    let mut found = 0;
    for (document, code) in code() {
        let words: Vec<&str> = code.split_whitespace().collect();
        let of_example = words.iter().position(|w| *w == "--example").and_then(|at| words.get(at + 1));
        // What follows two dashes is another program's: of an example the example's own.
        let dashes = words.iter().position(|w| *w == "--").unwrap_or(words.len());
        let given = if of_example.is_some() { &words[dashes..] } else { &words[..dashes] };
        let options = given.iter().filter(|w| w.starts_with("--") && w.len() > 2);
        let options: Vec<&str> = options.map(|w| w.split(['=', '[']).next().unwrap_or(w)).collect();
        let program = words.iter().find(|w| !w.contains('=') && !w.ends_with("python")).copied().unwrap_or("");
        if let Some(name) = of_example {
            let [file, folder] = [format!("examples/{name}.rs"), format!("examples/{name}/main.rs")];
            let source = read(if root().join(&file).exists() { file } else { folder }).replace('_', "-");
            for option in options {
                found += 1;
                let known = names(&source, option.trim_start_matches('-'));
                assert!(known, "{document} gives {option} in {code:?}, which is no option there");
            }
            continue;
        }
        let text = match (program, words.iter().position(|w| w.ends_with("gst-sparseadv"))) {
            (_, Some(at)) => match words.get(at + 1).copied().filter(|w| !w.starts_with('-')) {
                Some(command) => {
                    let known = COMMANDS.iter().position(|c| *c == command);
                    of_tool[known.unwrap_or_else(|| panic!("{document}: {code:?} has no known command"))].clone()
                }
                None => any.clone(),
            },
            (script, _) if script.ends_with("export_model.py") => read(EXPORTER) + "--help",
            (script, _) if script.ends_with(".py") || script.ends_with(".sh") => read(script) + "--help",
            (option, _) if option.starts_with("--") => any.clone(),
            ("gst-inspect-1.0", _) => help("gst-inspect-1.0", &["--help-all"]),
            // Cargo's own, and those of other people's programs.
            _ => continue,
        };
        for option in options {
            found += 1;
            assert!(names(&text, option), "{document} gives {option} in {code:?}, which is no option there");
        }
    }
    assert!(found > 20, "{found} options");
}

#[test]
fn the_table_of_the_model_contract_has_every_field_and_its_default() {
    let text = read("examples/README.md");
    let table = text.lines().skip_while(|l| !l.starts_with("| field |")).skip(2).take_while(|l| l.starts_with('|'));
    let defaults = serde_json::to_value(Metadata::default()).expect("JSON");
    let mut listed = BTreeSet::new();
    for row in table {
        let cells: Vec<Vec<String>> = row.split(" | ").map(|cell| spans(&[cell])).collect();
        for (n, name) in cells[0].iter().enumerate() {
            let default = cells[1].get(n).map(|json| serde_json::from_str(json).expect("JSON"));
            assert_eq!(defaults.get(name), default.as_ref(), "{row}");
            listed.insert(name.clone());
        }
    }
    // The refusal of an unknown field lists the known ones.
    let refusal = Metadata::from_json(b"{\"\": 0}", "").expect_err("an unknown field").to_string();
    let known: BTreeSet<String> = spans(&[&refusal]).into_iter().filter(|name| !name.is_empty()).collect();
    assert!(known.len() > 10, "{refusal}");
    assert_eq!(listed, known);
}

#[test]
fn the_tables_of_fields_are_what_the_program_prints() {
    let output = Command::new(TOOL).arg("fields").output().expect(TOOL);
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    let hint = "run target/release/gst-sparseadv fields > examples/fields.md";
    assert!(printed == read("examples/fields.md"), "the types have changed since examples/fields.md was made: {hint}");
    let rows = printed.lines().filter(|line| line.starts_with("| `"));
    for row in rows {
        assert!(!row.ends_with("|  |"), "{row} has no meaning: document the field");
    }
}

/// Modules of the crate that a file imports from.
fn imports(path: &Path) -> BTreeSet<String> {
    let code: String = read(path).lines().filter(|l| !l.trim_start().starts_with("//")).collect();
    let names = code.split("crate::").skip(1).flat_map(|rest| match rest.strip_prefix('{') {
        Some(group) => group.split('}').next().unwrap_or("").split(',').map(|n| n.trim().to_owned()).collect(),
        None => vec![rest.to_owned()],
    });
    let ident = |text: String| text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("").to_owned();
    names.map(ident).collect()
}

/// The Rust files of a module.
fn sources(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| sources(&entry.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .collect()
}

#[test]
fn a_layer_imports_only_from_layers_above_it() {
    let page = comment("src/lib.rs");
    let list = page.split("\n# ").find(|part| part.starts_with("Layers")).expect("a list of the layers");
    // "- [`one`], [`mod@another`]: what they are".
    let heads: Vec<&str> =
        list.lines().filter(|l| l.starts_with("- [")).filter_map(|l| l.split("]: ").next()).collect();
    let named = spans(&heads).into_iter().map(|name| name.trim_start_matches("mod@").to_owned());
    let declared: BTreeSet<String> = read("src/lib.rs")
        .lines()
        .filter_map(|l| l.strip_prefix("pub mod ").map(|name| name.trim_end_matches(';').to_owned()))
        .collect();
    let mut above: Vec<String> = Vec::new();
    for name in named {
        let module = root().join("src").join(&name);
        let files = sources(&if module.is_dir() { module } else { module.with_extension("rs") });
        assert!(!files.is_empty(), "{name} has no file");
        for file in files {
            let below: Vec<String> = imports(&file).into_iter().filter(|i| declared.contains(i)).collect();
            let below: Vec<_> = below.iter().filter(|i| **i != name && !above.contains(i)).collect();
            assert!(below.is_empty(), "{} imports from {below:?}, which are below it", file.display());
        }
        above.push(name);
    }
    assert_eq!(above.iter().cloned().collect::<BTreeSet<_>>(), declared, "the list in src/lib.rs has every layer");
}

#[test]
fn no_sentence_is_longer_than_25_words() {
    let documents = ["README.md", "examples/README.md", ".github/CONTRIBUTING.md", ".github/CHANGELOG.md"];
    let texts = documents.map(|d| (d, read(d))).into_iter();
    for (document, text) in texts.chain(COMMENTS.map(|c| (c, comment(c)))) {
        let (_, prose) = blocks(&text);
        let mut paragraphs = vec![String::new()];
        for line in prose {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', '|', '-', '!']) || line.starts_with("* ") {
                paragraphs.push(String::new());
            }
            if !line.starts_with(['#', '|', '!']) {
                paragraphs.last_mut().expect("one").push_str(&format!("{} ", line.trim_start_matches(['-', '*'])));
            }
        }
        for paragraph in paragraphs {
            // A piece of code is one word.
            let words = paragraph.split('`').enumerate().map(|(n, part)| if n % 2 == 0 { part } else { "code" });
            let text: String = words.collect::<String>().replace('*', "").replace(['?', '!'], ".");
            for sentence in text.split(". ") {
                let n = sentence.split_whitespace().filter(|w| w.contains(char::is_alphanumeric)).count();
                assert!(n <= WORDS, "{document}: {n} words in {sentence:?}");
            }
        }
    }
}
