//! What a repair in place says before the first write, and after the last.

use std::io::{self, IsTerminal, Write};

use super::{ask::ask, repair_args::RepairArgs, say::warn_unless};
use crate::{
    member::Member,
    repair::{Answer, JournalPlace, Proposal, judge::ZEROED_MAX},
    report::{InPlaceReport, Report, counted, duration, human_size, sectors},
};

/// What a write in the middle of nowhere costs beside its bytes, in seconds: for the estimate.
const SEEK_SECONDS: f64 = 50e-6;
/// The least speed that is believed, in bytes a second.
const SPEED_MIN: f64 = 5e6;

/// Shows what is going to be done, and asks where somebody is there to answer.
pub(super) fn agree(args: &RepairArgs, proposal: &Proposal, estimate: &str, stopped: &dyn Fn() -> bool) -> Answer {
    if !args.show.progress.is_quiet() {
        let mut to = anstream::stderr().lock();
        let mut say = |line: &str| drop(writeln!(to, "{line}")); // where standard error is gone, nobody listens
        if proposal.resumed {
            let name = proposal.journal.map_or_else(String::new, ToString::to_string);
            say(&format!("Going on with the unfinished repair that {name} tells of."));
        }
        let ranges = counted(proposal.writes, "range");
        let again = match proposal.again_bytes {
            0 => String::new(),
            bytes => format!(", and up to {} once more that may not have reached the disk", human_size(bytes)),
        };
        say(&format!("About to write {} to members, in {ranges}{again}{estimate}:", human_size(proposal.bytes)));
        proposal.members.iter().for_each(|member| say(&format!("  {}", member.described())));
        match proposal.journal {
            Some(journal) if !proposal.resumed => say(&format!("Journal: {journal}, up to {}.", human_size(proposal.journal_bytes))),
            Some(_) => {}
            None => say("No journal: this can't be undone."),
        }
    }
    if args.in_place.yes {
        return Answer::Yes;
    }
    if !io::stdin().is_terminal() {
        return unattended(proposal);
    }
    if ask("Go on? [y/N] ", stopped) { Answer::Yes } else { Answer::No }
}

/// What is said where nobody is there to be asked, and nobody has said yes beforehand.
fn unattended(proposal: &Proposal) -> Answer {
    let mut why = Vec::new();
    if !proposal.overridden.is_empty() {
        why.push(format!("guards are overridden ({})", proposal.overridden.join(", ")));
    }
    let name = |index: usize| proposal.members.iter().find(|member| member.index == index).map_or("a member", |member| &member.name);
    why.extend(proposal.newer.iter().map(|&index| format!("{} is newer than all who outvote it", name(index))));
    let zeroed = proposal.members.iter().filter(|member| !member.no_write && member.content_zeroed_bytes >= ZEROED_MAX);
    why.extend(zeroed.map(|member| format!("{} of {} become zeros", human_size(member.content_zeroed_bytes), member.name)));
    if why.is_empty() {
        return Answer::Yes;
    }
    Answer::Refused(format!(
        "nobody is there to be asked, and a person must look at this plan: {}\nhint: --dry-run shows it; -y says yes beforehand, on a terminal it is asked",
        why.join("; ")
    ))
}

/// How long it will take, in words, by what reading cost so far.
pub(super) fn estimate(proposal: &Proposal, members: usize, bytes_per_second: f64) -> String {
    // Voted on again; journalled, its space being written first; written, and read back.
    let bytes = proposal.voted_bytes as f64 * members as f64 + 2.0 * proposal.journal_bytes as f64 + 2.0 * proposal.bytes as f64;
    // What was read in a moment says little of speed.
    let seconds = bytes / bytes_per_second.max(SPEED_MIN) + proposal.writes as f64 * SEEK_SECONDS;
    if seconds < 2.0 { String::new() } else { format!(" (about {})", duration(seconds)) }
}

/// What went wrong, and how to go on.
pub(super) fn tell(
    args: &RepairArgs,
    done: &InPlaceReport,
    report: &Report,
    members: &[&dyn Member],
    journal: Option<&JournalPlace>,
    complain: &mut dyn FnMut(&str),
) {
    let code = report.exit_code;
    if let Some(refused) = &done.refused {
        return complain(refused);
    }
    if let Some(error) = &done.error {
        complain(error);
    }
    if report.sectors.undecided > 0 {
        complain(&format!(
            "{} without a winner: left alone\nhint: --pick says who is right in a range, --trust who is right everywhere",
            sectors(report.sectors.undecided)
        ));
    }
    if done.not_healed_sectors > 0 {
        complain(&format!(
            "{} could not be healed\nhint: the report lists them; replace the disk, or make a new image with repair -o",
            sectors(done.not_healed_sectors)
        ));
    }
    for member in &done.members {
        if member.surplus_bytes > 0 {
            let surplus = human_size(member.surplus_bytes);
            let way_out = match members[member.index].image() {
                _ if !member.fixed_size => "--truncate cuts them".to_owned(),
                Some(image) => {
                    let resized =
                        image.resized_by(report.size).map_or_else(String::new, |program| format!("{program} --shrink does that, "));
                    format!("the size of an image isn't changed in place: {resized}repair -o makes a new one")
                }
                None => "its size can't be changed".to_owned(),
            };
            warn_unless(args.show.progress.is_quiet(), &format!("{}: {surplus} behind the virtual size were kept; {way_out}", member.name));
        }
        if member.no_write {
            warn_unless(args.show.progress.is_quiet(), &format!("{}: it differs, and stays so: --no-write", member.name));
        }
    }
    for member in &done.members {
        if let Some(error) = &member.error {
            complain(&format!("{}: {error}\nhint: nothing more was written to it; look at its storage, and run this again", member.name));
        }
    }
    let journal = journal.filter(|_| done.journal.is_some()).map(|place| place.shown.quoted());
    // What takes a set's run back minds its states, too.
    let undo = journal.as_ref().map(|journal| {
        if args.members.of_set {
            "quorum-img set undo (set history tells the run)".to_owned()
        } else {
            format!("quorum-img undo {journal}")
        }
    });
    if code == 130 {
        let back = undo.as_ref().map_or_else(String::new, |undo| format!("; {undo} takes back what was written"));
        complain(&format!("interrupted; {} were written\nhint: run the same command again to go on{back}", human_size(done.bytes_written)));
    } else if let (false, false, Some(undo)) = (done.completed || done.error.is_some(), done.dry_run, undo) {
        complain(&format!("not completed\nhint: run the same command again to go on; {undo} takes back what was written"));
    }
}
