//! The options that decide what a repair in place writes, as a journal keeps them: in one line.

use std::ffi::OsString;

use anyhow::Result;

use super::{args::find_given, repair_args::RepairArgs};
use crate::{
    repair::Earlier,
    scan::{Poll, Question, majority},
};

/// A set's own record says the rest, and that moves on: who was met, who votes, what its digest may say.
const OF_SET: &str = "of a set";

/// What decides what is written, as one line.
pub(super) fn options(args: &RepairArgs, question: &Question, poll: &Poll, no_write: &[usize], earlier: Option<&Earlier>) -> String {
    if args.members.of_set {
        return format!("sector-size {}, size {}, {OF_SET}", poll.sector, poll.size);
    }
    let mut words = vec![format!("sector-size {}", poll.sector), format!("threshold {}", poll.threshold), format!("size {}", poll.size)];
    words.extend(question.range.map(|_| format!("range {:#x}:{}", poll.range.start, poll.range.length())));
    words.extend(question.trust.map(|member| format!("trust #{member}")));
    words.extend(question.picks.iter().map(|(range, member)| format!("pick {:#x}:{}=#{member}", range.start, range.length())));
    words.extend(no_write.iter().map(|member| format!("no-write #{member}")));
    words.extend(earlier.map(|earlier| format!("from a report's list {:016x}", earlier.digest())));
    words.extend(args.in_place.truncate.then(|| "truncate".to_owned()));
    words.extend(formats(args));
    let heard = question.hearing.iter().flat_map(|hearing| &hearing.witnesses).map(|witness| witness.digest.header());
    words.extend(heard.map(|header| format!("digest {} of {}", header.origin_in_words(), header.finished.0)));
    words.join(", ")
}

/// Which members are images rather than bytes, as words of the options.
fn formats(args: &RepairArgs) -> Vec<String> {
    let roll = args.members.roll();
    let stated = args.members.members.iter().enumerate().filter_map(|(index, name)| Some((index, roll.format_of(name)?)));
    stated.filter(|(_, format)| format.is_encoded()).map(|(index, format)| format!("{} #{index}", format.name())).collect()
}

/// What is known of that line before the members are read.
pub(super) fn known_options(args: &RepairArgs) -> Result<Vec<String>> {
    if args.members.of_set {
        return Ok(vec![format!("sector-size {}", args.vote.sector_size), OF_SET.to_owned()]);
    }
    let given = &args.members.members;
    let numbered = |names: &[OsString], word: &str| {
        names.iter().map(|name| Ok(format!("{word} #{}", find_given(name, given)?))).collect::<Result<Vec<String>>>()
    };
    let threshold = args.vote.threshold.unwrap_or_else(|| majority(given.len()).max(2));
    let mut ours = vec![format!("sector-size {}", args.vote.sector_size), format!("threshold {threshold}")];
    ours.extend(numbered(args.vote.trust.as_slice(), "trust")?);
    ours.extend(numbered(&args.in_place.no_write, "no-write")?);
    ours.extend(args.in_place.truncate.then(|| "truncate".to_owned()));
    ours.extend(formats(args));
    Ok(ours)
}

/// Whether the options that a journal tells of can be those `ours` that are known so far.
pub(super) fn may_be_ours(then: &str, ours: &[String]) -> bool {
    let read_later = ["size ", "range ", "pick ", "from ", "digest "];
    then.split(", ").filter(|word| !read_later.iter().any(|later| word.starts_with(later))).eq(ours)
}
