//! What a read that fails says: something of its place, or of the member as a whole.

use std::{io, sync::PoisonError};

use super::{
    bad::{BAD_ERRORS_MAX, BAD_PART_BYTES, Bad},
    file::RawMember,
};
use crate::{
    member::ReadError,
    sys::{buffer::Buffer, prefetch, served::ServedFile},
    vote::ByteRange,
};

/// How far from an unreadable place its neighbours are looked for, and how much of them is read, in bytes.
const NEIGHBOUR_BYTES: u64 = 64 << 10;
const PROBE_BYTES: usize = 4096;

impl RawMember {
    /// Sorts a read that came too short. A file that was cut meanwhile says so; one that doesn't is served by something that fails, as
    /// sshfs makes an end of the file of a remote read error, and around that place the page cache shows zeros that nobody wrote.
    pub(super) fn short(&self, end: u64) -> ReadError {
        let shrank = self.host.is_device() || self.host.file().metadata().is_ok_and(|now| now.len() < self.host.size());
        if shrank {
            return ReadError::Ended;
        }
        let size = self.host.size();
        self.fail(format!("a read ended at offset {end:#x}, though its size is {size} bytes: what serves it fails"))
    }

    /// Believes nothing more of it; the first reason counts.
    pub(super) fn fail(&self, why: String) -> ReadError {
        if let Some(server) = self.host.served().server() {
            server.fall_silent(&why);
        }
        let _ = self.failed.set(why);
        self.failure_met().unwrap_or(ReadError::Ended)
    }

    /// Why nothing is believed any more, if nothing is.
    pub(super) fn failure_met(&self) -> Option<ReadError> {
        self.failed.get().map(|why| ReadError::Member(io::Error::other(why.clone())))
    }

    /// Sorts an error. Where the file comes from a server, an I/O error may be of the place (its disk can't read it) or of the server, which
    /// didn't answer in time (a soft mount, nfs(5)) or took the locks away: then other places can't be read either.
    pub(super) fn sorted(&self, direct: Option<&(ServedFile, usize)>, offset: u64, length: u64, error: io::Error) -> ReadError {
        if self.host.network().is_none() || error.raw_os_error() != Some(libc::EIO) {
            return match ReadError::of(error) {
                ReadError::Member(error) if self.host.network().is_some() => self.fail(error.to_string()),
                sorted => sorted,
            };
        }
        {
            let mut bad = self.bad.lock().unwrap_or_else(PoisonError::into_inner);
            if bad.part == offset / BAD_PART_BYTES && (1..BAD_ERRORS_MAX).contains(&bad.errors) {
                bad.errors += 1;
                return ReadError::Medium(error);
            }
        }
        if let Some(why) = self.host.out_of_sight() {
            return self.fail(format!("{why} (reading at offset {offset:#x}: {error})"));
        }
        // By the descriptor that failed, and before its locks are taken again: a server of NFS version 4 that took them away lets nothing be
        // read by it.
        if !self.reads_elsewhere(direct, ByteRange::new(offset, offset + length)) {
            let why = self.host.lost_locks().unwrap_or_else(|| {
                let cause =
                    if self.host.served().has_locks_to_lose() { "its locks were lost, or its disk fails" } else { "its disk fails" };
                format!("no place of it can be read, though its server says that it is there: {cause}")
            });
            return self.fail(format!("{why} ({error}, first at offset {offset:#x})"));
        }
        if let Some(why) = self.host.lost_locks() {
            return self.fail(format!("{why} (reading at offset {offset:#x}: {error})"));
        }
        *self.bad.lock().unwrap_or_else(PoisonError::into_inner) = Bad { part: offset / BAD_PART_BYTES, errors: 1 };
        ReadError::Medium(error)
    }

    /// Whether any place outside of `range` can be read, from the server: its neighbours, the ends, and places far away. True where there is
    /// no other place.
    fn reads_elsewhere(&self, direct: Option<&(ServedFile, usize)>, range: ByteRange) -> bool {
        let size = self.host.size();
        let far = (range.start + size / 2) % size.max(1);
        let places = [
            range.start.saturating_sub(NEIGHBOUR_BYTES),
            range.end.saturating_add(NEIGHBOUR_BYTES),
            far,
            0,
            size / 3,
            size.saturating_sub(1),
        ];
        let block = PROBE_BYTES as u64;
        let mut others = places.map(|place| ByteRange::new(place - place % block, place - place % block + block)).to_vec();
        others.retain(|other| other.start < size && other.and(range).is_none());
        others.dedup();
        let mut bytes = Buffer::new(PROBE_BYTES);
        let mut read = |other: &ByteRange| {
            if direct.is_none() {
                prefetch::forget(self.host.file(), other.start..other.end); // what this machine remembers says nothing of the server
            }
            self.pread(direct, other.start, &mut bytes[..PROBE_BYTES], &mut None).is_ok_and(|count| count > 0)
        };
        others.is_empty() || others.iter().any(&mut read)
    }
}
