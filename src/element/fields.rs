// SPDX-License-Identifier: MPL-2.0

//! What the records of messages, JSON lines, properties and metas are made of, read off their types: names, types, units
//! and meanings, for people who write programs that read them.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

/// A record.
#[derive(Debug)]
pub struct Record {
    /// Of the message, the property's structure or the meta.
    pub name: &'static str,
    pub about: &'static str,
    /// Whether a report file has it as a JSON line.
    pub in_reports: bool,
    pub fields: Vec<Field>,
}

#[derive(Debug)]
pub struct Field {
    /// In JSON; in a structure it has dashes.
    pub name: String,
    pub json_type: String,
    pub structure_type: String,
    /// Whether it may be unknown: null in JSON or left out, and left out of a structure.
    pub optional: bool,
    pub unit: Option<String>,
    pub meaning: String,
}

impl Record {
    /// Of the type T. The last sentence of a field's comment may be its unit, as in `Unit: ns.`
    pub(crate) fn of<T: JsonSchema>(name: &'static str, about: &'static str, is_wide: &dyn Fn(&str) -> bool) -> Self {
        let settings =
            SchemaSettings::draft2020_12().for_serialize().with(|settings| settings.inline_subschemas = true);
        let schema = settings.into_generator().into_root_schema_for::<T>();
        let fields = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
        let required = schema.get("required").and_then(Value::as_array);
        let is_required = |name: &str| required.is_some_and(|all| all.iter().any(|one| one == name));
        let fields = fields.map(|(name, schema)| Field::of(name, schema, is_wide(name), !is_required(name))).collect();
        Self { name, about, in_reports: false, fields }
    }

    pub(crate) fn in_reports(self) -> Self {
        Self { in_reports: true, ..self }
    }
}

impl Field {
    fn of(name: &str, schema: &Value, wide: bool, left_out: bool) -> Self {
        let (json_type, structure_type) = types(schema, wide);
        let text =
            schema["description"].as_str().unwrap_or_default().replace('\n', " ").replace("[`", "`").replace("`]", "`");
        let (meaning, unit) = match text.rsplit_once(" Unit: ") {
            Some((meaning, unit)) => (meaning.to_owned(), Some(unit.trim_end_matches('.').to_owned())),
            None => (text, None),
        };
        Self {
            name: name.to_owned(),
            json_type,
            structure_type,
            optional: left_out || names(schema).contains(&"null"),
            unit,
            meaning,
        }
    }
}

/// The names of the types that a value may have.
fn names(schema: &Value) -> Vec<&str> {
    match &schema["type"] {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        name => name.as_str().into_iter().collect(),
    }
}

/// The type in JSON, and in a structure as [`super::message`] makes it.
fn types(schema: &Value, wide: bool) -> (String, String) {
    let name = names(schema).into_iter().find(|name| *name != "null").unwrap_or("any");
    let structure = match name {
        "boolean" => "gboolean",
        "integer" if wide => "guint64",
        "integer" => "guint",
        "number" => "gdouble",
        "string" => "gchararray",
        "array" => {
            let (json, structure) = types(&schema["items"], wide);
            return (format!("array of {json}"), format!("GstValueArray of {structure}"));
        }
        "object" => "GstStructure",
        other => other,
    };
    (name.to_owned(), structure.to_owned())
}
