//! Who a member is.

use std::time::SystemTime;

use super::{Facts, HostFile, MemberName, Readable, Rewritable};
use crate::vote::ByteRange;

/// Something wrong with the structure of a member's image, for a part of the guest's disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageError {
    /// Which table or file: `l1`, `l2`, `data`, `backing`, `data-file`.
    pub table: &'static str,
    /// The file, where it isn't the member's own.
    pub file: Option<MemberName>,
    /// Where in the file the bad entry stands, in bytes.
    pub entry_offset: Option<u64>,
    /// What is lost of the guest's disk.
    pub range: ByteRange,
    /// What is wrong.
    pub what: String,
}

/// What a look through an image's books says, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Structure {
    /// What makes it unusable, or dangerous to write to.
    pub errors: Vec<String>,
    /// What wastes room.
    pub notes: Vec<String>,
    /// The program that mends such things, and its arguments before the image's name.
    pub mended_by: String,
}

/// One copy that votes: who it is, how it is read, how it is rewritten. Nobody asks which kind it is: what a caller needs is a question
/// that every kind can answer.
pub trait Member: Readable + Rewritable {
    /// As the user named it.
    fn name(&self) -> &MemberName;

    /// Its format as reports name it: `raw`, `qcow2`, `nbd`.
    fn format(&self) -> &'static str;

    /// When it was last modified, as of when it was opened.
    fn modified(&self) -> Option<SystemTime>;

    /// What tells the clock that [`modified`](Self::modified) was read from: of one file system all are; none where there is none.
    fn clock(&self) -> Option<u64> {
        use std::os::unix::fs::MetadataExt as _;
        self.files().first().filter(|file| !file.is_device()).map(|file| file.metadata().dev())
    }

    /// The internal snapshot that is read, control characters escaped; none for its active state.
    fn snapshot(&self) -> Option<&str> {
        None
    }

    /// What belongs to it and has no vote, in words: it is neither compared nor repaired.
    fn unvoted(&self) -> Option<String> {
        None
    }

    /// Its address as given, where it isn't a file or device of this machine.
    fn address(&self) -> Option<&str> {
        None
    }

    /// The files that it is read from, its own first; none where it comes from elsewhere.
    fn files(&self) -> Vec<&HostFile> {
        Vec::new()
    }

    /// Whether its file holds the disk otherwise than byte for byte.
    fn is_encoded(&self) -> bool {
        false
    }

    /// Why it can't be read as what it is, where that is known from the start.
    fn failure(&self) -> Option<&str> {
        None
    }

    /// What was found to be wrong with its structure so far, by offset, and how many errors more.
    fn image_errors(&self) -> (Vec<ImageError>, u64) {
        (Vec::new(), 0)
    }

    /// Shows zeros behind its end, up to `size` bytes, as QEMU does of a raw file whose size isn't a multiple of 512 (`bdrv_getlength`);
    /// what isn't a raw file has no such sizes.
    fn pad(&mut self, _size: u64) {}

    /// Bytes of such zeros.
    fn padding(&self) -> u64 {
        0
    }

    /// Whether its size is given by what it lies on rather than by what was put there: a device's, an export's.
    fn has_foreign_size(&self) -> bool {
        !self.is_encoded() && self.files().first().is_none_or(|file| file.is_device())
    }

    /// What is wrong with its structure though the guest's disk can be read, so that whoever runs a guest would not get far; and what is
    /// only untidy: goes through all of its books.
    fn structure(&self, _stopped: &dyn Fn() -> bool) -> Structure {
        Structure::default()
    }

    /// What only its kind has to tell, a section each.
    fn facts(&self) -> Vec<Facts> {
        Vec::new()
    }

    /// Why nothing can be said of it any more, in words: what it is read from can't be looked at, or its locks were lost.
    fn gone(&self) -> Option<String> {
        self.files().into_iter().find_map(HostFile::gone)
    }

    /// What became different since it was opened, in words; none where all is as it was.
    fn changed(&self) -> Option<String>;
}
