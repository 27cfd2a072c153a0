//! A member that isn't at hand: what a report tells of it stands in its place, without any bytes.

use std::{ffi::OsStr, io, os::unix::ffi::OsStrExt as _, time::SystemTime};

use super::shard::{MemberFacts, time_of};
use crate::{
    member::{Extent, ImageError, Member, MemberName, ReadError, Readable, Rewritable, Structure},
    report::MemberReport,
    sys::{buffer::Buffer, storage::Origin},
    vote::ByteRange,
};

/// What is known of a member, and none of its bytes.
pub struct RecordedMember {
    name: MemberName,
    report: MemberReport,
    facts: MemberFacts,
}

impl RecordedMember {
    /// The one that a report and its facts tell of.
    #[must_use]
    pub fn new(report: MemberReport, facts: MemberFacts) -> Self {
        Self { name: MemberName::new(OsStr::from_bytes(&facts.name)), report, facts }
    }

    /// What is wrong with its books.
    #[must_use]
    pub fn recorded_structure(&self) -> Structure {
        Structure {
            errors: self.report.structure_errors.clone(),
            notes: self.report.structure_notes.clone(),
            mended_by: self.report.mended_by.clone(),
        }
    }
}

impl Readable for RecordedMember {
    fn size(&self) -> u64 {
        self.facts.size
    }

    /// Of what lies behind the image's end it is known where it begins to hold anything.
    fn extent(&self, offset: u64) -> Result<Extent, ReadError> {
        Ok(match self.facts.behind {
            Some(behind) if offset < behind => Extent::Zero(behind),
            Some(_) => Extent::Data(self.facts.size),
            None => Extent::Zero(self.facts.size),
        })
    }

    fn read(&self, _offset: u64, _bytes: &mut [u8], _bounce: &mut Option<Buffer>) -> Result<(), ReadError> {
        Err(ReadError::Medium(io::ErrorKind::Unsupported.into()))
    }

    fn origin(&self) -> Origin {
        match self.report.read_from {
            "medium" => Origin::Medium,
            "server" => Origin::Server,
            _ => Origin::Cache,
        }
    }
}

impl Rewritable for RecordedMember {}

impl Member for RecordedMember {
    fn name(&self) -> &MemberName {
        &self.name
    }

    fn format(&self) -> &'static str {
        self.report.format
    }

    fn modified(&self) -> Option<SystemTime> {
        self.facts.modified.and_then(time_of)
    }

    fn snapshot(&self) -> Option<&str> {
        self.report.snapshot.as_deref()
    }

    fn is_encoded(&self) -> bool {
        self.facts.is_encoded
    }

    fn failure(&self) -> Option<&str> {
        self.facts.failure.as_deref()
    }

    fn image_errors(&self) -> (Vec<ImageError>, u64) {
        let errors = self.report.image_errors.iter().filter_map(|error| {
            Some(ImageError {
                table: error.table,
                file: error.file.as_deref().map(|file| MemberName::new(OsStr::new(file))),
                entry_offset: error.entry_offset,
                range: ByteRange::at(error.span.offset, error.span.length)?,
                what: error.error.clone(),
            })
        });
        (errors.collect(), self.report.image_errors_omitted)
    }

    fn has_foreign_size(&self) -> bool {
        self.facts.has_foreign_size
    }

    fn changed(&self) -> Option<String> {
        self.facts.changed.clone()
    }
}
