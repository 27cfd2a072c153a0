//! Open files of the simulated disk, as the traits of the library want them.

use std::{ffi::OsStr, fs::File, io};

use quorum_img::sys::storage::{Draft, Folder, NotSynced, Origin, Replace, Stamp, Storage};

use crate::{
    disk::{Disk, EIO, ENOSPC, Fault, Kind, State, error},
    platter::Platter,
    random::Random,
};

/// A file that is open.
pub struct Handle {
    disk: Disk,
    file: usize,
}

impl Handle {
    pub fn new(disk: Disk, file: usize) -> Self {
        Self { disk, file }
    }

    /// The file's number on the disk.
    pub fn number(&self) -> usize {
        self.file
    }
}

impl Storage for Handle {
    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        self.disk.read(self.file, offset, bytes, false)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.write(self.file, Kind::Write, offset, bytes)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.state().files[self.file].length())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        let now = self.length()?;
        self.disk.witness(self.file, length.min(now), now);
        let change = |state: &mut State| {
            state.files[self.file].set_length(length);
            Ok(())
        };
        let broken = |_: &mut State, fault| error(if fault == Fault::NoRoom { ENOSPC } else { EIO });
        self.disk.step(self.file, Kind::SetLength, change, broken)
    }

    fn sync(&self) -> io::Result<()> {
        let change = |state: &mut State| {
            state.files[self.file].sync();
            // What was lost before is told now, and never again.
            if state.late.take_if(|file| *file == self.file).is_some() { Err(error(ENOSPC)) } else { Ok(()) }
        };
        let broken = |state: &mut State, _| {
            let mut random = Random::of(state.random().next(), self.file as u64);
            state.files[self.file].fail_sync(&mut random);
            error(EIO)
        };
        self.disk.step(self.file, Kind::Sync, change, broken)
    }

    fn forget_cached(&self) {
        let mut state = self.disk.state();
        if state.habits.forgets && !state.dead {
            state.files[self.file].forget_cached();
        }
    }

    fn read_medium(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        self.disk.read(self.file, offset, bytes, true)
    }

    fn origin(&self) -> Origin {
        if self.disk.state().habits.direct { Origin::Medium } else { Origin::Cache }
    }

    fn overwrite(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.write(self.file, Kind::Overwrite, offset, bytes)
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        let state = self.disk.state();
        let view = state.files[self.file].cached();
        Ok(view.next_data(offset))
    }

    fn stamp(&self) -> io::Result<Option<Stamp>> {
        let state = self.disk.state();
        let file = &state.files[self.file];
        let time = (file.modified(), 0);
        Ok(state.habits.stamps.then_some(Stamp { length: file.length(), modified: time, changed: time }))
    }
}

impl Folder for Disk {
    fn create(&self) -> io::Result<Box<dyn Draft>> {
        let file = self.state().files.len();
        let change = |state: &mut State| {
            state.files.push(Platter::default());
            Ok(())
        };
        self.step(file, Kind::Create, change, |_, fault| error(if fault == Fault::NoRoom { ENOSPC } else { EIO }))?;
        Ok(Box::new(Unnamed(self.handle(file))))
    }

    fn free_bytes(&self) -> Option<u64> {
        None // as some network file systems
    }

    fn open(&self, name: &OsStr) -> io::Result<Option<Box<dyn Storage>>> {
        let Some(found) = self.find(name) else { return Ok(None) };
        self.sync_names(found.file)?; // whoever made it may have been killed before this
        Ok(Some(Box::new(found)))
    }
}

/// A file that has no name yet.
struct Unnamed(Handle);

impl Draft for Unnamed {
    fn storage(&self) -> &dyn Storage {
        &self.0
    }

    /// What reads show now, in a file of this machine.
    fn file(&self) -> io::Result<File> {
        let mut bytes = vec![0; self.0.length()? as usize];
        let held = self.0.read_medium(0, &mut bytes)?;
        let file = tempfile::tempfile()?;
        Storage::write(&file, 0, &bytes[..held])?;
        Ok(file)
    }

    fn can_clone_from(&self, _source: &File) -> bool {
        false
    }

    fn clone_from(&self, _source: &File) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn resemble(&self, _owner: Option<(u32, u32)>, _mode: u32) -> io::Result<()> {
        Ok(())
    }

    fn nameless(self: Box<Self>) -> io::Result<Box<dyn Storage>> {
        Ok(Box::new(self.0))
    }

    fn publish(self: Box<Self>, name: &OsStr, replace: Replace) -> io::Result<Box<dyn Storage>> {
        let Handle { disk, file } = &self.0;
        if replace == Replace::Never && disk.state().names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let link = |state: &mut State| {
            state.names.insert(name.to_owned(), *file);
            Ok(())
        };
        disk.step(*file, Kind::Link, link, |_, _| error(EIO))?;
        disk.sync_names(*file).map_err(NotSynced::because)?;
        Ok(Box::new(self.0))
    }
}
