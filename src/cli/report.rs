//! `quorum-img report`: an earlier report shown again, or as a page.

use std::{
    ffi::OsString,
    io::{self, IsTerminal, Write as _},
    path::PathBuf,
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use super::{
    info::InfoFormat,
    merge::{Merge, merge, open_report, read_one},
    present::{drawing, order_for},
    report_file::write_page,
    say::{Output, warn},
    show_args::Picture,
    signals::stop_flag,
    texts,
};
use crate::{
    electorate::{Roll, open_single},
    member::{Member, MemberName},
    report::{
        self, Divergence, LISTED_MAX, Listed, Look, Map, PageParts, Report, hex_lines, lead_on, numbered, order_by_names, page, render,
    },
};

/// Parts of the map of a page: what one can look closer at.
const PARTS_MAX: usize = 16 << 10;
/// Places whose bytes go into a page, and bytes of each.
const HEX_PLACES: usize = 50;
const HEX_BYTES: u64 = 4096;
/// Lines of a place.
const HEX_LINES: usize = 64;
/// Divergences that are kept for people.
const KEPT_MAX: usize = 10_000;

/// Show the report of an earlier check or repair again, or make a page of it
///
/// The page (`--html`) is one file that needs nothing else, and asks nothing of any network: the verdict, the map of the image, the members, and
/// the table of divergences. No member is opened, unless `--hex` names them.
#[derive(Args, Debug)]
#[command(after_long_help = texts::REPORT)]
pub(super) struct ReportArgs {
    /// What `--report` or `--output json` wrote; with `--merge` those of all parts
    #[arg(value_name = "REPORT", required = true)]
    reports: Vec<PathBuf>,

    /// Make one report of those that `check --shard` wrote of all parts: the very report that a check of the whole would have made
    #[arg(long, conflicts_with = "html")]
    merge: bool,

    /// With `--merge`: write the merged report, with every divergence, to a file
    #[arg(id = "merged", long = "report", value_name = "FILE", requires = "merge")]
    merged: Option<PathBuf>,

    /// Write it as a page to a file
    #[arg(long, value_name = "FILE", conflicts_with = "output-format")]
    html: Option<PathBuf>,

    /// With `--html`: the members, in the report's order, whose bytes at the first 50 places go into the page
    #[arg(long, value_name = "MEMBER", num_args = 1.., requires = "html")]
    hex: Vec<OsString>,

    /// How it is printed
    #[arg(id = "output-format", long = "output", value_enum, value_name = "FORMAT", default_value_t = InfoFormat::Human)]
    output: InfoFormat,

    /// A map of the image, a row for each member: `auto` draws it on a terminal, where something differs
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Picture::Auto)]
    picture: Picture,
}

pub(super) fn run(args: &ReportArgs, program: clap::Command) -> Result<u8> {
    if args.merge {
        return merge(&Merge {
            reports: &args.reports,
            target: args.merged.as_deref(),
            format: args.output.into(),
            picture: args.picture,
            program,
        });
    }
    let [path] = &args.reports[..] else {
        bail!("one report is shown at a time\nhint: --merge makes one of the reports of all parts");
    };
    let name = MemberName::from(path.as_path());
    let mut listed: Vec<Divergence> = Vec::new();
    let (mut count, mut map) = (0u64, Map::finer(crate::vote::MEMBERS_MAX, PARTS_MAX));
    let kept_max = if args.html.is_some() { LISTED_MAX } else { KEPT_MAX };
    let mut report = read_one(path, &mut |there| {
        count += 1;
        map.add_listed(&there);
        if listed.len() < kept_max {
            listed.push(there);
        }
    })?;
    if let (Some(failed), None, InfoFormat::Human) = (&report.error, &args.html, args.output) {
        let hint = failed.hint.as_ref().map_or_else(String::new, |hint| format!("\nhint: {hint}"));
        writeln!(Output::new(), "That run failed, with exit code {}: {}{hint}", report.exit_code, failed.message)?;
        return Ok(0);
    }
    ensure!(
        !report.members.is_empty() && report.sector_size > 0,
        "{name}: is of a run that failed, and tells of nothing but that\nhint: it is short: read it as it is"
    );
    ensure!(
        report.members.len() <= crate::vote::MEMBERS_MAX,
        "{name}: has more members than can vote\nhint: name a file that check --report wrote"
    );
    map.rows.truncate(report.members.len());
    let map = widened(map, &report);
    let omitted = report.divergences_omitted.saturating_add(count - listed.len() as u64);
    match (&args.html, args.output) {
        (Some(target), _) => {
            let hex = places(&args.hex, &report, &listed)?;
            let parts = PageParts { listed: &listed, omitted, map: &map, hex: &hex };
            write_page(target, &page(&report, &parts)).with_context(|| format!("--html {}", MemberName::from(target.as_path())))?;
        }
        (None, InfoFormat::Json) => {
            report::copy(open_report(path)?, Output::new()).context("standard output")?;
        }
        (None, InfoFormat::Human) => {
            report.divergences = Listed::Kept(listed);
            report.divergences_omitted = omitted;
            report.map.get_or_insert(map);
            show(args, &report)?;
        }
    }
    Ok(0)
}

/// The map of what is listed, with what the report's own map knows beyond that.
fn widened(map: Map, report: &Report) -> Map {
    let mut map = map.covering(report.size);
    if report.divergences_omitted > 0
        && let Some(own) = &report.map
    {
        for (member, row) in own.rows.iter().enumerate().take(map.rows.len()) {
            for (part, &there) in row.iter().enumerate().filter(|(_, there)| **there != report::Part::Alike) {
                let start = own.part_bytes.saturating_mul(part as u64).min(report.size);
                let end = start.saturating_add(own.part_bytes).min(report.size);
                map.mark(member, crate::vote::ByteRange::new(start, end), there);
            }
        }
    }
    map
}

fn show(args: &ReportArgs, report: &Report) -> Result<()> {
    report.warnings.iter().for_each(|warning| warn(warning));
    let terminal = io::stdout().is_terminal();
    let something = report.map.as_ref().is_some_and(|map| !map.is_clean());
    let drawn = args.picture.is_wanted(terminal && something);
    let mut to = io::BufWriter::new(Output::new().styled());
    let look = Look { next: report.next.clone(), or: None };
    let printed =
        render(report, order_for(terminal), drawn.then(drawing), &mut to).and_then(|()| lead_on(&look, &mut to)).and_then(|()| to.flush());
    printed.context("standard output")
}

/// What the members hold at the first places that are listed.
fn places(names: &[OsString], report: &Report, listed: &[Divergence]) -> Result<Vec<(String, String)>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let count = report.members.len();
    ensure!(
        names.len() == count,
        "--hex: the report is of {count} members, and {} are named\nhint: name them in the report's order",
        names.len()
    );
    let roll = Roll { stop: &stop_flag, ..Roll::of(names) };
    let opened = names.iter().map(|name| open_single(&roll, name)).collect::<Result<Vec<_>, _>>()?;
    let mut members: Vec<&dyn Member> = opened.iter().map(|single| single.member.as_ref()).collect();
    let names: Vec<String> = report.members.iter().map(|then| then.name.clone()).collect();
    order_by_names(&names, &mut members, |member| member.name().to_string());
    for (member, then) in members.iter().zip(&report.members) {
        let (name, size) = (member.name(), member.size());
        ensure!(size == then.size, "--hex {name}: has {size} bytes, and {} had {}\nhint: name the report's members", then.name, then.size);
        if member.modified().and_then(report::rfc3339) != then.modified {
            warn(&format!("{name}: was modified since the report was made: what the page shows of it is what it holds now"));
        }
    }
    let place = |there: &Divergence| {
        let length = there.length.min(HEX_BYTES);
        let read = |version: &report::Version| {
            let mut bytes = vec![0; length as usize];
            let found = version.members.iter().any(|&member| {
                // What reaches over its end would make it a failed one.
                let inside = |member: &&&dyn Member| there.offset.checked_add(length).is_some_and(|end| end <= member.size());
                members.get(member).filter(inside).is_some_and(|member| member.read(there.offset, &mut bytes, &mut None).is_ok())
            });
            if found { bytes } else { Vec::new() }
        };
        let versions: Vec<Vec<u8>> = there.versions.iter().map(read).collect();
        let lettered = |(version, letter): (&report::Version, char)| format!("{letter}: {}", numbered(version.members.iter().copied()));
        let legend: Vec<String> = there.versions.iter().zip('A'..='Z').map(lettered).collect();
        (
            format!("{:#x}, {}: {}", there.offset, report::human_size(there.length), legend.join(", ")),
            hex_lines(there.offset, &versions, HEX_LINES),
        )
    };
    Ok(listed.iter().take(HEX_PLACES).map(place).collect())
}
