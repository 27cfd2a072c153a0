//! The command line.

use std::{ffi::OsString, path::PathBuf};

use super::{machine::Outcome, races::RACES, write_ceiling::Work};

/// What `--help` prints.
pub const HELP: &str = "\
Races quorum-img against its peers on data made for it.

    cargo bench --bench race -- [OPTIONS]

  --size-mib N        length of each full image, at least 16 [default: 2048]; about 8 times that is needed on the disk,
                      and 6 times in memory for warm to be warm
  --runs N            counted rounds of each race [default: 5]
  --dir DIR           where the data goes [default: target/race]
  --only NAME[,NAME]  only these races: warm, warm-cp, warm-4k, members, stale, nbd, damaged, digest, witness, set,
                      cold, direct, repair, sparse, qcow2, qcow2-zlib, qcow2-zstd, in-place-1000, in-place-100000
  --keep              delete no data, neither between the races nor at the end

QUORUM_IMG in the environment names another binary to race. As root, `cold` drops all of the machine's caches and `repair`
mounts an XFS file system from a file for clones. Exit code: 0, 1 where a race was aborted, 2 for bad usage.
";

/// Options of a race.
pub struct Options {
    /// Length of each full image.
    pub size_bytes: u64,
    /// Counted rounds.
    pub runs: usize,
    /// Where the data goes.
    pub dir: PathBuf,
    /// Names of the races to run; all where empty.
    only: Vec<String>,
    /// Whether the data stays.
    pub keep: bool,
}

impl Options {
    /// Whether the race `name` is to be run.
    pub fn chooses(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

/// What this program was called for.
pub enum Call {
    /// To race.
    Race(Options),
    /// By itself, as a contestant: `--ceiling THREADS FILE...`.
    Ceiling {
        /// How many threads compare.
        threads: usize,
        /// What they compare.
        files: Vec<PathBuf>,
    },
    /// By itself, as another: `--write-ceiling BYTES JOURNAL OFFSETS GOOD BAD`.
    WriteCeiling(Work),
    /// To say how.
    Help,
    /// By `cargo test`, which doesn't pass `--bench`.
    Idle,
}

impl Call {
    /// Understands the arguments, program name excluded.
    pub fn parse(mut arguments: impl Iterator<Item = OsString>) -> Outcome<Self> {
        let mut options = Options { size_bytes: 2048 << 20, runs: 5, dir: PathBuf::from("target/race"), only: Vec::new(), keep: false };
        let mut idle = true;
        while let Some(argument) = arguments.next() {
            match argument.to_str().unwrap_or_default() {
                "--bench" => idle = false,
                "--size-mib" => options.size_bytes = number(&mut arguments, "--size-mib", 16, 1 << 20)? << 20,
                "--runs" => options.runs = number(&mut arguments, "--runs", 1, 1000)? as usize,
                "--dir" => options.dir = arguments.next().ok_or("--dir needs a folder")?.into(),
                "--only" => options.only = names(&text(&mut arguments, "--only")?)?,
                "--keep" => options.keep = true,
                "-h" | "--help" => return Ok(Self::Help),
                "--ceiling" => {
                    let threads = number(&mut arguments, "--ceiling", 1, 1024)? as usize;
                    return Ok(Self::Ceiling { threads, files: arguments.map(PathBuf::from).collect() });
                }
                "--write-ceiling" => {
                    let journal_bytes = number(&mut arguments, "--write-ceiling", 0, 1 << 40)?;
                    let mut file = || arguments.next().map(PathBuf::from).ok_or("--write-ceiling needs four files");
                    return Ok(Self::WriteCeiling(Work { journal_bytes, journal: file()?, offsets: file()?, good: file()?, bad: file()? }));
                }
                _ => return Err(format!("unknown argument {}", argument.to_string_lossy()).into()),
            }
        }
        Ok(if idle { Self::Idle } else { Self::Race(options) })
    }
}

/// The text that follows `option`.
fn text(arguments: &mut impl Iterator<Item = OsString>, option: &str) -> Outcome<String> {
    let value = arguments.next().ok_or_else(|| format!("{option} needs a value"))?;
    value.into_string().map_err(|value| format!("{option}: {} is not text", value.to_string_lossy()).into())
}

/// The number that follows `option`, between `least` and `most`.
fn number(arguments: &mut impl Iterator<Item = OsString>, option: &str, least: u64, most: u64) -> Outcome<u64> {
    let value = text(arguments, option)?;
    let number = value.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("{option}: {value} is not a number from {least} to {most}").into())
}

/// The races of a list with commas.
fn names(list: &str) -> Outcome<Vec<String>> {
    let names: Vec<String> = list.split(',').map(str::to_owned).collect();
    match names.iter().find(|&name| !RACES.iter().any(|race| race.name == name)) {
        Some(unknown) => Err(format!("--only: there is no race {unknown:?}").into()),
        None => Ok(names),
    }
}
