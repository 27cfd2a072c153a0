//! The simulated disk: files and a folder, where every operation is a numbered step that can fail, or be the last one.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    JOURNAL,
    handle::Handle,
    platter::{Platter, SECTOR},
    random::Random,
    witness::Witness,
};

/// What can be done to a disk, as far as it changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Create,
    Write,
    Overwrite,
    SetLength,
    Sync,
    /// The first half of giving a name.
    Link,
    /// The second half.
    SyncFolder,
}

impl Kind {
    /// What can go wrong there, and is told there.
    pub fn faults(self) -> &'static [Fault] {
        match self {
            Self::Write | Self::Overwrite => &[Fault::Eio, Fault::NoRoom, Fault::Short],
            Self::SetLength | Self::Create => &[Fault::Eio, Fault::NoRoom],
            Self::Sync | Self::Link | Self::SyncFolder => &[Fault::Eio],
        }
    }

    /// What goes wrong there, and is told later.
    pub fn late_faults(self) -> &'static [Fault] {
        match self {
            Self::Write | Self::Overwrite => &[Fault::Late],
            _ => &[],
        }
    }
}

/// When something is done. Members are synced by several threads at a time, so that their syncs share a number and are told apart by
/// the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    pub number: u64,
    pub file: usize,
    pub kind: Kind,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done.
    Eio,
    /// No room: a part is done.
    NoRoom,
    /// A part is done.
    Short,
    /// A write seems to be done, and never reaches the medium: only syncing or closing tells, as on NFS.
    Late,
}

/// All of the disk.
#[derive(Clone)]
pub struct State {
    seed: u64,
    pub files: Vec<Platter>,
    /// Files before this number are members.
    members: usize,
    pub names: BTreeMap<OsString, usize>,
    durable_names: BTreeMap<OsString, usize>,
    pub habits: Habits,
    /// Steps so far.
    number: u64,
    /// Reads so far.
    reads: u64,
    trace: Vec<Step>,
    /// The step at which the power goes.
    last: Option<u64>,
    pub dead: bool,
    fault: Option<(Step, Fault)>,
    /// The read that fails.
    read_fault: Option<u64>,
    /// The file of which something was lost that nobody was told of yet.
    pub late: Option<usize>,
    /// Whether an error was injected.
    failed: Option<(usize, Kind)>,
    read_failed: Option<usize>,
    /// Bytes that files other than members may take.
    room: u64,
}

/// How this disk and its system behave.
#[derive(Clone, Copy, Debug, Default)]
pub struct Habits {
    /// Reading past the page cache works.
    pub direct: bool,
    /// The page cache is dropped when it is asked for.
    pub forgets: bool,
    /// Files have times.
    pub stamps: bool,
}

/// What a disk would be after the steps so far, the last of which is under way.
#[derive(Clone)]
pub struct Snapshot(State);

/// A disk; clones are the same one.
#[derive(Clone)]
pub struct Disk {
    state: Arc<Mutex<State>>,
    snapshots: Arc<Mutex<Option<Vec<Snapshot>>>>,
    witness: Arc<Mutex<Option<Witness>>>,
}

pub fn error(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

pub const EIO: i32 = 5;
pub const ENOSPC: i32 = 28;

impl Disk {
    pub fn new(seed: u64, members: Vec<Platter>, habits: Habits) -> Self {
        Self::of(State {
            seed,
            members: members.len(),
            files: members,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            habits,
            number: 0,
            reads: 0,
            trace: Vec::new(),
            last: None,
            dead: false,
            fault: None,
            read_fault: None,
            late: None,
            failed: None,
            read_failed: None,
            room: u64::MAX,
        })
    }

    fn of(state: State) -> Self {
        Self { state: Arc::new(Mutex::new(state)), snapshots: Arc::default(), witness: Arc::default() }
    }

    /// The disk after the power came back, as chance has it.
    pub fn after(snapshot: &Snapshot, random: &mut Random) -> Self {
        let disk = Self::of(snapshot.0.clone());
        disk.crash(random);
        disk
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another disk, just like this one.
    pub fn twin(&self) -> Self {
        Self::of(self.state().clone())
    }

    /// Cuts the power, and switches it on again.
    pub fn crash(&self, random: &mut Random) {
        let mut state = self.state();
        for file in &mut state.files {
            file.crash(random);
        }
        let kept = random.chance(50);
        if kept {
            state.durable_names = state.names.clone();
        } else {
            state.names = state.durable_names.clone();
        }
        state.calm();
        state.seed = random.next();
    }

    /// From now on nothing goes wrong, and steps count from 0.
    pub fn calm(&self) {
        self.state().calm();
    }

    /// At that step, counted from now on, the power goes.
    pub fn die_at(&self, number: u64) {
        let mut state = self.state();
        state.calm();
        state.last = Some(number);
    }

    /// That step, counted from now on, goes wrong.
    pub fn fail_at(&self, step: Step, fault: Fault) {
        let mut state = self.state();
        state.calm();
        state.fault = Some((step, fault));
    }

    /// That read, counted from now on, goes wrong.
    pub fn fail_read(&self, number: u64) {
        let mut state = self.state();
        state.calm();
        state.read_fault = Some(number);
    }

    /// So many bytes are left for the journal.
    pub fn limit(&self, room: u64) {
        self.state().room = room;
    }

    /// What failed on purpose: a file's number (or that of the file to come), and what was done.
    pub fn failed(&self) -> Option<(usize, Kind)> {
        self.state().failed
    }

    pub fn read_failed(&self) -> Option<usize> {
        self.state().read_failed
    }

    pub fn trace(&self) -> Vec<Step> {
        let mut trace = self.state().trace.clone();
        trace.sort_unstable();
        trace.dedup();
        trace
    }

    /// Steps and reads so far.
    pub fn counted(&self) -> (u64, u64) {
        let state = self.state();
        (state.number, state.reads)
    }

    /// Keeps what the disk looks like at each step, until they are taken.
    pub fn keep_snapshots(&self) {
        *self.snapshots.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
    }

    /// One for each step, and one for the end.
    pub fn take_snapshots(&self) -> Vec<Snapshot> {
        let mut all = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
        all.push(Snapshot(self.state().clone()));
        all
    }

    /// Has each write to a member witnessed, or no more.
    pub fn set_witness(&self, witness: Option<Witness>) {
        *self.witness.lock().unwrap_or_else(PoisonError::into_inner) = witness;
    }

    pub fn file<T>(&self, file: usize, look: impl FnOnce(&Platter) -> T) -> T {
        look(&self.state().files[file])
    }

    pub fn exists(&self, name: &str) -> bool {
        self.state().names.contains_key(OsStr::new(name))
    }

    pub fn handle(&self, file: usize) -> Handle {
        Handle::new(self.clone(), file)
    }

    /// What stands under a name.
    pub fn find(&self, name: &OsStr) -> Option<Handle> {
        let file = self.state().names.get(name).copied();
        file.map(|file| self.handle(file))
    }

    pub fn sync_names(&self, file: usize) -> io::Result<()> {
        let sync = |state: &mut State| {
            state.durable_names = state.names.clone();
            Ok(())
        };
        self.step(file, Kind::SyncFolder, sync, |_, _| error(EIO))
    }

    /// A step that changes `file` by `change`; the fault that is due, if any, is left to `broken`.
    pub fn step(
        &self,
        file: usize,
        kind: Kind,
        change: impl Fn(&mut State) -> io::Result<()>,
        broken: impl FnOnce(&mut State, Fault) -> io::Error,
    ) -> io::Result<()> {
        let mut state = self.state();
        if state.dead {
            return Err(error(EIO));
        }
        let concurrent = kind == Kind::Sync && file < state.members;
        let step = Step { number: state.number + u64::from(!concurrent), file, kind };
        state.number = step.number;
        state.trace.push(step);
        let snapshots = &mut *self.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        if !concurrent && let Some(snapshots) = snapshots {
            let mut under_way = state.clone();
            if kind != Kind::Sync && kind != Kind::SyncFolder {
                let _ = change(&mut under_way); // whatever it says, that is what is there
            }
            snapshots.push(Snapshot(under_way));
        }
        if state.last == Some(step.number) && !concurrent {
            state.dead = true;
            if kind != Kind::Sync && kind != Kind::SyncFolder {
                let _ = change(&mut state); // likewise
            }
            return Err(error(EIO));
        }
        if let Some((_, fault)) = state.fault.filter(|&(at, _)| at == step) {
            state.failed = Some((file, kind));
            if fault == Fault::Late {
                state.late = Some(file);
                return Ok(());
            }
            return Err(broken(&mut state, fault));
        }
        change(&mut state)
    }

    pub fn read(&self, file: usize, offset: u64, bytes: &mut [u8], past_cache: bool) -> io::Result<usize> {
        let mut state = self.state();
        if state.dead {
            return Err(error(EIO));
        }
        state.reads += 1;
        if state.read_fault == Some(state.reads) {
            state.read_failed = Some(file);
            return Err(error(EIO));
        }
        let medium;
        let view = if past_cache && state.habits.direct {
            let length = state.files[file].length();
            medium = state.files[file].medium().with_length(length);
            &medium
        } else {
            state.files[file].cached()
        };
        let end = (offset + bytes.len() as u64).min(view.bytes.len() as u64).max(offset);
        if view.is_bad(offset, end) {
            return Err(error(EIO));
        }
        let length = (end - offset) as usize;
        if length > 0 {
            bytes[..length].copy_from_slice(&view.bytes[offset as usize..end as usize]);
        }
        Ok(length)
    }

    pub fn write(&self, file: usize, kind: Kind, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.witness(file, offset, offset + bytes.len() as u64);
        let put = |state: &mut State, bytes: &[u8]| {
            let room = if file < state.members { u64::MAX } else { state.room };
            let fits = (room.saturating_sub(offset)).min(bytes.len() as u64) as usize;
            state.files[file].write(offset, &bytes[..fits])?;
            if fits < bytes.len() { Err(error(ENOSPC)) } else { Ok(()) }
        };
        let late = Step { number: self.state().number + 1, file, kind };
        if self.state().fault == Some((late, Fault::Late)) {
            self.state().files[file].lose(offset, bytes);
        }
        let broken = |state: &mut State, fault: Fault| {
            let mut random = state.random();
            if fault != Fault::Eio {
                // Whole sectors of the disk.
                let end = offset + random.below(bytes.len() as u64);
                let part = (end - end % SECTOR).saturating_sub(offset) as usize;
                let _ = put(state, &bytes[..part]); // it fails anyway
            }
            error(if fault == Fault::NoRoom { ENOSPC } else { EIO })
        };
        self.step(file, kind, |state| put(state, bytes), broken)
    }

    /// Holds a change of a member against what the journal keeps for certain.
    pub fn witness(&self, file: usize, start: u64, end: u64) {
        let mut witness = self.witness.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(witness) = &mut *witness else { return };
        let state = self.state();
        if file < state.members && !state.dead {
            let journal = state.durable_names.get(OsStr::new(JOURNAL)).map(|&number| (number, &state.files[number]));
            witness.look(journal, file, start, end);
        }
    }
}

impl State {
    fn calm(&mut self) {
        (self.number, self.reads, self.last, self.dead) = (0, 0, None, false);
        (self.fault, self.late, self.read_fault, self.failed, self.read_failed) = (None, None, None, None, None);
        self.trace.clear();
    }

    pub fn random(&self) -> Random {
        Random::of(self.seed, self.number)
    }
}
