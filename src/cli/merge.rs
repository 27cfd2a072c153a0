//! `report --merge`: the reports of all parts made one.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::FromArgMatches as _;
use xxhash_rust::xxh3::Xxh3;

use super::{
    args::MemberArgs,
    given::Given,
    next,
    places::same_place,
    present::Presenter,
    show_args::{DIVERGENCES_MAX, Diagnose, OutputFormat, Picture, ProgressArgs, ShowArgs},
};
use crate::{
    evidence::{Evidence, Known},
    member::{Member, MemberName},
    repair::judge::{Forced, Weighing},
    report::{Divergence, Look, NextCommand, Report, SCHEMA, Times, read_report},
    scan::{
        Checked, Findings, Joined, Joining, Limits, Merged, Outcome, RecordedMember, SHARDS_MAX, Shard, ShardError, ShardFacts, Weighed,
        make_report, part_of, sorted,
    },
};

/// What is to be merged, and how it is shown.
pub(super) struct Merge<'a> {
    /// The parts' reports.
    pub(super) reports: &'a [PathBuf],
    /// Where the merged one is written to.
    pub(super) target: Option<&'a Path>,
    /// People's, or JSON.
    pub(super) format: OutputFormat,
    pub(super) picture: Picture,
    /// The whole program's options.
    pub(super) program: clap::Command,
}

/// Opens a report; a FIFO would wait for a writer.
pub(super) fn open_report(path: &Path) -> Result<File> {
    let name = MemberName::from(path);
    let special = fs::metadata(path).is_ok_and(|there| !there.is_file());
    ensure!(!special, "{name}: this is no file\nhint: name a file that check --report wrote");
    File::open(path).with_context(|| format!("{name}: can't be opened\nhint: name a file that check --report wrote"))
}

/// Reads a report; `each` hears of its divergences.
pub(super) fn read_one(path: &Path, each: &mut dyn FnMut(Divergence)) -> Result<Report> {
    let name = MemberName::from(path);
    let no_report = |what: String| anyhow!("{name}: {what}\nhint: name a file that check --report wrote");
    let report = read_report(open_report(path)?, each).map_err(|error| no_report(format!("is no report: {error}")))?;
    if report.schema != SCHEMA {
        return Err(no_report(format!("has schema {}, and this version reads {SCHEMA}", report.schema)));
    }
    Ok(report)
}

/// A report of a part, without its divergences, and where it stands.
fn read_shard(path: &Path) -> Result<Shard> {
    let name = MemberName::from(path);
    let mut listed = Xxh3::new();
    let mut report = read_one(path, &mut |there| listed.update(format!("{there:?}").as_bytes()))?;
    if let Some(failed) = &report.error {
        bail!("{name}: is word of a check that failed, with exit code {}: {}\nhint: run that part again", report.exit_code, failed.message);
    }
    let Some(shard) = report.shard.take().filter(|_| report.command == "check") else {
        bail!(ShardError::NoShard(name));
    };
    let facts = serde_json::from_value(shard.facts).map_err(|error| ShardError::OtherVersion {
        name: name.clone(),
        version: report.version.clone(),
        why: error.to_string(),
    })?;
    Ok(Shard { name, index: shard.index, count: shard.count, report, facts, listed: listed.digest() })
}

/// Merges the reports of all parts, and shows what the check of the whole would have shown.
pub(super) fn merge(args: &Merge) -> Result<u8> {
    ensure!(args.reports.len() as u64 <= SHARDS_MAX, "{} reports at once are too many\nhint: up to {SHARDS_MAX}", args.reports.len());
    if let Some(target) = args.target
        && let Some(over) = args.reports.iter().find(|report| same_place(target, report))
    {
        bail!("--report {}: is one of the parts\nhint: choose another name", MemberName::from(over.as_path()));
    }
    let mut shards: Vec<Shard> = Vec::new();
    let mut known: Vec<Known> = Vec::new();
    for path in args.reports {
        let mut shard = read_shard(path)?;
        match shards.first() {
            Some(first) => shard.share(&first.name, &known)?,
            None => known = shard.facts.members.iter_mut().map(|member| std::mem::take(&mut member.known)).collect(),
        }
        shards.push(shard);
    }
    let times = times(&shards);
    let paths: Vec<(MemberName, &PathBuf)> = args.reports.iter().map(|path| (MemberName::from(path.as_path()), path)).collect();
    shards = sorted(shards)?;
    shards[0].facts.members.iter_mut().zip(known).for_each(|(member, known)| member.known = known);
    let mut merged = Merged::of(&shards);
    let outcome = std::mem::take(&mut merged.outcome);
    let members: Vec<&dyn Member> = merged.members.iter().map(|member: &RecordedMember| member as &dyn Member).collect();
    let divergences_max = shards[0].facts.divergences_max.min(DIVERGENCES_MAX);
    let show = ShowArgs {
        format: args.format,
        max_divergences: divergences_max,
        report: args.target.map(Path::to_owned),
        picture: args.picture,
        diagnose: if shards[0].facts.diagnosed { Diagnose::Quick } else { Diagnose::Never },
        progress: ProgressArgs { progress: false, quiet: 0, rate_limit: None },
    };
    let mut presenter = Presenter::new(&show, &members)?;
    let mut replay = Replay::new(&merged, outcome, divergences_max, &mut presenter);
    for shard in &shards {
        let path = paths.iter().find(|(name, _)| *name == shard.name).map(|(_, path)| path);
        replay.take(shard, path.context("it was read before")?)?;
    }
    let (findings, outcome) = replay.finish()?;
    let (stopped, ranges) = (|| false, merged.poll.ranges());
    let weighing = Weighing {
        ranges: &ranges,
        max_damage: merged.max_damage,
        dependent: &merged.dependent,
        content: &merged.content,
        witnesses: merged.witnesses.clone(),
        ..Weighing::all(&members, &merged.question, &merged.poll, &merged.evidence, &stopped)
    };
    let weighed = weighing.stands(&outcome, &findings).reported(Forced::NOTHING);
    let weighed = Weighed { structures: merged.structures.clone(), heard: Some(merged.heard.clone()), ..weighed };
    let checked = Checked { outcome, findings };
    let mut report = make_report("check", &members, &merged.question, &merged.poll, checked, merged.warnings.clone(), weighed);
    report.fillers = shards[0].report.fillers;
    let guessed: Vec<bool> = shards[0].report.members.iter().map(|member| member.format_guessed).collect();
    report.mark_guesses(&guessed);
    let look = Look { next: next_of(&report, &shards[0].facts, args, &merged.evidence), or: None };
    presenter.finish_at(report, &look, times)
}

/// The divergences of all parts, taken as the check of the whole would have found them.
struct Replay<'a, 'p> {
    presenter: &'a mut Presenter<'p>,
    findings: Findings,
    outcome: Outcome,
    joining: Joining,
    sector: u32,
    size: u64,
}

impl<'a, 'p> Replay<'a, 'p> {
    fn new(merged: &Merged, outcome: Outcome, divergences_max: u64, presenter: &'a mut Presenter<'p>) -> Self {
        Self {
            presenter,
            findings: Findings::of(&merged.evidence, Limits { divergences: divergences_max as usize, ..Limits::default() }),
            outcome,
            joining: Joining::new(merged.members.len()),
            sector: merged.poll.sector,
            size: merged.poll.size,
        }
    }

    fn found(&mut self, joined: &Joined) -> Result<()> {
        self.outcome.tally.add(&joined.run, self.sector);
        self.findings.add(&joined.run);
        Ok(self.presenter.told(&joined.run, &joined.looks, &self.findings)?)
    }

    fn take(&mut self, shard: &Shard, path: &Path) -> Result<()> {
        let part = part_of(self.size, shard.index, shard.count);
        let (mut found, mut wrong) = (Ok(()), None);
        read_one(path, &mut |there| {
            if found.is_err() || wrong.is_some() {
                return;
            }
            match self.joining.push(there, part) {
                Ok(Some(joined)) => found = self.found(&joined),
                Ok(None) => {}
                Err(what) => wrong = Some(what),
            }
        })?;
        if let Some(what) = wrong {
            bail!(ShardError::Wrong { name: shard.name.clone(), what: what.to_owned() });
        }
        found
    }

    fn finish(mut self) -> Result<(Findings, Outcome)> {
        if let Some(joined) = self.joining.finish() {
            self.found(&joined)?;
        }
        Ok((self.findings, self.outcome))
    }
}

/// From the first part's start to the last one's end; `duration` is what all took together.
fn times(shards: &[Shard]) -> Times {
    let all = || shards.iter().map(|shard| &shard.report.times);
    let duration: f64 = all().filter_map(|times| times.duration).filter(|duration| duration.is_finite() && *duration >= 0.0).sum();
    let bytes = shards.iter().map(|shard| shard.report.range.map_or(0, |range| range.length)).fold(0u64, u64::saturating_add);
    #[allow(clippy::cast_sign_loss)] // neither is negative
    let rate = (duration > 0.0 && bytes > 0).then(|| (bytes as f64 / duration) as u64);
    Times {
        started: all().filter_map(|times| times.started.clone()).min(),
        finished: all().filter_map(|times| times.finished.clone()).max(),
        duration: Some((duration * 1e3).round() / 1e3),
        rate,
    }
}

/// What leads on from the whole: by the command line that the parts were checked by, without what made them parts.
fn next_of(report: &Report, facts: &ShardFacts, args: &Merge, evidence: &Evidence) -> Option<NextCommand> {
    let mut words: Vec<OsString> = vec!["quorum-img".into(), "check".into()];
    words.extend(facts.options.as_ref()?.iter().map(OsString::from));
    words.extend(args.target.into_iter().flat_map(|path| ["--report".into(), path.as_os_str().to_owned()]));
    if args.format == OutputFormat::Json {
        words.extend(["--output".into(), "json".into()]);
    }
    let names: Vec<OsString> = facts.members.iter().map(|member| OsStr::from_bytes(&member.name).to_owned()).collect();
    words.push("--".into());
    words.extend(names.iter().cloned());
    let matches = args.program.clone().try_get_matches_from(&words).ok()?;
    let given = Given::of(args.program.clone(), &matches);
    let mut members = MemberArgs::from_arg_matches(matches.subcommand()?.1).ok()?;
    members.members = names;
    members.witnesses = facts.digests.iter().map(OsString::from).collect();
    next::after(report, &members, &given, Some(evidence))
}
