//! One run of a set: its record open and taken, what it does in its history.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use clap::Args;

use crate::{
    cli::{
        failure::{exit_code, explained},
        lookout,
        signals::stop_flag,
    },
    electorate::{ElectorateError, Format, Roll, Single, open_single},
    evidence::Uuid,
    member::Cache,
    scan::majority,
    set::{MemberRow, NewMember, Place, Policy, Record, RunEnd, RunLock, SetError},
};

/// Where this machine says which boot it is (proc(5), `random`).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What a set's history takes for the present, where a test says it.
#[derive(Args, Clone, Debug)]
pub(super) struct PresentArgs {
    /// Seconds since 1970 that the history is to have
    #[arg(long, hide = true, value_name = "SECONDS")]
    clock: Option<i64>,
    /// The boot that it is to be
    #[arg(long, hide = true, value_name = "ID")]
    boot: Option<String>,
}

impl PresentArgs {
    /// Seconds since 1970.
    pub(super) fn at(&self) -> i64 {
        self.clock.unwrap_or_else(|| (nanoseconds() / 1_000_000_000) as i64)
    }

    /// Which boot of this machine it is; empty where that can't be told, and then nothing is the same.
    pub(super) fn boot(&self) -> String {
        self.boot.clone().unwrap_or_else(|| fs::read_to_string(BOOT_ID).map_or_else(|_| String::new(), |id| id.trim().to_owned()))
    }
}

/// Nanoseconds since 1970.
pub(super) fn nanoseconds() -> i128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i128::try_from(since.as_nanos()).unwrap_or(i128::MAX))
}

/// A run.
pub(super) struct Session {
    pub(super) place: Place,
    pub(super) record: Record,
    pub(super) policy: Policy,
    /// Its number in the history.
    pub(super) run: i64,
    pub(super) present: PresentArgs,
    _lock: RunLock,
}

impl Session {
    /// Takes the set, and notes that a run begins.
    pub(super) fn begin(set: &Path, kind: &str, present: &PresentArgs) -> Result<Self> {
        let place = Place::of(set)?;
        // A missing set must not get a folder.
        place.refuse_foreign_hands()?;
        let lock = place.take(kind)?;
        let record = Record::open(&place)?;
        Self::with(place, record, lock, kind, present)
    }

    /// Makes a set, and takes it: whole, or nothing is left of it.
    pub(super) fn found(
        place: &Place,
        uuid: Uuid,
        policy: &Policy,
        epoch: u64,
        members: &[NewMember],
        kind: &str,
        present: &PresentArgs,
    ) -> Result<Self> {
        let record = Record::found(place, uuid, policy, epoch, members, present.at())?;
        let place = record.place().clone();
        let made = place.take(kind).map_err(Into::into).and_then(|lock| Self::with(place.clone(), record, lock, kind, present));
        if made.is_err() {
            // Nothing was marked yet.
            let _ = fs::remove_file(&place.record);
            let _ = fs::remove_dir_all(place.folder());
        }
        made
    }

    /// The same of a record that is open and taken.
    fn with(place: Place, record: Record, lock: RunLock, kind: &str, present: &PresentArgs) -> Result<Self> {
        let policy = record.policy()?;
        lookout::start(policy.timeout);
        let run = record.begin_run(kind, present.at())?;
        Ok(Self { place, record, policy, run, present: present.clone(), _lock: lock })
    }

    pub(super) fn at(&self) -> i64 {
        self.present.at()
    }

    /// Does the run's work, and notes how it ended.
    pub(super) fn through(&self, work: impl FnOnce(&Self) -> Result<(u8, RunEnd)>) -> Result<u8> {
        match work(self) {
            Ok((code, end)) => {
                self.record.end_run(self.run, &RunEnd { exit_code: code, ..end }, self.at())?;
                Ok(code)
            }
            Err(error) => {
                let text = explained(&error);
                let outcome = text.lines().next().unwrap_or_default().to_owned();
                let end = RunEnd { exit_code: exit_code(&error), outcome, ..RunEnd::default() };
                // What went wrong is what matters.
                let _ = self.record.end_run(self.run, &end, self.at());
                Err(error)
            }
        }
    }

    /// How members are opened.
    pub(super) fn roll<'a>(&self, names: &'a [OsString]) -> Roll<'a> {
        Roll {
            cache: if self.policy.direct { Cache::None } else { Cache::Writeback },
            format: Some(Format::Raw),
            missing_ok: true,
            of_set: true,
            members_min: 1,
            stop: &stop_flag,
            ..Roll::of(names)
        }
    }

    /// Opens a member by itself.
    pub(super) fn open(&self, row: &MemberRow) -> Result<Single, ElectorateError> {
        open_single(&self.roll(&[row.plain().to_owned()]), row.plain())
    }

    /// How many ballots a version of so many members needs.
    pub(super) fn needed(&self, members: usize) -> usize {
        self.policy.threshold.unwrap_or_else(|| majority(members).max(2))
    }

    /// The set's name as the user would type it.
    pub(super) fn quoted(&self) -> String {
        self.place.name.quoted_word()
    }

    /// The member that is called so: by its name, its number, or the start of its UUID.
    pub(super) fn find(&self, rows: &[MemberRow], name: &OsString) -> Result<usize> {
        find(rows, name, &self.place).map_err(Into::into)
    }

    /// The journals of its repairs that are kept.
    pub(super) fn journals(&self) -> Result<Vec<PathBuf>> {
        let paths = self.record.runs_with_journals()?.into_iter().filter_map(|run| self.place.journal_named(&run.journal?));
        Ok(paths.filter(|path| path.exists()).collect())
    }
}

/// See [`Session::find`].
pub(super) fn find(rows: &[MemberRow], name: &OsString, place: &Place) -> Result<usize, SetError> {
    let missing = || SetError::NoMember { name: crate::member::escaped(&name.to_string_lossy()), set: place.name.clone() };
    if let Some(number) = name.to_str().and_then(|text| text.strip_prefix('#')) {
        return number.parse().ok().filter(|&number: &usize| number < rows.len()).ok_or_else(missing);
    }
    let path = fs::canonicalize(name).ok();
    let is = |row: &MemberRow| {
        let shown = row.shown();
        let own = shown.as_os_str();
        own == name || row.name == *name || path.as_ref().is_some_and(|path| fs::canonicalize(own).ok().as_ref() == Some(path))
    };
    if let Some(index) = rows.iter().position(is) {
        return Ok(index);
    }
    // What people type of it: its last part, or the start of its UUID, where one alone is called so.
    let text = name.to_string_lossy();
    let short = |row: &MemberRow| {
        Path::new(row.shown().as_os_str()).file_name() == Some(name.as_os_str())
            || (text.len() >= 4 && row.uuid.to_string().starts_with(&*text))
    };
    let found: Vec<usize> = (0..rows.len()).filter(|&index| short(&rows[index])).collect();
    match found[..] {
        [one] => Ok(one),
        _ => Err(missing()),
    }
}
