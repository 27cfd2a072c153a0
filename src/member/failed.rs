//! A copy that opened and can't be read as what it is: it is counted, and has no say.

use std::{io, time::SystemTime};

use super::{Extent, HostFile, Member, MemberName, RawMember, ReadError, Readable, Rewritable};
use crate::sys::buffer::Buffer;

/// A member without bytes.
pub struct FailedMember {
    name: MemberName,
    /// What opened, if anything did.
    file: Option<RawMember>,
    format: &'static str,
    why: String,
}

impl FailedMember {
    /// The file should have been of that format; why it isn't.
    #[must_use]
    pub fn new(file: RawMember, format: &'static str, why: String) -> Self {
        Self { name: file.name().clone(), file: Some(file), format, why }
    }

    /// Nothing of that name could be opened; why.
    #[must_use]
    pub fn missing(name: MemberName, format: &'static str, why: String) -> Self {
        Self { name, file: None, format, why }
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
        self.file.as_ref().and_then(Rewritable::refuses_writes)
    }
}

impl Member for FailedMember {
    fn name(&self) -> &MemberName {
        &self.name
    }

    fn format(&self) -> &'static str {
        self.format
    }

    fn modified(&self) -> Option<SystemTime> {
        self.file.as_ref().and_then(Member::modified)
    }

    fn files(&self) -> Vec<&HostFile> {
        self.file.as_ref().map_or_else(Vec::new, Member::files)
    }

    fn is_encoded(&self) -> bool {
        self.file.as_ref().is_some_and(|file| self.format != file.format())
    }

    fn failure(&self) -> Option<&str> {
        Some(&self.why)
    }

    /// Who has failed isn't asked any more.
    fn changed(&self) -> Option<String> {
        None
    }
}
