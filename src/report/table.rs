//! The members, for people.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};

use super::{
    MemberReport, Report, Status,
    fit::{shortened, wrapped},
    human_size, words,
    words::sectors,
};

type Column = (&'static str, fn(&MemberReport) -> String, CellAlignment);

/// What was counted of a member.
const COUNTED: [Column; 6] = [
    ("DISSENTS", dissents, CellAlignment::Left),
    ("UNREADABLE", |member| counted(member.unreadable_sectors), CellAlignment::Left),
    ("UNSTABLE", |member| counted(member.unstable_sectors), CellAlignment::Left),
    ("FILLER", |member| counted(member.filler_sectors), CellAlignment::Left),
    ("ABSENT", |member| counted(member.absent_sectors), CellAlignment::Left),
    ("SURPLUS", |member| if member.surplus_bytes == 0 { String::new() } else { human_size(member.surplus_bytes) }, CellAlignment::Left),
];

/// Narrower than this, in columns, a name says nothing more.
const NAME_MIN: usize = 12;

/// The members, one a line. Columns in which nobody has anything to say are left out. On a terminal of so many `columns` what was counted of a
/// member stands on lines of its own below it, and a long name is shortened.
pub(super) fn members_table(report: &Report, columns: Option<usize>) -> String {
    // Where sizes differ, rounding would hide it.
    let differ = report.members.windows(2).any(|pair| pair[0].size != pair[1].size);
    let who: [Column; 6] = [
        ("#", |member| member.index.to_string(), CellAlignment::Right),
        ("MEMBER", |member| member.name.clone(), CellAlignment::Left),
        ("FORMAT", format, CellAlignment::Left),
        ("SIZE", if differ { |member| format!("{} B", member.size) } else { |member| human_size(member.size) }, CellAlignment::Right),
        ("MODIFIED", |member| member.modified.as_deref().map_or_else(String::new, shown_time), CellAlignment::Left),
        ("STATUS", |member| status(member).into(), CellAlignment::Left),
    ];
    let Some(columns) = columns else { return table(report, &[&who[..], &COUNTED].concat(), usize::MAX).join("\n") };
    let mut name_max = report.members.iter().map(|member| textwrap::core::display_width(&member.name)).max().unwrap_or(0);
    let mut lines = table(report, &who, name_max);
    let widest = lines.iter().map(|line| textwrap::core::display_width(line)).max().unwrap_or(0);
    if widest > columns {
        name_max = name_max.saturating_sub(widest - columns).max(NAME_MIN);
        lines = table(report, &who, name_max);
    }
    let mut lines = lines.into_iter();
    let mut all: Vec<String> = lines.next().into_iter().collect();
    for (member, line) in report.members.iter().zip(lines) {
        all.push(line);
        for told in told(member) {
            all.push(wrapped(&format!("   {told}"), columns, "     "));
        }
    }
    all.join("\n")
}

/// What was counted of a member, in words.
pub(super) fn told(member: &MemberReport) -> Vec<String> {
    let all = COUNTED.iter().map(|(what, cell, _)| (what.to_lowercase(), cell(member)));
    all.filter(|(_, text)| !text.is_empty()).map(|(what, text)| format!("{what}: {text}")).collect()
}

/// What is wrong with a member, in a line.
pub(super) fn unwell(member: &MemberReport) -> String {
    let why = member.error.iter().cloned().chain(told(member)).chain(member.conclusion.clone()).collect::<Vec<_>>().join("; ");
    if why.is_empty() { status(member).to_owned() } else { format!("{}: {why}", status(member)) }
}

/// A header and a line for each member; names are no longer than `name_max` columns.
fn table(report: &Report, all: &[Column], name_max: usize) -> Vec<String> {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    let cell = |(what, cell, _): &Column, member| if *what == "MEMBER" { shortened(&cell(member), name_max) } else { cell(member) };
    let rows: Vec<Vec<String>> = report.members.iter().map(|member| all.iter().map(|column| cell(column, member)).collect()).collect();
    let shown: Vec<usize> = (0..all.len()).filter(|&column| rows.iter().any(|row| !row[column].is_empty())).collect();
    table.set_header(shown.iter().map(|&column| all[column].0));
    for row in &rows {
        table.add_row(shown.iter().map(|&column| row[column].as_str()));
    }
    for (place, &column) in shown.iter().enumerate() {
        if let Some(shown) = table.column_mut(place) {
            shown.set_cell_alignment(all[column].2);
            shown.set_padding((u16::from(place != 0), 1));
        }
    }
    table.to_string().lines().map(|line| line.trim_end().to_owned()).collect()
}

/// To the second, and with a blank for the `T`.
pub(super) fn shown_time(rfc3339: &str) -> String {
    let Some((date, time)) = rfc3339.split_once('T') else { return rfc3339.into() };
    match time.split_once('.') {
        Some((seconds, _)) => format!("{date} {seconds}Z"),
        None => format!("{date} {time}"),
    }
}

pub(super) fn status(member: &MemberReport) -> &'static str {
    match member.status {
        Status::Failed => "failed",
        Status::Ok if member.whole => "whole",
        Status::Ok => "ok",
        Status::Divergent => "divergent",
    }
}

fn format(member: &MemberReport) -> String {
    let snapshot = member.snapshot.as_ref().map_or_else(String::new, |snapshot| format!(", {snapshot}"));
    format!("{}{snapshot}{}", member.format, if member.format_guessed { " (guessed)" } else { "" })
}

fn counted(count: u64) -> String {
    if count == 0 { String::new() } else { sectors(count) }
}

/// How often and where.
fn dissents(member: &MemberReport) -> String {
    let Some(span) = member.dissent_span else { return String::new() };
    let places = words::counted(member.dissents, "range");
    let mut text = format!("{} in {places}, {:#x} to {:#x}", sectors(member.dissenting_sectors), span.offset, span.end().saturating_sub(1));
    if !member.dissent_partitions.is_empty() {
        let _ = write!(text, ", partition {}", member.dissent_partitions.join(", "));
    }
    text
}
