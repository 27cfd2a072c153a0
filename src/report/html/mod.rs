//! A report as a page that needs nothing else: no file beside it, no network.

mod map;
mod text;

use std::fmt::Write as _;

use self::text::{text, text_lines};
use super::{
    DamageReport, Divergence, MemberReport, Overall, Report, Status,
    human::{details, headline},
    human_size,
    rows::said,
    table::{shown_time, status, told},
};

/// What a page begins with, so that one can be told from other files.
pub const PAGE_START: &str = "<!doctype html>\n<!-- quorum-img report -->\n";

/// Divergences that a page lists: more of them make it slow, and nobody reads them.
pub const LISTED_MAX: usize = 5000;

/// What goes into a page beside the report itself.
pub struct PageParts<'a> {
    /// The first divergences, [`LISTED_MAX`] at most.
    pub listed: &'a [Divergence],
    /// How many more there are.
    pub omitted: u64,
    /// Where the members differ, as fine as the list tells.
    pub map: &'a super::Map,
    /// What members hold at places: the place in words, and its lines.
    pub hex: &'a [(String, String)],
}

/// The page.
#[must_use]
pub fn page(report: &Report, parts: &PageParts) -> String {
    let title = headline(report);
    let mut page = PAGE_START.to_owned();
    let mut add = |text: &str| page.push_str(text);
    add("<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    // Whatever a name holds, nothing is fetched from anywhere.
    add(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n",
    );
    add(&format!("<title>{}</title>\n<style>{}</style></head>\n<body><main>\n", text(&title), include_str!("page.css")));
    let class = match (report.exit_code, report.verdict) {
        (0, _) => "good",
        (_, Overall::Undecided) | (2.., _) => "bad",
        _ => "mend",
    };
    add(&format!("<h1 class=\"{class}\">{}</h1>\n<p class=\"dim\">{}</p>\n", text(&title), text(&about(report))));
    add(&list(&details(report)));
    if let Some(refusal) = &report.refusal {
        let hint = refusal.hint.as_ref().map_or_else(String::new, |hint| format!("<br>{}", text(hint)));
        add(&format!("<p class=\"bad\">{}{hint}</p>\n", text(&refusal.message)));
    }
    if !report.warnings.is_empty() {
        add("<h2>Warnings</h2>\n");
        add(&list(&report.warnings));
    }
    if let Some(next) = &report.next {
        add(&format!("<h2>What to run next</h2>\n<pre>{}</pre>\n", text(&next.to_string())));
    }
    add(&map::drawn(report, parts.map));
    add(&members(report));
    add(&guards(report));
    add(&divergences(report, parts));
    if !parts.hex.is_empty() {
        add("<h2>What the members hold</h2>\n");
        for (place, lines) in parts.hex {
            add(&format!("<details><summary>{}</summary><pre class=\"hex\">{}</pre></details>\n", text(place), text_lines(lines)));
        }
    }
    add(&format!("</main>\n{}<script>{}</script>\n</body></html>\n", map::data(report, parts.map), include_str!("page.js")));
    page
}

/// When, by what, of how much.
fn about(report: &Report) -> String {
    let mut about = format!("quorum-img {} {}", report.version, report.command);
    if let Some(started) = &report.times.started {
        let _ = write!(about, ", {}", shown_time(started));
    }
    if let Some(seconds) = report.times.duration {
        let _ = write!(about, ", {}", super::duration(seconds));
    }
    let _ = write!(about, "; {} in sectors of {}, threshold {}", human_size(report.size), report.sector_size, report.threshold);
    about
}

fn list(lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let mut html = "<ul>\n".to_owned();
    for line in lines {
        let _ = writeln!(html, "<li>{}</li>", text(line));
    }
    html + "</ul>\n"
}

fn members(report: &Report) -> String {
    let mut html = "<h2>Members</h2>\n<table class=\"members\"><thead><tr><th class=\"n\">#<th>Member<th>Status<th class=\"n\">Size<th>What was found</tr></thead><tbody>\n".to_owned();
    for member in &report.members {
        let class = match member.status {
            Status::Ok => "good",
            Status::Divergent => "mend",
            Status::Failed => "bad",
        };
        let _ = writeln!(
            html,
            "<tr><td class=\"n\">{}<td>{}<br><span class=\"dim\">{}{}</span><td class=\"{class}\">{}<td class=\"n\">{}<td>{}</tr>",
            member.index,
            text(&member.name),
            text(member.format),
            member.modified.as_ref().map_or_else(String::new, |time| format!(", {}", text(&shown_time(time)))),
            text(status(member)),
            text(&human_size(member.size)),
            text(&found(member)),
        );
    }
    html + "</tbody></table>\n"
}

/// What was found of a member, in one text.
fn found(member: &MemberReport) -> String {
    let all = member.error.iter().cloned().chain(told(member)).chain(member.conclusion.clone());
    all.collect::<Vec<_>>().join("; ")
}

fn guards(report: &Report) -> String {
    if report.guards.is_empty() {
        return String::new();
    }
    let mut html = "<h2>Guards</h2>\n<ul>\n".to_owned();
    for guard in &report.guards {
        let forced = if guard.forced { " (overridden)" } else { "" };
        let _ = writeln!(
            html,
            "<li><strong>{}</strong>{forced}: {}<br><span class=\"dim\">{}</span></li>",
            text(guard.word),
            text(&guard.message),
            text(&guard.hint)
        );
    }
    html + "</ul>\n"
}

fn divergences(report: &Report, parts: &PageParts) -> String {
    if parts.listed.is_empty() {
        return String::new();
    }
    let mut html = "<h2>Divergences</h2>\n<table id=\"list\"><caption>".to_owned();
    match parts.omitted {
        0 => html.push_str("All of them."),
        omitted => {
            let _ = write!(html, "The first {}; {omitted} more are in the report itself.", parts.listed.len());
        }
    }
    html.push_str("</caption><thead><tr>");
    for (class, name) in
        [(" class=\"n\"", "Offset"), (" class=\"n\"", "Length"), ("", "Verdict"), ("", "Members"), ("", "Damage"), ("", "Partition")]
    {
        let _ = write!(html, "<th scope=\"col\"{class}><button type=\"button\">{name}</button>");
    }
    html.push_str("</tr></thead><tbody>\n");
    for row in parts.listed {
        let (class, verdict) = if row.verdict == Overall::Undecided { ("bad", "undecided") } else { ("", "decided") };
        let damage: Vec<String> = row.damage.iter().map(DamageReport::in_words).collect();
        let _ = writeln!(
            html,
            "<tr data-o=\"{}\" data-l=\"{}\"><td class=\"n\">{:#x}<td class=\"n\">{}<td class=\"{class}\">{verdict}<td>{}<td>{}<td>{}</tr>",
            row.offset,
            row.length,
            row.offset,
            text(&human_size(row.length)),
            text(&said(row, report.members.len())),
            text(&damage.join("; ")),
            text(row.partition.as_deref().unwrap_or_default()),
        );
    }
    html + "</tbody></table>\n"
}
