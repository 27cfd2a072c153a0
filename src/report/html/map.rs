//! The map of an image on a page: drawn without scripts, and its data for the one that looks closer.

use std::fmt::Write as _;

use super::text::text;
use crate::{
    report::{Map, Part, Report, human_size},
    vote::ByteRange,
};

/// Width of the drawing, and height of a row, in its own units.
const WIDTH: usize = 1000;
const TALL: usize = 14;
/// Parts of a row that are drawn before anybody looks closer.
const PARTS: usize = 500;

/// How a part is drawn: its class, and where in its row. Each has its own shape, so that it can be told without colours.
fn shape(part: Part) -> Option<(&'static str, usize, usize)> {
    Some(match part {
        Part::Alike | Part::Data => return None,
        Part::Filler => ("f", 10, 4),
        Part::Absent => ("a", 6, 2),
        Part::Outvoted => ("x", 2, 10),
        Part::Unstable => ("w", 0, 5),
        Part::Unreadable => ("u", 8, 6),
        Part::Undecided => ("q", 0, 14),
        Part::Failed => ("e", 5, 4),
    })
}

/// The drawing, with what its shapes mean, and the buttons for a closer look.
pub(super) fn drawn(report: &Report, map: &Map) -> String {
    if report.size == 0 || map.is_clean() {
        return String::new();
    }
    let mut html = "<h2>The image</h2>\n<div class=\"map\">\n".to_owned();
    if !report.partitions.is_empty() {
        html += &partitions(report);
    }
    for member in &report.members {
        let index = member.index.min(report.members.len() - 1);
        let (name, worst) = (text(&format!("#{index} {}", member.name)), map.worst(index, ByteRange::new(0, report.size)).word());
        let _ = write!(
            html,
            "<p class=\"name\">{name}</p><svg class=\"row\" viewBox=\"0 0 {WIDTH} {TALL}\" preserveAspectRatio=\"none\" role=\"img\" \
             aria-label=\"{name}: at worst {worst}\"><rect class=\"track\" width=\"{WIDTH}\" height=\"{TALL}\"/>"
        );
        for (first, last, part) in runs(report, map, index) {
            let Some((class, top, tall)) = shape(part) else { continue };
            let (x, right) = (first * WIDTH / PARTS, last * WIDTH / PARTS);
            let _ = write!(html, "<rect class=\"part {class}\" x=\"{x}\" y=\"{top}\" width=\"{}\" height=\"{tall}\"/>", right - x);
        }
        html += "</svg>\n";
    }
    html += "<ul class=\"legend\">";
    for part in Part::WORSE.into_iter().filter(|part| map.rows.iter().flatten().any(|there| there == part)) {
        let Some((class, top, tall)) = shape(part) else { continue };
        let _ = write!(
            html,
            "<li><svg viewBox=\"0 0 14 {TALL}\" aria-hidden=\"true\"><rect class=\"{class}\" y=\"{top}\" width=\"14\" height=\"{tall}\"/></svg>{}</li>",
            part.word()
        );
    }
    html += "</ul>\n<p class=\"script controls\" hidden><button type=\"button\" id=\"in\">Closer</button> <button type=\"button\" id=\"out\">Farther</button> \
             <button type=\"button\" id=\"left\" aria-label=\"Towards the start\">&larr;</button> <button type=\"button\" id=\"right\" \
             aria-label=\"Towards the end\">&rarr;</button> <button type=\"button\" id=\"all\">All</button> <span id=\"where\" role=\"status\" \
             class=\"dim\"></span></p>\n</div>\n";
    html
}

/// A strip of the partitions, and their names.
fn partitions(report: &Report) -> String {
    let at = |offset: u64| offset.min(report.size) as f64 / report.size as f64 * WIDTH as f64;
    let named = report.partitions.iter().map(|part| format!("{} at {:#x}, {}", text(&part.label), part.offset, human_size(part.length)));
    let mut html = format!(
        "<p class=\"name\">Partitions: {}</p><svg class=\"row\" id=\"partitions\" viewBox=\"0 0 {WIDTH} {TALL}\" preserveAspectRatio=\"none\" \
         aria-hidden=\"true\">",
        named.collect::<Vec<_>>().join("; ")
    );
    for (index, part) in report.partitions.iter().enumerate() {
        let (x, right) = (at(part.offset), at(part.offset.saturating_add(part.length)));
        let class = if index % 2 == 0 { "even" } else { "odd" };
        let (width, label) = ((right - x).max(0.0), text(&part.label));
        let _ =
            write!(html, "<rect class=\"{class}\" x=\"{x:.3}\" y=\"3\" width=\"{width:.3}\" height=\"8\"><title>{label}</title></rect>");
    }
    html + "</svg>\n"
}

/// Parts of a row that are alike, with their ends.
fn runs(report: &Report, map: &Map, member: usize) -> Vec<(usize, usize, Part)> {
    let at = |part: usize| (u128::from(report.size) * part as u128 / PARTS as u128) as u64;
    let mut runs: Vec<(usize, usize, Part)> = Vec::new();
    for part in 0..PARTS {
        let start = at(part).min(report.size - 1);
        let there = map.worst(member, ByteRange::new(start, at(part + 1).max(start + 1)));
        match runs.last_mut() {
            Some((_, last, same)) if *same == there => *last = part + 1,
            _ => runs.push((part, part + 1, there)),
        }
    }
    runs
}

/// What the script of the page needs; none where there is no map to look at.
pub(super) fn data(report: &Report, map: &Map) -> String {
    if report.size == 0 || map.is_clean() {
        return String::new();
    }
    let shapes: serde_json::Map<String, serde_json::Value> =
        Part::WORSE.into_iter().filter_map(|part| Some((part.letter().to_string(), serde_json::json!(shape(part)?)))).collect();
    let rows: Vec<String> = map.rows.iter().map(|row| row.iter().map(|part| part.letter()).collect()).collect();
    let data = serde_json::json!({ "size": report.size, "part": map.part_bytes, "rows": rows, "shapes": shapes });
    // Letters and numbers alone: no name comes in here.
    format!("<script type=\"application/json\" id=\"data\">{data}</script>\n")
}
