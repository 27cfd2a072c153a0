//! The command that the user would run next.

use super::args::{Allowed, Format, MemberArgs, ReadBy, VoteArgs};
use crate::{
    member::{HostFile, Member, MemberName},
    report::{GuardReport, Overall, Report},
    sys::storage::Storage,
};

/// What to run after a check; none where there is nothing to do.
pub(super) fn after_check(report: &Report, members: &MemberArgs, vote: &VoteArgs) -> Option<String> {
    if report.exit_code == 0 || report.exit_code == 3 {
        return None;
    }
    let lead = match () {
        () if report.partial => Lead::rest(report),
        () => match Lead::past_guards(report) {
            Past::By(lead) => lead,
            Past::Nothing => Lead::repair(report),
            Past::Unknown => return None,
        },
    };
    let mut words = vec!["quorum-img".to_owned()];
    words.extend(lead.command);
    words.extend(stated_format(report, members));
    match members.allow_references {
        None => {}
        Some(Allowed::Own) => words.push("--allow-references".into()),
        Some(Allowed::Any) => words.push("--allow-references=any".into()),
    }
    if let Some(snapshot) = &members.snapshot {
        words.extend(["--snapshot".into(), MemberName::new(snapshot).quoted()]);
    }
    if let Some(threshold) = vote.threshold.filter(|_| lead.keeps_threshold) {
        words.extend(["--threshold".into(), threshold.to_string()]);
    }
    if vote.sector_size != 512 {
        words.extend(["--sector-size".into(), vote.sector_size.to_string()]);
    }
    if vote.read_pattern == ReadBy::Fifo {
        words.extend(["--read-pattern".into(), "fifo".into()]);
    }
    if let Some(size) = vote.size {
        words.extend(["--size".into(), size.to_string()]);
    }
    if let Some(trust) = vote.trust.as_ref().filter(|_| !lead.trusts) {
        words.extend(["--trust".into(), MemberName::new(trust).quoted()]);
    }
    if vote.skip_device_metadata {
        words.push("--skip-device-metadata".into());
    }
    words.extend(lead.more);
    let kept = report.members.iter().filter(|member| !lead.without.contains(&member.index));
    words.extend(kept.map(|member| member.shell_name.clone()));
    Some(words.join(" ") + &lead.comment)
}

/// Where a next command leads.
struct Lead {
    /// The command, and what comes right behind it.
    command: Vec<String>,
    /// What comes before the members.
    more: Vec<String>,
    /// Members that are left out, by number.
    without: Vec<usize>,
    /// Whether the same threshold holds.
    keeps_threshold: bool,
    /// Whether it says whom to trust.
    trusts: bool,
    /// What stands behind it.
    comment: String,
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

/// The guards of that word that stand.
fn standing<'r>(report: &'r Report, word: &'r str) -> impl Iterator<Item = &'r GuardReport> {
    report.guards.iter().filter(move |guard| guard.word == word && !guard.forced)
}

fn strings<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

impl Lead {
    fn to(command: Vec<String>, comment: impl Into<String>) -> Self {
        Self { command, more: Vec::new(), without: Vec::new(), keeps_threshold: true, trusts: false, comment: comment.into() }
    }

    /// The rest of a check that was stopped.
    fn rest(report: &Report) -> Self {
        let range = report.range.map_or((0, report.size), |range| (range.offset, range.length));
        let scanned = report.scanned_bytes.unwrap_or(0);
        let rest = format!("{:#x}:{}", range.0 + scanned, range.1 - scanned);
        Self::to(vec!["check".into(), "--range".into(), rest], "   # the rest")
    }

    /// A new image, with a person's decision where nobody won.
    fn repair(report: &Report) -> Self {
        let mut lead = Self::to(strings(["repair"]), "");
        if report.verdict == Overall::Undecided {
            lead.comment = undecided(report, &mut lead.more).to_owned();
        }
        lead.more.extend(strings(["-o", "fixed.img"]));
        lead
    }

    /// Past the guards that stand before a new image.
    fn past_guards(report: &Report) -> Past {
        let of = |word: &str| standing(report, word).filter_map(|guard| guard.member).collect::<Vec<_>>();
        let strangers = of("stranger");
        if !strangers.is_empty() && report.members.len() - strangers.len() >= 2 {
            let who = strangers.iter().map(|member| format!("#{member}")).collect::<Vec<_>>().join(" ");
            let lead = Self::to(strings(["check"]), format!("   # without {who}: another disk?"));
            return Past::By(Self { without: strangers, keeps_threshold: false, ..lead });
        }
        if standing(report, "device-metadata").next().is_some() {
            let lead = Self::to(strings(["check"]), "   # without what differs between legs by design");
            return Past::By(Self { more: strings(["--skip-device-metadata"]), ..lead });
        }
        if let Some(member) = ["newer", "empty", "zeros"].iter().find_map(|word| of(word).first().copied()) {
            let lead = Self::to(strings(["repair"]), format!("   # if #{member} is the one that is right"));
            let more = vec!["--trust".into(), format!("'#{member}'"), "-o".into(), "fixed.img".into()];
            return Past::By(Self { more, trusts: true, ..lead });
        }
        if let Some(&member) = of("cuts").first() {
            let size = report.members[member].size;
            let lead = Self::to(strings(["check"]), format!("   # if #{member}'s size is the right one"));
            return Past::By(Self { more: vec!["--size".into(), size.to_string()], ..lead });
        }
        if standing(report, "minority").next().is_some() {
            return Past::By(Self { keeps_threshold: false, ..Self::to(strings(["check"]), "   # by a majority") });
        }
        // Which of them are one another's copies, only a person can settle.
        if standing(report, "shared").next().is_some() { Past::Unknown } else { Past::Nothing }
    }
}

/// Places of the files that are compared before anything is said of them.
const SAMPLES: u64 = 64;
const SAMPLE_BYTES: usize = 4096;

/// Where images that differ are files that hardly do: the files themselves can vote, their metadata included.
pub(super) fn byte_for_byte(report: &Report, members: &[&dyn Member]) -> Option<String> {
    let files: Vec<&HostFile> = members.iter().filter_map(|member| member.files().into_iter().next()).collect();
    let images = members.iter().all(|member| member.is_encoded()) && files.len() == members.len();
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
                file.file().read(at, &mut bytes).is_ok_and(|held| held == bytes.len()).then_some(bytes)
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
    let names = files.iter().map(|file| MemberName::from(file.path()).quoted()).collect::<Vec<_>>().join(" ");
    Some(format!("quorum-img check -f raw {names}   # the files are copies of one another: byte for byte, metadata included"))
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
    vec!["-f".to_owned(), format.to_owned()]
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
