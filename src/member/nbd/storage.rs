//! An export as storage that is rewritten.

use std::io;

use super::{export::NbdMember, link::as_io};
use crate::{
    member::Readable,
    sys::{
        libnbd::Connection,
        storage::{PAGE_BYTES, Storage},
    },
};

impl Storage for NbdMember {
    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let held = self.link.export.size.saturating_sub(offset).min(bytes.len() as u64) as usize;
        if held > 0 {
            Readable::read_anew(self, offset, &mut bytes[..held], &mut None).map_err(as_io)?;
        }
        Ok(held)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset.checked_add(bytes.len() as u64).filter(|&end| end <= self.link.export.size);
        let end = end.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOSPC))?;
        let unit = self.link.unit();
        let start = offset - offset % unit;
        if start == offset && end.is_multiple_of(unit) {
            return self.write_units(offset, bytes).map_err(as_io);
        }
        let mut whole = vec![0; (end.next_multiple_of(unit).min(self.link.export.size) - start) as usize];
        self.link.read_units(start, &mut whole).map_err(as_io)?;
        let inside = (offset - start) as usize;
        whole[inside..inside + bytes.len()].copy_from_slice(bytes);
        self.write_units(start, &whole).map_err(as_io)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.link.export.size)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        if length == self.link.export.size { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
    }

    fn sync(&self) -> io::Result<()> {
        if self.link.export.can_flush {
            self.link.over(Connection::flush).map_err(as_io)?;
        }
        let mut line = self.link.line.lock().expect("no panics");
        line.unflushed = false;
        if std::mem::take(&mut line.lost_writes) {
            return Err(io::Error::other("the connection was lost between a write and the flush after it"));
        }
        Ok(())
    }

    fn forget_cached(&self) {}

    fn block_bytes(&self) -> u64 {
        self.link.unit().max(PAGE_BYTES)
    }

    fn resizable(&self) -> bool {
        false
    }
}
