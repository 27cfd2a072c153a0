//! The command that the user would run next.

use super::args::{Allowed, Format, MemberArgs, Pattern, VoteArgs};
use crate::{
    member::MemberName,
    report::{Overall, Report},
};

/// What to run after a check; none where there is nothing to do.
pub(super) fn after_check(report: &Report, members: &MemberArgs, vote: &VoteArgs) -> Option<String> {
    if report.exit_code == 0 || report.exit_code == 3 {
        return None;
    }
    let mut words = vec!["quorum-img".to_owned()];
    let mut comment = "";
    if report.partial {
        let range = report.range.map_or((0, report.size), |range| (range.offset, range.length));
        let scanned = report.scanned_bytes.unwrap_or(0);
        words.extend(["check".into(), "--range".into(), format!("{:#x}:{}", range.0 + scanned, range.1 - scanned)]);
        comment = "   # the rest";
    } else {
        words.push("repair".into());
    }
    words.extend(stated_format(report, members));
    if let Some(threshold) = vote.threshold {
        words.extend(["--threshold".into(), threshold.to_string()]);
    }
    if vote.sector_size != 512 {
        words.extend(["--sector-size".into(), vote.sector_size.to_string()]);
    }
    if vote.read_pattern == Pattern::Fifo {
        words.extend(["--read-pattern".into(), "fifo".into()]);
    }
    if let Some(size) = vote.size {
        words.extend(["--size".into(), size.to_string()]);
    }
    if let Some(trust) = &vote.trust {
        words.extend(["--trust".into(), MemberName::new(trust).quoted()]);
    }
    if !report.partial {
        if report.verdict == Overall::Undecided {
            comment = undecided(report, &mut words);
        }
        words.extend(["-o".into(), "fixed.img".into()]);
    }
    words.extend(report.members.iter().map(|member| member.shell_name.clone()));
    Some(words.join(" ") + comment)
}

/// The format's option, which whatever writes needs for qcow2 images.
fn stated_format(report: &Report, members: &MemberArgs) -> Vec<String> {
    let guessed_qcow2 = report.members.iter().any(|member| member.format_guessed && member.format == "qcow2");
    let format = match members.format {
        Format::Raw => "raw",
        Format::Qcow2 => "qcow2",
        Format::Auto if guessed_qcow2 => "qcow2",
        Format::Auto => return Vec::new(),
    };
    let mut words = vec!["-f".to_owned(), format.to_owned()];
    match members.allow_references {
        None => {}
        Some(Allowed::Own) => words.push("--allow-references".into()),
        Some(Allowed::Any) => words.push("--allow-references=any".into()),
    }
    if let Some(snapshot) = &members.snapshot {
        words.extend(["--snapshot".into(), MemberName::new(snapshot).quoted()]);
    }
    words
}

/// What to run after a repair that made no image for want of a decision.
pub(super) fn after_repair(report: &Report, members: &MemberArgs, vote: &VoteArgs) -> Option<String> {
    let undecided = report.exit_code == 2 && report.repair.as_ref().is_some_and(|repair| !repair.written);
    if undecided { after_check(report, members, vote) } else { None }
}

/// Where nobody won a person has to say who is right, or what to write.
fn undecided(report: &Report, words: &mut Vec<String>) -> &'static str {
    let first = report.divergences.divergences().find(|divergence| divergence.verdict == Overall::Undecided);
    match first {
        _ if report.size_undecided => {
            words.extend(["--size".into(), report.size.to_string()]);
            "   # or another size: the members don't agree on one"
        }
        Some(first) => {
            words.extend(["--pick".into(), format!("{:#x}:{}='#N'", first.offset, first.length)]);
            "   # N: who is right there; or --undecided zero, marker, first, bytes"
        }
        None => {
            words.extend(["--undecided".into(), "marker".into()]);
            "   # or zero, first, bytes; or --pick for a range that you know about"
        }
    }
}
