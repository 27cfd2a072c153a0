//! What passes between chunks that are hashed and those who want to know.

use crate::{
    digest::{Entry, Geometry},
    vote::ByteRange,
};

/// Takes what a digest in the making has to say, in order; of what is skipped, all members hold zeros there.
pub trait Hashed: Sync {
    /// How the image is cut.
    fn geometry(&self) -> Geometry;

    /// So many chunks from `chunk` on.
    ///
    /// # Errors
    /// What the system says; the scan ends then.
    fn take(&self, chunk: u64, entry: Entry, count: u64) -> std::io::Result<()>;
}

/// A witness's word of a chunk.
pub(super) struct Word {
    /// Where, as far as it is voted on.
    pub(super) range: ByteRange,
    pub(super) witness: usize,
    /// For each sector from the range's start on a member whose version it confirms, or behind those a donor whose bytes it does; none where
    /// it confirms nothing that there is.
    pub(super) versions: Option<Vec<u8>>,
}

/// Whether a digest's chunk can be held against the image's sectors: its last one may end elsewhere.
pub(super) fn hears(size: u64, sector: u32, whole: ByteRange) -> bool {
    whole.end == size || (whole.end < size && whole.end.is_multiple_of(u64::from(sector)))
}
