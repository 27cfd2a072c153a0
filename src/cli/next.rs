//! The command that the user would run next.
//!
//! It is the user's own command line, with what leads on: what they gave is given again, and never what was just refused.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
};

use super::{
    args::{Format, MemberArgs},
    given::Given,
    parse::parse_pick,
};
use crate::{
    evidence::Evidence,
    member::{HostFile, Member},
    repair::JOURNAL_SUFFIX,
    report::{Divergence, GuardReport, MemberReport, NextCommand, Overall, Report, Status, WitnessReport, counted, numbered, sectors},
    vote::mask_of,
};

/// What to run after this; none where there is nothing to do, or nobody can know.
///
/// `evidence`: what is known of the members beside their ballots, where that was looked at.
pub(super) fn after(report: &Report, members: &MemberArgs, given: &Given, evidence: Option<&Evidence>) -> Option<NextCommand> {
    // Where all is decided and a digest says otherwise, nothing that could be run tells who is right.
    let contradicted = report.verdict != Overall::Undecided && report.heard.contradicted_chunks() > 0;
    let lead = match report.exit_code {
        _ if contradicted && report.guards.is_empty() => return None,
        1 | 2 if let Some(proven) = report.members.iter().find(|member| member.summed.is_some()) => {
            let more = vec!["--trust".into(), format!("#{}", proven.index).into()];
            let dropped = vec!["--trust", "--size", "--from", "--pick", "--report"];
            Lead { dropped, more, ..Lead::to(Way::NewImage, "it is the one that was summed") }
        }
        _ if report.partial => Lead::rest(report)?,
        1 | 2 if report.repair.as_ref().is_none_or(|repair| !repair.written) => match Lead::past_guards(report) {
            Past::By(lead) => lead,
            Past::Nothing => Lead::on(report, given, evidence)?,
            Past::Unknown => return None,
        },
        3 if way_of(report) == Way::Check => Lead::again(report)?,
        _ => return None,
    };
    Some(lead.command(report, members, given))
}

/// Where a next command leads.
struct Lead {
    way: Way,
    /// Options that aren't given again, since they were what is left behind, or `more` has others.
    dropped: Vec<&'static str>,
    /// What is added before the members.
    more: Vec<OsString>,
    /// Members that are left out, by number.
    without: Vec<usize>,
    /// Digests that are left out, by number.
    unheard: Vec<usize>,
    /// What stands behind it.
    comment: String,
}

/// Commands that can lead on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Check,
    Show,
    NewImage,
    InPlace,
}

/// What leads past guards.
enum Past {
    /// That.
    By(Lead),
    /// None stands.
    Nothing,
    /// No command can be known.
    Unknown,
}

/// Options that a new image doesn't know, or makes nothing of.
const IN_PLACE_ONLY: &[&str] =
    &["--in-place", "--dry-run", "--max-damage", "--no-write", "--truncate", "--journal", "--no-journal", "--yes", "--range"];

fn strings<const N: usize>(words: [&str; N]) -> Vec<OsString> {
    words.map(OsString::from).to_vec()
}

/// Numbers of members, as people read them.
fn numbers(members: &[usize]) -> String {
    numbered(members.iter().copied())
}

fn way_of(report: &Report) -> Way {
    match (&report.in_place, &report.repair) {
        (Some(_), _) => Way::InPlace,
        (None, Some(_)) => Way::NewImage,
        (None, None) => Way::Check,
    }
}

impl Lead {
    fn to(way: Way, comment: impl Into<String>) -> Self {
        Self { way, dropped: Vec::new(), more: Vec::new(), without: Vec::new(), unheard: Vec::new(), comment: comment.into() }
    }

    /// The rest of a check that was stopped.
    fn rest(report: &Report) -> Option<Self> {
        let range = report.range.map_or((0, report.size), |range| (range.offset, range.length));
        let scanned = report.scanned_bytes.unwrap_or(0);
        let more = vec!["--range".into(), format!("{:#x}:{}", range.0 + scanned, range.1.saturating_sub(scanned)).into()];
        // The report of the rest would take the place of that of the first part.
        let rest = Self { dropped: vec!["--range", "--report"], more, ..Self::to(Way::Check, "the rest") };
        (way_of(report) == Way::Check && scanned < range.1).then_some(rest)
    }

    /// The same once more, when what failed is back.
    fn again(report: &Report) -> Option<Self> {
        let failed: Vec<usize> = report.members.iter().filter(|it| it.status == Status::Failed).map(|it| it.index).collect();
        (!failed.is_empty()).then(|| Self::to(way_of(report), format!("once {} can be read again", numbers(&failed))))
    }

    /// What mends it, with a person's decision where nobody won.
    fn on(report: &Report, given: &Given, evidence: Option<&Evidence>) -> Option<Self> {
        let way = way_of(report);
        let way = if way == Way::Check { Way::NewImage } else { way };
        let undecided = report.verdict == Overall::Undecided;
        if way == Way::InPlace && !undecided {
            return None;
        }
        let legs = evidence.map_or_else(Vec::new, Evidence::device_metadata);
        let of_leg = |one: &Divergence| legs.iter().any(|leg| leg.start < one.offset + one.length && one.offset < leg.end);
        if undecided && !given.has("--skip-device-metadata") && report.divergences.divergences().any(|one| of_leg(&one)) {
            return Some(Self::without_legs());
        }
        if undecided && let Some(again) = Self::again(report) {
            return Some(again);
        }
        if undecided { Self::decided(report, given, way, evidence) } else { Some(Self::to(way, "")) }
    }

    /// Where nobody won a person has to say who is right, or what to write.
    fn decided(report: &Report, given: &Given, way: Way, evidence: Option<&Evidence>) -> Option<Self> {
        if report.size_undecided {
            let more = vec!["--size".into(), report.size.to_string().into()];
            let lead = Self::to(way, "or another size: the members don't agree on one");
            return Some(Self { dropped: vec!["--size"], more, ..lead });
        }
        let picked: Vec<_> = given.values("--pick").filter_map(|value| parse_pick(value.to_str()?).ok()).map(|(range, _)| range).collect();
        let covered = |one: &Divergence| picked.iter().any(|range| range.start <= one.offset && one.offset + one.length <= range.end);
        let open = |one: &Divergence| one.verdict == Overall::Undecided && !covered(one);
        let left = report.divergences.divergences().filter(|one| open(one)).count() as u64 + report.divergences_omitted;
        let filled = given.has("--undecided");
        let first = report.divergences.divergences().find(|one| open(one)).or_else(|| report.first_undecided.clone().filter(open));
        let best = |first: &Divergence| report.proven.or_else(|| best_of(report, first, evidence));
        let who = first.as_ref().filter(|_| !filled).and_then(|first| Some((first, best(first)?)));
        if let Some((first, member)) = who {
            let doubts = doubts(report, first, member, evidence);
            // Where digests were heard, show tells which version they know.
            if report.command == "check" || (report.command == "repair" && !report.heard.witnesses.is_empty() && picked.is_empty()) {
                let place = format!("{:#x}:{}", first.offset, first.length);
                let doubts = if doubts.is_empty() { doubts } else { format!("; {doubts}") };
                return Some(Self {
                    more: vec![place.into()],
                    dropped: vec!["--range"],
                    ..Self::to(Way::Show, format!("nobody won there{doubts}"))
                });
            }
            let more = vec!["--pick".into(), format!("{:#x}:{}=#{member}", first.offset, first.length).into()];
            let doubts = if doubts.is_empty() { doubts } else { format!(": {doubts}") };
            let others = if left > 1 { format!("; then {} more to settle", left - 1) } else { String::new() };
            let marker = if way == Way::NewImage { "; or --undecided marker" } else { "" };
            let word = match (report.proven, report.denied) {
                (Some(_), _) => format!("#{member} holds there what a digest knows"),
                (None, true) => format!(
                    "no digest knows what they hold there: rather name a --donor that has it; or, if #{member} is right there all the same"
                ),
                (None, false) => format!("if #{member} is right there"),
            };
            return Some(Self { more, ..Self::to(way, format!("{word}{doubts}{others}{marker}")) });
        }
        if way != Way::NewImage {
            return None;
        }
        let unfilled = report.repair.as_ref().filter(|_| filled).map(|repair| sectors(repair.unfilled_sectors));
        let comment = match (unfilled, first) {
            (Some(unfilled), _) => format!("{unfilled} had nothing else to be filled with; or a --pick for each"),
            (None, Some(_)) => "nobody could read that; what can't be known is marked".into(),
            (None, None) => "or zero, first, bytes; or --pick for a range that you know about".into(),
        };
        Some(Self { dropped: vec!["--undecided"], more: strings(["--undecided", "marker"]), ..Self::to(way, comment) })
    }

    /// The legs of an array compared but for what makes them legs.
    fn without_legs() -> Self {
        let lead = Self::to(Way::Check, "without what differs between legs by design");
        Self { more: strings(["--skip-device-metadata"]), ..lead }
    }

    /// Past the guards that stand.
    fn past_guards(report: &Report) -> Past {
        let standing: Vec<&GuardReport> = report.guards.iter().filter(|guard| !guard.forced).collect();
        let of = |word: &str| standing.iter().filter(|guard| guard.word == word).filter_map(|guard| guard.member).collect::<Vec<_>>();
        let stands = |word: &str| standing.iter().any(|guard| guard.word == word);
        let strangers = of("stranger");
        if !strangers.is_empty() && report.members.len() - strangers.len() >= 2 {
            let lead = Self::to(Way::Check, format!("if {} is the wrong disk, and not the others", numbers(&strangers)));
            return Past::By(Self { without: strangers, dropped: vec!["--threshold"], ..lead });
        }
        if stands("device-metadata") {
            return Past::By(Self::without_legs());
        }
        if let Some(member) = ["newer", "empty", "zeros"].iter().find_map(|word| of(word).first().copied()) {
            let lead = Self::to(Way::NewImage, format!("if #{member} is the one that is right"));
            let more = vec!["--trust".into(), format!("#{member}").into()];
            return Past::By(Self { more, dropped: vec!["--trust", "--size", "--from", "--pick"], ..lead });
        }
        if let Some(&member) = of("cuts").first() {
            let size = report.members[member].size;
            let lead = Self::to(Way::Check, format!("if #{member}'s size is the right one"));
            return Past::By(Self { more: vec!["--size".into(), size.to_string().into()], dropped: vec!["--size"], ..lead });
        }
        if stands("old-witness") {
            let doubted = |it: &&WitnessReport| it.old.is_some() || it.contradicted_chunks > 0;
            let unheard: Vec<usize> = report.heard.witnesses.iter().filter(doubted).map(|it| it.index).collect();
            let none_left = unheard.len() == report.heard.witnesses.len();
            if none_left && report.members.len() < 2 {
                return Past::Unknown; // one copy alone can't vote
            }
            let which = if unheard.len() == 1 { "the digest" } else { "the digests" };
            // A donor is nothing without them.
            let dropped = if none_left { vec!["--donor"] } else { Vec::new() };
            let lead = Self::to(Way::Check, format!("without {which}, which may know only what stood there before"));
            return Past::By(Self { dropped, unheard, ..lead });
        }
        if stands("minority") {
            return Past::By(Self { dropped: vec!["--threshold"], ..Self::to(Way::Check, "by a majority") });
        }
        // Which of them are one another's copies, only a person can settle.
        if stands("shared") {
            return Past::Unknown;
        }
        // A new image costs nobody what they hold.
        let in_place = way_of(report) == Way::InPlace && !standing.is_empty();
        if in_place { Past::By(Self::to(Way::NewImage, "a new image; the members stay as they are")) } else { Past::Nothing }
    }

    /// The command line.
    fn command(&self, report: &Report, members: &MemberArgs, given: &Given) -> NextCommand {
        let (to, from) = (self.way, way_of(report));
        let mut dropped = self.dropped.clone();
        // How it is shown leads nowhere.
        dropped.extend(["--quiet", "--progress", "--picture", "--color"]);
        if to != from {
            // The list of this run isn't to be written over by the next one's, which may read it.
            dropped.extend(["--report", "--output"]);
        }
        if to != Way::Check {
            dropped.push("--diagnose"); // what check alone can do isn't asked of others
        }
        if to == Way::NewImage {
            dropped.extend(IN_PLACE_ONLY);
        }
        let journal = if to == Way::InPlace { another_journal(report) } else { None };
        if journal.is_some() {
            dropped.push("--journal");
        }
        let command = match to {
            Way::Check => "check",
            Way::Show => "show",
            Way::NewImage | Way::InPlace => "repair",
        };
        let mut words = strings(["quorum-img", command]);
        words.extend(given.again(command, &dropped, &self.without));
        words.extend(stated_format(report, members, given));
        let list = self.list(report, given).filter(|_| from == Way::Check);
        match (to, list) {
            // The list names the place, and all others.
            (Way::Show, Some(list)) => words.extend(["--from".into(), list]),
            (Way::NewImage, Some(list)) => words.extend(self.more.iter().cloned().chain(["--from".into(), list])),
            _ => words.extend(self.more.iter().cloned()),
        }
        words.extend(journal.into_iter().flat_map(|name| ["--journal".into(), name]));
        if to == Way::NewImage && !given.has("-o") {
            words.extend(["-o".into(), free_name()]);
        }
        let heard = members.witnesses.iter().enumerate().filter(|(index, _)| !self.unheard.contains(index)).map(|(_, name)| name);
        let kept = members.members.iter().enumerate().filter(|(index, _)| !self.without.contains(index));
        words.extend(kept.map(|(_, name)| name).chain(heard).map(|name| harmless(name)));
        NextCommand { words, comment: self.comment.clone() }
    }

    /// The report that this check wrote, where a repair can go by it.
    fn list(&self, report: &Report, given: &Given) -> Option<OsString> {
        let own_question =
            ["--range", "--size", "--trust"].iter().any(|option| given.has(option) || self.more.iter().any(|it| it == option));
        let list = given.value("--report").filter(|_| !own_question && !report.partial && report.exit_code < 3)?;
        // It is written last of all; a pipe can't be read again.
        let gone = Path::new(list).metadata().is_ok_and(|there| !there.is_file());
        (!gone).then(|| harmless(list))
    }
}

/// A name that can't be taken for an option.
fn harmless(name: &OsStr) -> OsString {
    let mut word = OsString::from(if name.as_encoded_bytes().first() == Some(&b'-') { "./" } else { "" });
    word.push(name);
    word
}

/// The member that holds what most hold there, and of those one that isn't older than others, and lost least elsewhere.
fn best_of(report: &Report, divergence: &Divergence, evidence: Option<&Evidence>) -> Option<usize> {
    let most = divergence.versions.iter().map(|version| version.members.len()).max()?;
    let holders = divergence.versions.iter().filter(|version| version.members.len() == most).flat_map(|version| &version.members);
    let all = || divergence.versions.iter().flat_map(|version| &version.members).copied();
    let older = |member| is_older(evidence, member, mask_of(all()), divergence.offset);
    holders.copied().min_by_key(|&member| (older(member), lost(&report.members[member])))
}

/// Sectors that a member lost by the vote, or can't give.
fn lost(member: &MemberReport) -> u64 {
    member.dissenting_sectors + member.unreadable_sectors + member.unstable_sectors
}

/// Whether one of `others` (a mask) is newer there by what it holds.
fn is_older(evidence: Option<&Evidence>, member: usize, others: u64, offset: u64) -> bool {
    evidence.is_some_and(|evidence| evidence.seniority.is_older(member, others & !(1 << member), offset))
}

/// Members whose doubts are told.
const DOUBTED_MAX: usize = 3;

/// What speaks against those who hold something else there than `best`.
fn doubts(report: &Report, divergence: &Divergence, best: usize, evidence: Option<&Evidence>) -> String {
    let others = divergence.versions.iter().filter(|version| !version.members.contains(&best)).flat_map(|version| &version.members);
    let told = others.filter_map(|&member| {
        let lost = lost(&report.members[member]);
        let lost = (lost > 0).then(|| format!("lost {}", counted(lost, "other sector")));
        let older = is_older(evidence, member, mask_of([best]), divergence.offset).then(|| "is older".to_owned());
        let all: Vec<String> = lost.into_iter().chain(older).collect();
        (!all.is_empty()).then(|| format!("#{member} {}", all.join(" and ")))
    });
    told.take(DOUBTED_MAX).collect::<Vec<_>>().join(", ")
}

/// A name for another journal, where that of what was just repaired is kept.
fn another_journal(report: &Report) -> Option<OsString> {
    let done = report.in_place.as_ref().filter(|repair| repair.bytes_written > 0 && !repair.dry_run)?;
    let first = done.journal.as_deref()?;
    let stem = first.strip_suffix(JOURNAL_SUFFIX).unwrap_or(first);
    let mut names = (2..100).map(|number| format!("{stem}.{number}{JOURNAL_SUFFIX}"));
    let free = names.find(|name| Path::new(name).symlink_metadata().is_err())?;
    Some(harmless(free.as_ref()))
}

/// A name for a new image that nothing has yet in this folder.
fn free_name() -> OsString {
    let names = std::iter::once("fixed.img".to_owned()).chain((2..100).map(|number| format!("fixed-{number}.img")));
    names.into_iter().find(|name| Path::new(name).symlink_metadata().is_err()).unwrap_or_else(|| "fixed.img".into()).into()
}

/// The format's option, which whatever writes needs for qcow2 images.
fn stated_format(report: &Report, members: &MemberArgs, given: &Given) -> Vec<OsString> {
    let guessed_qcow2 = report.members.iter().any(|member| member.format_guessed && member.format == "qcow2");
    let stated = members.format != Format::Auto || given.has("--format") || !guessed_qcow2;
    if stated { Vec::new() } else { strings(["-f", "qcow2"]) }
}

/// Places of the files that are compared before anything is said of them.
const SAMPLES: u64 = 64;
const SAMPLE_BYTES: usize = 4096;

/// Where images that differ are files that hardly do: the files themselves can vote, their metadata included.
pub(super) fn byte_for_byte(report: &Report, members: &[&dyn Member]) -> Option<NextCommand> {
    let files: Vec<&HostFile> = members.iter().filter_map(|member| member.files().into_iter().next()).collect();
    // What differs in a data or backing file, no comparison of the images' own files can show.
    let alone = |member: &&dyn Member| member.is_encoded() && member.files().len() == 1;
    let images = members.iter().all(alone) && files.len() == members.len();
    let length = files.first()?.size();
    if report.exit_code == 0 || !images || length == 0 || files.iter().any(|file| file.size() != length) {
        return None;
    }
    let count = SAMPLES.min(length.div_ceil(SAMPLE_BYTES as u64));
    let places = (0..count).map(|place| (u128::from(length) * u128::from(place) / u128::from(count)) as u64);
    let mut strange = vec![0u64; files.len()];
    for at in places {
        let samples: Vec<Option<Vec<u8>>> = files
            .iter()
            .map(|file| {
                let mut bytes = vec![0; SAMPLE_BYTES.min((length - at) as usize)];
                file.served().read(None, at, &mut bytes, &mut None).is_ok_and(|held| held == bytes.len()).then_some(bytes)
            })
            .collect();
        let seen_by = |one: &Option<Vec<u8>>| samples.iter().filter(|other| *other == one).count();
        let usual = samples.iter().max_by_key(|one| seen_by(one))?;
        let alone = seen_by(usual) == 1;
        samples.iter().zip(&mut strange).for_each(|(one, strange)| *strange += u64::from(alone || one != usual));
    }
    // Images that were written to one by one have their clusters in another order; damage is seldom in every tenth place.
    if strange.iter().any(|&strange| strange * 10 > count) {
        return None;
    }
    let mut words = strings(["quorum-img", "check", "-f", "raw"]);
    words.extend(files.iter().map(|file| harmless(file.path().as_os_str())));
    Some(NextCommand { words, comment: "the files are copies of one another: byte for byte, metadata included".into() })
}
