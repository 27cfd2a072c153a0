//! The JSON Schema of reports, in `docs/`: made of the types, and kept current. `UPDATE_SCHEMA=1 cargo test --lib schema` writes it anew.

use std::{fmt::Write as _, fs, path::Path};

use schemars::{JsonSchema, generate::SchemaSettings};

use super::{InPlaceReport, Places, RepairReport, Report, SetRun, SetStatus, UndoReport, Unfinished};

/// What a repair did, whichever kind it was.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, clippy::large_enum_variant)] // only its shape matters
pub(super) enum Repair {
    /// `repair -o`.
    Image(RepairReport),
    /// `repair --in-place`.
    InPlace(InPlaceReport),
}

/// A report of quorum-img (--output json, --report): of a run that came to its end, or was stopped; or word of one that failed before.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, clippy::large_enum_variant)]
enum AnyReport {
    /// What was found.
    Report(Report),
    /// What stands at places.
    Places(Places),
    /// What an undo put back.
    Undo(UndoReport),
    /// Why nothing was.
    Unfinished(Unfinished),
    /// What sets are.
    Sets(Vec<SetStatus>),
    /// What was done to a set.
    History(Vec<SetRun>),
}

fn schema() -> schemars::Schema {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<AnyReport>()
}

/// Holds what is kept in `docs/` against what it should be, or writes it anew.
fn keep(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(&path, text).expect("docs/ can be written to");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text, "docs/{name} isn't what the types say: UPDATE_SCHEMA=1 cargo test --lib schema writes it anew");
}

#[test]
fn the_schema_in_docs_is_current() {
    keep("report.schema.json", &(serde_json::to_string_pretty(&schema()).expect("a schema is JSON") + "\n"));
}

/// The tables of keys in `docs/report.md`, in the order in which a reader meets them.
const OBJECTS: [(&str, &str); 33] = [
    ("Report", "The report"),
    ("Sectors", "`sectors`"),
    ("MemberReport", "`members[]`"),
    ("DamageTotal", "`members[].damage[]`"),
    ("ImageErrorReport", "`members[].image-errors[]`"),
    ("Divergence", "`divergences[]`"),
    ("Version", "`divergences[].versions[]`"),
    ("DamageReport", "`divergences[].damage[]`"),
    ("WitnessReport", "`witnesses[]`"),
    ("ContradictionReport", "`contradictions[]`"),
    ("GuardReport", "`guards[]`"),
    ("Problem", "`refusal`, `error`"),
    ("Map", "`map`"),
    ("PartitionSpan", "`partitions[]`"),
    ("RepairReport", "`repair`, of `repair -o`"),
    ("Picked", "`repair.picked[]`"),
    ("InPlaceReport", "`repair`, of `repair --in-place`"),
    ("InPlaceMember", "`repair.members[]`"),
    ("Planned", "`repair.plan[]`"),
    ("Places", "What `show` found"),
    ("Place", "`places[]`: as a divergence, and"),
    ("OwnerReport", "`places[].owner`"),
    ("Content", "`places[].contents[]`"),
    ("UndoReport", "What `undo` put back"),
    ("UndoneMember", "`members[]` of `undo`"),
    ("Unfinished", "Word of a run that came to no report"),
    ("SetReport", "`set`, of `set check` and what writes to a set's members"),
    ("SetMemberReport", "`set.members[]`"),
    ("SetStatus", "What `set status` tells, an array of"),
    ("StatusMember", "`members[]` of `set status`"),
    ("SetRun", "What `set history` tells, an array of; and `last-run`, `last-completed` of `set status`"),
    ("SetChange", "`changes[]` of `set history`"),
    ("SetPlace", "`places[]` of `set history`"),
];

fn tables() -> String {
    let schema = serde_json::to_value(schema()).expect("a schema is JSON");
    let mut text = String::new();
    for (name, title) in OBJECTS {
        let object = &schema["$defs"][name];
        let (Some(properties), required) = (object["properties"].as_object(), object["required"].as_array()) else { panic!("no {name}") };
        let _ = writeln!(text, "\n### {title}\n\n| key | is | |\n| --- | --- | --- |");
        for (key, property) in properties {
            let always = required.is_some_and(|required| required.iter().any(|it| it == key));
            let kind = match (&property["type"], &property["items"]["type"]) {
                (serde_json::Value::String(kind), serde_json::Value::String(of)) if kind == "array" => format!("array of {of}"),
                (serde_json::Value::String(kind), _) => kind.clone(),
                (serde_json::Value::Array(kinds), _) => kinds[0].as_str().unwrap_or_default().to_owned(),
                _ => property["$ref"]
                    .as_str()
                    .map_or("object", |name| if name.ends_with("Sectors") { "object" } else { "string" })
                    .to_owned(),
            };
            let what = property["description"].as_str().unwrap_or_default().replace('\n', " ").replace(['[', ']'], "");
            let _ = writeln!(text, "| `{key}` | {kind}{} | {what} |", if always { "" } else { ", if any" });
        }
    }
    text
}

#[test]
fn every_key_is_documented() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/report.md");
    let text = fs::read_to_string(path).expect("it is kept in docs/");
    let (start, rest) = text.split_once("<!-- keys -->\n").expect("a mark where the keys begin");
    let (_, end) = rest.split_once("<!-- end -->").expect("a mark where they end");
    keep("report.md", &format!("{start}<!-- keys -->\n{}\n<!-- end -->{end}", tables()));
}
