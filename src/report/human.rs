//! The report for people: first what matters, then who, then where, then what to do next.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use super::{
    GuardReport, ImageErrorReport, MemberReport, NextCommand, Overall, ReadPattern, RepairReport, Report, Sectors, Status, human_size,
};
use super::{
    fit::wrapped,
    in_place::rewritten,
    picture::{Drawing, of_report},
    rows::divergences,
    styles::{BAD, GOOD, MEND},
    table::{members_table, unwell},
};
use super::{words, words::sectors};

/// What is shown around the report.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// The command that the user would run next.
    pub next: Option<NextCommand>,
    /// Another one that may serve them better.
    pub or: Option<NextCommand>,
}

/// In which order a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The verdict first, and all that is listed last: what is kept in a file is read from the top.
    VerdictFirst,
    /// The verdict last, and a short list before it: on a terminal what comes last is what is seen.
    VerdictLast {
        /// How wide the terminal is.
        columns: usize,
    },
}

/// Divergences that are shown where the verdict comes last.
const SHORT_LIST: usize = 20;

/// Writes the report, with ANSI styles: what takes it strips them where they aren't wanted; with a picture where one is to be drawn.
///
/// # Errors
/// What writing says.
pub fn render(report: &Report, order: Order, drawing: Option<Drawing>, to: &mut dyn Write) -> io::Result<()> {
    let picture = drawing.and_then(|drawing| of_report(report, drawing)).map_or_else(String::new, |picture| format!("\n{picture}\n"));
    let Order::VerdictLast { columns } = order else {
        verdict(report, to)?;
        write!(to, "\n{}\n{picture}", members_table(report, None))?;
        return divergences(report, usize::MAX, to);
    };
    write!(to, "{}\n{picture}", members_table(report, Some(columns)))?;
    let written = report.in_place.as_ref().is_some_and(|repair| !repair.dry_run && repair.bytes_written > 0);
    if !written && !report.repair.as_ref().is_some_and(|repair| repair.written) {
        divergences(report, SHORT_LIST, to)?;
    }
    let mut text = Vec::new();
    verdict(report, &mut text)?;
    write!(to, "\n{}", wrapped(&String::from_utf8_lossy(&text), columns, "  "))
}

/// Writes the verdict, and the members that are unwell: what a mail of a cron job needs to say.
///
/// # Errors
/// What writing says.
pub fn render_brief(report: &Report, to: &mut dyn Write) -> io::Result<()> {
    writeln!(to, "{}", headline(report))?;
    for member in report.members.iter().filter(|member| member.status != Status::Ok) {
        writeln!(to, "{}: {}", name_of(member), unwell(member))?;
    }
    for guard in report.guards.iter().filter(|guard| !guard.forced) {
        writeln!(to, "{}: {}", guard.word, guard.message)?;
    }
    Ok(())
}

/// Writes what leads on.
///
/// # Errors
/// What writing says.
pub fn lead_on(look: &Look, to: &mut dyn Write) -> io::Result<()> {
    if let Some(next) = &look.next {
        writeln!(to, "\nnext: {next}")?;
    }
    if let Some(other) = &look.or {
        writeln!(to, "or:   {other}")?;
    }
    Ok(())
}

/// What was found, and what was done.
fn verdict(report: &Report, to: &mut dyn Write) -> io::Result<()> {
    let style = match (report.exit_code, report.verdict) {
        (0, _) => GOOD,
        (_, Overall::Undecided) | (2.., _) => BAD,
        _ => MEND,
    };
    // What was done comes first, and then what was found before it.
    let done = report.in_place.as_ref().filter(|repair| !repair.dry_run && repair.bytes_written > 0);
    if let Some(repair) = done {
        let text = rewritten(repair);
        let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
        writeln!(to, "{style}{first}{style:#}\n{rest}\n\nFound before it: {}", headline(report))?;
    } else {
        writeln!(to, "{style}{}{style:#}", headline(report))?;
    }
    for line in details(report) {
        writeln!(to, "{line}")?;
    }
    if let Some(repair) = &report.repair {
        writeln!(to, "{}", repaired(repair))?;
    }
    if let Some(repair) = report.in_place.as_ref().filter(|_| done.is_none()) {
        writeln!(to, "{}", rewritten(repair))?;
    }
    Ok(())
}

/// The verdict in a sentence.
pub(super) fn headline(report: &Report) -> String {
    let Sectors { total, undecided, .. } = report.sectors;
    // That a member has failed is told of it, not of each of its sectors.
    let decided = report.sectors.decided.saturating_sub(report.lacking);
    let bytes = human_size(report.range.map_or(report.size, |range| range.length));
    let so_far = if report.partial {
        let ended = if report.repair.as_ref().is_some_and(|repair| repair.error.is_some()) { "Broken off" } else { "Interrupted" };
        format!("{ended} after {} of {bytes}; so far: ", human_size(report.scanned_bytes.unwrap_or(0)))
    } else {
        String::new()
    };
    if report.read_pattern == ReadPattern::Fifo {
        return match (decided, undecided) {
            (0, 0) => format!("{so_far}All {} could be read from the first member; nothing was compared.", sectors(total)),
            (_, 0) => format!("{so_far}{} could not be read from the first member, but from another.", sectors(decided)),
            _ => format!("{so_far}{} could be read from no member.", sectors(undecided)),
        };
    }
    let judge = match report.trust {
        Some(member) => format!("member #{member}, which is trusted,"),
        None if report.heard.donors.iter().any(|donor| donor.donated_sectors > 0) => "the vote, with what donors hold,".into(),
        None => "the vote".into(),
    };
    let fate = if report.heard.contradicted_chunks() > 0 {
        "but a digest contradicts what comes of it: a person must decide"
    } else if report.guards.iter().any(|guard| !guard.forced && stands(report, guard)) {
        "a person must decide"
    } else {
        "repairable"
    };
    let outside = if report.decides_part { " (outside of --range none is looked for)" } else { "" };
    let have = if undecided == 1 { "has" } else { "have" };
    let lengths = report.members.iter().filter(|member| member.surplus_bytes > 0).count();
    let contradicted = || report.heard.contradicted_chunks();
    match (decided, undecided) {
        (0, 0) if contradicted() > 0 && report.members.len() == 1 => {
            format!("{so_far}A digest contradicts the member in {}: a person must decide.", words::counted(contradicted(), "chunk"))
        }
        (0, 0) if contradicted() > 0 => format!(
            "{so_far}All {} members agree, and a digest contradicts them in {}: a person must decide.",
            report.members.len(),
            words::counted(contradicted(), "chunk")
        ),
        (0, 0) if report.members.len() == 1 => {
            format!("{so_far}The member holds what the digests say: {} of {bytes}.", sectors(total))
        }
        (0, 0) if lengths > 0 && report.exit_code == 0 => {
            let longer = if lengths == 1 { "1 is longer".to_owned() } else { format!("{lengths} are longer") };
            format!("{so_far}All {} members agree: {} of {bytes}; {longer}, which is no matter here.", report.members.len(), sectors(total))
        }
        (0, 0) if lengths > 0 => {
            let verb = if lengths == 1 { "is" } else { "are" };
            let part = if report.range.is_some() { "in the part of " } else { "up to " };
            format!("{so_far}All members agree {part}{bytes}, but {lengths} of them {verb} longer: {fate}.")
        }
        (0, 0) if report.members.iter().any(|member| member.status == Status::Failed) => {
            format!("{so_far}The members that can be read agree in all {}.", sectors(total))
        }
        (0, 0) => format!("{so_far}All {} members agree: {} of {bytes}.", report.members.len(), sectors(total)),
        (_, 0) if report.lacking > 0 => {
            format!(
                "{so_far}{decided} of {} differ among the members that can be read, and {judge} decides all of them: {fate}.",
                sectors(total)
            )
        }
        (1, 0) => format!("{so_far}1 of {} differs, and {judge} decides it: {fate}.", sectors(total)),
        (_, 0) => format!("{so_far}{decided} of {} differ, and {judge} decides all of them: {fate}.", sectors(total)),
        (0, _) => format!("{so_far}{undecided} of {} {have} no winner{outside}.", sectors(total)),
        (1, _) => format!("{so_far}{undecided} of {} {have} no winner{outside}; 1 more differs and is decided.", sectors(total)),
        _ => format!("{so_far}{undecided} of {} {have} no winner{outside}; {decided} more differ and are decided.", sectors(total)),
    }
}

/// What else matters at first sight.
pub(super) fn details(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    if report.size_undecided {
        lines.push("The members don't agree on the virtual size: behind the shortest one's end nothing is decided.".into());
    }
    if let Some(set) = &report.set {
        let names: Vec<&str> = report.members.iter().map(|member| member.name.as_str()).collect();
        lines.extend(set.lines(&names));
    }
    if let Some(shard) = &report.shard {
        lines.push(format!(
            "This is part {}/{}: quorum-img report --merge makes one report of all parts, and weighs what stands in the way of a repair.",
            shard.index, shard.count
        ));
    }
    let part_only = report.partial || report.range.is_some();
    let whole = report.members.iter().filter(|member| member.whole || (part_only && member.status == Status::Ok));
    let whole: Vec<String> = whole.map(name_of).collect();
    // Nothing is known against them but that nobody won, or that those who won are doubted.
    let open = report.size_undecided || report.sectors.undecided > 0;
    let doubted = report.guards.iter().any(|guard| guard.doubts_vote && !guard.forced);
    let lost = |member: &MemberReport| {
        let all =
            [member.dissenting_sectors, member.unreadable_sectors, member.absent_sectors, member.filler_sectors, member.unstable_sectors];
        all.iter().any(|&count| count > 0)
    };
    let unsettled = report.members.iter().filter(|member| member.status != Status::Failed && (doubted || (open && !lost(member))));
    let unsettled: Vec<String> = unsettled.map(name_of).collect();
    let part = if part_only { " in the part looked at" } else { " as they stand" };
    if report.exit_code != 0 && report.read_pattern == ReadPattern::Quorum {
        lines.push(match whole.len() {
            0 if !unsettled.is_empty() => format!("Which member is right can't be told: {}.", unsettled.join(", ")),
            0 => format!("No member is whole{}.", if part_only { part } else { "" }),
            _ => format!("Whole{part}: {}.", whole.join(", ")),
        });
    }
    for member in report.members.iter().filter(|member| member.status == Status::Failed) {
        lines.push(format!("Failed: {}: {}.", name_of(member), member.error.as_deref().unwrap_or("it can't be read")));
    }
    let concluded = |member: &MemberReport| Some(format!("{}: {}.", name_of(member), member.conclusion.as_ref()?));
    lines.extend(report.members.iter().filter_map(concluded));
    let summed = |member: &MemberReport| Some(format!("{}: is the one that was summed ({}).", name_of(member), member.summed.as_ref()?));
    lines.extend(report.members.iter().filter_map(summed));
    lines.extend(report.members.iter().filter(|member| member.unstable_sectors > 0).map(unstable));
    lines.extend(report.heard.lines());
    let journalled = report.in_place.as_ref().is_some_and(|done| !done.dry_run && done.bytes_written > 0 && done.journal.is_some());
    if journalled && !report.heard.witnesses.is_empty() {
        lines.push(
            "What digests know is of before; the journal tells that, as long as it is kept: make a new digest before you delete it.".into(),
        );
    }
    lines.extend(guards(report));
    lines.extend(image_errors(report));
    lines.extend(structures(report));
    let from = |word: &str| report.members.iter().all(|member| member.read_from == word || member.read_from == "medium");
    if from("medium") {
        lines.push("Read from the medium, past this machine's page cache.".into());
    } else if from("server") {
        lines.push("Read past this machine's page cache; what a server keeps in its own memory can't be told from its medium.".into());
    }
    lines
}

/// What didn't say the same twice.
fn unstable(member: &MemberReport) -> String {
    let count = member.unstable_sectors;
    let (sectors, have) = (sectors(count), if count == 1 { "has" } else { "have" });
    format!(
        "{}: {sectors} answered differently when read again, past the page cache, and {have} no ballot: this machine's memory, a cable, a \
         controller or the medium can't be relied on, or somebody writes to it.",
        name_of(member)
    )
}

/// Whether a guard stands before what is wanted; before a check, anything.
fn stands(report: &Report, guard: &GuardReport) -> bool {
    match (report.command, &report.in_place) {
        ("check", _) => true,
        (_, Some(_)) => guard.in_place == "refused",
        _ => guard.new_image == "refused",
    }
}

/// What stands in the way of writing, and isn't told by a refusal.
fn guards(report: &Report) -> Vec<String> {
    let refused =
        report.repair.as_ref().and_then(|repair| repair.refused.as_ref()).or(report.in_place.as_ref().and_then(|it| it.refused.as_ref()));
    let told = |guard: &&GuardReport| !guard.forced && refused.is_none_or(|refused| !refused.contains(&guard.message));
    // Who is another disk's loses much, and to zeros too: that follows.
    let stranger = |guard: &GuardReport| report.guards.iter().any(|other| other.word == "stranger" && other.member == guard.member);
    let follows = |guard: &GuardReport| matches!(guard.word, "stale" | "zeros") && stranger(guard);
    let line = |guard: &GuardReport| {
        let what = if stands(report, guard) { "In the way of a repair" } else { "Note" };
        format!("{what} ({}): {}.\n  {}.", guard.word, guard.message, guard.hint)
    };
    report.guards.iter().filter(told).filter(|guard| !follows(guard)).map(line).collect()
}

/// What is wrong with the books of images.
fn structures(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    for member in &report.members {
        for error in &member.structure_errors {
            lines.push(format!("{}: its guest's disk can be read, and its metadata is damaged: {error}.", name_of(member)));
        }
        if !member.structure_errors.is_empty() {
            lines.push(format!(
                "  repair -o makes a new image of what the members agree on; {} mends what can be mended.",
                member.mended_by
            ));
        }
        lines.extend(member.structure_notes.iter().map(|note| format!("{}: {note}.", name_of(member))));
    }
    lines
}

/// Image errors told one by one, of each member.
const IMAGE_ERRORS_MAX: usize = 10;

/// What is wrong with the structure of images.
fn image_errors(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    for member in &report.members {
        for error in member.image_errors.iter().take(IMAGE_ERRORS_MAX) {
            let ImageErrorReport { table, file, entry_offset, span, error } = error;
            let of_file = file.as_ref().map_or_else(String::new, |file| format!(" of {file}"));
            let entry = entry_offset.map_or_else(String::new, |at| format!(", entry at {at:#x}"));
            let lost = format!("{:#x}, {} of the disk", span.offset, human_size(span.length));
            lines.push(format!("{}: {lost} can't be read: {error} ({table}{of_file}{entry})", name_of(member)));
        }
        let listed = member.image_errors.len().saturating_sub(IMAGE_ERRORS_MAX) as u64;
        let more = words::counted(listed.saturating_add(member.image_errors_omitted), "more such place");
        match (listed, member.image_errors_omitted) {
            (0, 0) => {}
            (0, _) => lines.push(format!("{}: {more}", name_of(member))),
            (_, 0) => lines.push(format!("{}: {more}; --output json and --report list them", name_of(member))),
            _ => lines.push(format!("{}: {more}; --output json and --report list {listed} of them", name_of(member))),
        }
    }
    lines
}

fn name_of(member: &MemberReport) -> String {
    format!("#{} {}", member.index, member.name)
}

/// What a repair did, in a sentence or two.
fn repaired(repair: &RepairReport) -> String {
    let mut text = if repair.written {
        let how = match (repair.method, repair.base) {
            (Some("clone"), Some(base)) => format!("a clone of #{base} with {} rewritten", human_size(repair.bytes_written)),
            _ => format!("{} written", human_size(repair.bytes_written)),
        };
        let verified = match repair.verified_from {
            Some(from) => format!(", read back{} and found right", words::read_from(from)),
            None => ", not read back".to_owned(),
        };
        format!("Repaired image: {} ({how}{verified}).", repair.output)
    } else if repair.bytes_written > 0 {
        let written = human_size(repair.bytes_written);
        format!("Stopped after {written} were written to {}: it holds a part of the new image, and must be written anew.", repair.output)
    } else {
        format!("No output: nothing was written to {}.", repair.output)
    };
    if let Some(error) = &repair.error {
        let _ = write!(text, "\nIt failed: {}.", error.split('\n').next().unwrap_or_default());
    }
    if let (Some(fill), 1..) = (repair.fill, repair.filled_sectors) {
        let filled = sectors(repair.filled_sectors);
        let _ = match repair.error {
            None => write!(text, "\nFilled by --undecided {fill}: {filled}; look at them before you trust the image."),
            Some(_) => write!(text, "\nTo be filled by --undecided {fill}: {filled}."),
        };
    }
    if repair.unfilled_sectors > 0 {
        let _ = write!(text, "\n{} had nothing to be filled with.", sectors(repair.unfilled_sectors));
    }
    for picked in &repair.picked {
        let _ = write!(text, "\nPicked: {:#x}, {}: #{}.", picked.span.offset, human_size(picked.span.length), picked.member);
    }
    if repair.composed_blocks > 0 {
        let count = repair.composed_blocks;
        let (block, is) = if count == 1 { ("block", "is") } else { ("blocks", "are") };
        let _ = write!(text, "\n{count} {block} of 4 KiB {is} held whole by no member (composed of sectors of several, or filled).");
    }
    if let Some(blake3) = &repair.blake3 {
        let _ = write!(text, "\nBLAKE3 of its guest-visible bytes: {blake3}");
    }
    if let Some(sha256) = &repair.sha256 {
        let _ = write!(text, "\nSHA-256 of its guest-visible bytes: {sha256}");
    }
    text
}
