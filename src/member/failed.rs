//! A copy that opened and can't be read as what it is: it is counted, and has no say.

use std::{io, time::SystemTime};

use super::{Extent, Member, MemberName, RawMember, ReadError};
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

impl Member for FailedMember {
    fn name(&self) -> &MemberName {
        self.file.name()
    }

    fn format(&self) -> &'static str {
        self.format
    }

    fn size(&self) -> u64 {
        0
    }

    fn modified(&self) -> Option<SystemTime> {
        self.file.modified()
    }

    fn extent(&self, _offset: u64) -> Result<Extent, ReadError> {
        Err(self.error())
    }

    fn read(&self, _offset: u64, _bytes: &mut [u8], _bounce: &mut Option<Buffer>) -> Result<(), ReadError> {
        Err(self.error())
    }

    fn files(&self) -> Vec<&RawMember> {
        vec![&self.file]
    }

    fn failure(&self) -> Option<&str> {
        Some(&self.why)
    }

    fn changed(&self) -> Option<String> {
        self.file.changed()
    }
}
