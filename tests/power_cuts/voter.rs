//! A file of the simulated disk as a member that votes.

use std::time::{Duration, SystemTime};

use quorum_img::{
    member::{Extent, Member, MemberName, ReadError, Readable, Rewritable},
    sys::{
        buffer::Buffer,
        storage::{Stamp, Storage},
    },
};

use crate::{disk::Disk, handle::Handle};

/// One that was opened when the file looked like this.
pub struct Voter {
    disk: Disk,
    handle: Handle,
    file: usize,
    name: MemberName,
    size: u64,
    stamp: Option<Stamp>,
}

impl Voter {
    pub fn open(disk: &Disk, file: usize) -> Self {
        let handle = disk.handle(file);
        let size = disk.file(file, crate::platter::Platter::length);
        let stamp = handle.stamp().expect("a stamp costs nothing");
        Self { disk: disk.clone(), handle, file, name: name_of(file), size, stamp }
    }

    pub fn store(&self) -> &dyn Storage {
        &self.handle
    }
}

/// What the file is called.
pub fn name_of(file: usize) -> MemberName {
    MemberName::from(std::path::Path::new(&format!("m{file}")))
}

impl Readable for Voter {
    fn size(&self) -> u64 {
        self.size
    }

    fn extent(&self, offset: u64) -> Result<Extent, ReadError> {
        let (data, hole) = self.disk.file(self.file, |file| (file.cached().next_data(offset), file.cached().next_hole(offset)));
        Ok(match data {
            Some(data) if data == offset => Extent::Data(hole.min(self.size)),
            Some(data) => Extent::Zero(data.min(self.size)),
            None => Extent::Zero(self.size),
        })
    }

    fn read(&self, offset: u64, bytes: &mut [u8], _: &mut Option<Buffer>) -> Result<(), ReadError> {
        match self.handle.read(offset, bytes) {
            Ok(held) if held == bytes.len() => Ok(()),
            Ok(_) => Err(ReadError::Ended),
            Err(error) => Err(ReadError::of(error)),
        }
    }
}

impl Rewritable for Voter {}

impl Member for Voter {
    fn name(&self) -> &MemberName {
        &self.name
    }

    fn format(&self) -> &'static str {
        "raw"
    }

    fn modified(&self) -> Option<SystemTime> {
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000))
    }

    fn has_foreign_size(&self) -> bool {
        false
    }

    fn changed(&self) -> Option<String> {
        let now = self.handle.stamp().expect("a stamp costs nothing");
        (now != self.stamp).then(|| "its times moved".to_owned())
    }
}
