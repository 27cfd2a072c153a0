//! The list of divergences, for people.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use anstyle::Style;

use super::{
    Divergence, Overall, Report, human_size,
    styles::{BAD, DIM},
    words,
};

/// Writes those that are listed, one a line, but no more than `shown_max`.
pub(super) fn divergences(report: &Report, shown_max: usize, to: &mut dyn Write) -> io::Result<()> {
    let omitted = report.divergences_omitted;
    let strangers: Vec<usize> = report.guards.iter().filter(|guard| guard.word == "stranger").filter_map(|guard| guard.member).collect();
    let folded = report.divergences.divergences().filter(|row| is_of_strangers(row, &strangers)).count() as u64;
    // That a member has failed is told of it, not of each of its sectors.
    let told = |row: &Divergence| is_of_strangers(row, &strangers) || only_lacks(row);
    let mut rows = report.divergences.divergences().filter(|row| !told(row)).peekable();
    if rows.peek().is_none() && folded == 0 {
        return match omitted {
            0 => Ok(()),
            _ => writeln!(to, "\n{omitted} divergences, none listed (--max-divergences)."),
        };
    }
    if rows.peek().is_some() {
        writeln!(to, "\n{DIM}{:>14}  {:>10}  {:<9}  MEMBERS{DIM:#}", "OFFSET", "LENGTH", "VERDICT")?;
    }
    for row in rows.by_ref().take(shown_max) {
        let style = if row.verdict == Overall::Undecided { BAD } else { Style::new() };
        let verdict = if row.verdict == Overall::Undecided { "undecided" } else { "decided" };
        write!(
            to,
            "{:>14}  {:>10}  {style}{verdict:<9}{style:#}  {}",
            format!("{:#x}", row.offset),
            human_size(row.length),
            said(&row, report.members.len())
        )?;
        match &row.partition {
            Some(partition) => writeln!(to, "  {DIM}partition {partition}{DIM:#}")?,
            None => writeln!(to)?,
        }
    }
    let left = rows.count() as u64;
    if left > 0 {
        return writeln!(to, "and {} more: --report FILE has all of them.", left.saturating_add(omitted));
    }
    if folded > 0 {
        let who = words::numbered(strangers.iter().copied());
        let are = if folded == 1 { "isn't" } else { "aren't" };
        writeln!(to, "\n{} of {who} alone {are} shown: another disk?", words::counted(folded, "divergence"))?;
    }
    if omitted > 0 {
        writeln!(to, "{omitted} more divergences aren't listed: --max-divergences lists more, --report FILE all of them.")?;
    }
    Ok(())
}

/// Whether nothing is amiss there but that members have failed.
fn only_lacks(row: &Divergence) -> bool {
    let others = [&row.unreadable, &row.unstable, &row.filler, &row.absent];
    row.donor.is_none() && row.versions.len() == 1 && !row.failed.is_empty() && others.iter().all(|members| members.is_empty())
}

/// Whether nobody else is outvoted there.
fn is_of_strangers(row: &Divergence, strangers: &[usize]) -> bool {
    let mut losers = row.versions.iter().skip(1).flat_map(|version| &version.members);
    let others =
        row.unreadable.is_empty() && row.absent.is_empty() && row.filler.is_empty() && row.unstable.is_empty() && row.failed.is_empty();
    row.verdict == Overall::Decided
        && row.donor.is_none()
        && row.versions.len() > 1
        && others
        && losers.all(|loser| strangers.contains(loser))
}

/// From so many winners on they are all the others.
const ALL_MIN: usize = 8;

/// Who holds what: `#0 #2 against #1`, `#0 or #1`, `#0 #1; absent: #2`.
pub(super) fn said(row: &Divergence, members: usize) -> String {
    let list = |members: &[usize]| words::numbered(members.iter().copied());
    let versions: Vec<String> = row.versions.iter().map(|version| list(&version.members)).collect();
    let holders: usize = row.versions.iter().map(|version| version.members.len()).sum();
    let most = row.versions.first().map_or(0, |version| version.members.len());
    let mut text = match (row.verdict, &versions[..]) {
        (Overall::Decided, held) if let Some(donor) = row.donor => {
            let against = if held.is_empty() { String::new() } else { format!(" against {}", held.join(", ")) };
            format!("donor {donor}{against}")
        }
        (Overall::Undecided, _) => versions.join(" or "),
        (_, [_, rest @ ..]) if !rest.is_empty() && holders == members && most >= ALL_MIN => format!("all against {}", rest.join(", ")),
        (_, [winner, rest @ ..]) if !rest.is_empty() => format!("{winner} against {}", rest.join(", ")),
        _ => versions.concat(),
    };
    for (word, members) in [
        ("unreadable", &row.unreadable),
        ("unstable", &row.unstable),
        ("filler", &row.filler),
        ("absent", &row.absent),
        ("failed", &row.failed),
    ] {
        if !members.is_empty() {
            let separator = if text.is_empty() { "" } else { "; " };
            let _ = write!(text, "{separator}{word}: {}", list(members));
        }
    }
    text
}
