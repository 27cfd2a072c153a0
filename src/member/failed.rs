//! A copy that opened and can't be read as what it is: it is counted, and has no say.

use std::{io, time::SystemTime};

use super::{Extent, HostFile, Member, MemberName, RawMember, ReadError, Readable, Rewritable};
use crate::sys::buffer::Buffer;

/// A member without bytes.
pub struct FailedMember {
    file: RawMember,
    format: &'static str,
    why: String,
}

impl FailedMember {
    /// The file should have been of that format; why it isn't.
    #[must_use]
    pub fn new(file: RawMember, format: &'static str, why: String) -> Self {
        Self { file, format, why }
    }

    fn error(&self) -> ReadError {
        ReadError::Member(io::Error::other(self.why.clone()))
    }
}

impl Readable for FailedMember {
    fn size(&self) -> u64 {
        0
    }

    fn extent(&self, _offset: u64) -> Result<Extent, ReadError> {
        Err(self.error())
    }

    fn read(&self, _offset: u64, _bytes: &mut [u8], _bounce: &mut Option<Buffer>) -> Result<(), ReadError> {
        Err(self.error())
    }
}

impl Rewritable for FailedMember {
    fn refuses_writes(&self) -> Option<String> {
        self.file.refuses_writes()
    }
}

impl Member for FailedMember {
    fn name(&self) -> &MemberName {
        self.file.name()
    }

    fn format(&self) -> &'static str {
        self.format
    }

    fn modified(&self) -> Option<SystemTime> {
        self.file.modified()
    }

    fn files(&self) -> Vec<&HostFile> {
        self.file.files()
    }

    fn is_encoded(&self) -> bool {
        self.format != self.file.format()
    }

    fn failure(&self) -> Option<&str> {
        Some(&self.why)
    }

    fn changed(&self) -> Option<String> {
        self.file.changed()
    }
}
