//! Reading reports, as JSON and as text.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{Lab, MIB, Output, oracle::Question, sectors};

/// A divergence as the JSON report tells it.
pub fn divergence(range: Range<u64>, verdict: &str, versions: &[&[usize]], absent: &[usize]) -> Value {
    let versions: Vec<Value> = versions.iter().map(|members| json!({ "members": members })).collect();
    json!({
        "offset": range.start, "length": range.end - range.start, "verdict": verdict,
        "versions": versions, "unreadable": [], "absent": absent,
    })
}

/// The report's divergences without the optional keys.
pub fn divergences(report: &Value) -> Value {
    Question::relevant(report)["divergences"].clone()
}

/// The report's warnings in small letters, one a line.
pub fn warnings(report: &Value) -> String {
    let all = report["warnings"].as_array().into_iter().flatten();
    all.map(|warning| warning.as_str().map_or_else(|| warning.to_string(), str::to_lowercase)).collect::<Vec<_>>().join("\n")
}

/// The last part of a path.
pub fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).expect("a plain name")
}

/// The first line for people, in small letters.
pub fn first_line(output: &Output) -> String {
    output.stdout().lines().find(|line| !line.trim().is_empty()).unwrap_or_default().to_lowercase()
}

/// The last line for people.
pub fn last_line(output: &Output) -> String {
    output.stdout().lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().to_owned()
}

/// An object's keys in alphabetical order.
pub fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

/// Three members with one bad sector: b is outvoted there.
pub fn one_bad_sector(lab: &Lab) -> [PathBuf; 3] {
    let [a, b, c] = lab.copies("disk.img", MIB);
    lab.damage(&b, sectors(100..101));
    [a, b, c]
}
