//! How a member is rewritten.

use std::io;

use super::{HostFile, Readable};
use crate::sys::storage::Storage;

/// The half of a member that is written to.
pub trait Rewritable {
    /// The way to rewrite its file (its own one, byte for byte), where it was opened for that.
    fn store(&self) -> Option<&dyn Storage> {
        None
    }

    /// Why it could not be written to, in words, as far as that can be told without opening it for that.
    fn refuses_writes(&self) -> Option<String> {
        None
    }

    /// How its file holds the guest's disk, where that isn't byte for byte and it can be rewritten all the same.
    fn image(&self) -> Option<&dyn Image> {
        None
    }
}

/// An image in whose file the guest's bytes lie somewhere, and that can be rewritten in place.
pub trait Image: Send + Sync {
    /// Its own file: what is written to.
    fn host(&self) -> &HostFile;

    /// The same, read byte for byte: what a journal tells of.
    fn as_bytes(&self) -> &dyn Readable;

    /// The unit in bytes in which the file gives room to the guest's disk.
    fn cluster_bytes(&self) -> u64;

    /// How many clusters' entries stand in one sector of the tables.
    fn entries_in_sector(&self) -> u64;

    /// What stands in the way of rewriting it, whatever is to be rewritten; the first one matters most.
    fn obstacles(&self) -> Vec<Obstacle>;

    /// Where its file holds the guest's bytes from `offset` on (in bytes), where it alone refers to them; none where writing there takes
    /// a new cluster. With it, up to where that holds: the end of a cluster or of a part of one.
    ///
    /// # Errors
    /// Where the tables contradict themselves or can't be read.
    fn owned(&self, offset: u64) -> Result<(Option<u64>, u64), Unsound>;

    /// Goes through all its books before so many new clusters are taken; returns the bytes by which its file becomes longer at least.
    ///
    /// # Errors
    /// Where the books don't agree, and where it can't be given new clusters here.
    fn room_for(&self, clusters: u64, stopped: &dyn Fn() -> bool) -> Result<u64, Unsound>;

    /// Bytes by which its file may become longer at most where so many new clusters are taken.
    fn growth_max(&self, clusters: u64) -> u64;

    /// What gives new clusters; it writes to memory only.
    ///
    /// # Errors
    /// Why there are none to be had, in words.
    fn allocator(&self) -> Result<Box<dyn Allocator + '_>, String>;

    /// A write to its file that has to come before all others: place and bytes.
    fn prelude(&self) -> Option<(u64, Vec<u8>)>;

    /// Its file was written to, and has `length` bytes now: nothing that was read of it counts any more.
    fn forget(&self, length: u64);

    /// The program that changes its size to `size` bytes; none where that takes whole sectors only.
    fn resized_by(&self, size: u64) -> Option<&'static str>;
}

/// Gives clusters of a guest's disk new places in the file of its image.
pub trait Allocator {
    /// Takes the bytes of a whole cluster, or of what the disk holds of it.
    ///
    /// # Errors
    /// What stands against it.
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Whether it holds so much that its writes should be carried out before it takes more.
    fn is_full(&self) -> bool;

    /// What must be written to the file: places and bytes, in an order that no other may precede.
    ///
    /// # Errors
    /// What stands against it.
    fn into_writes(self: Box<Self>) -> io::Result<Vec<(u64, Vec<u8>)>>;
}

/// What stands in the way of rewriting an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// In words.
    pub what: String,
    /// The way out.
    pub hint: &'static str,
    /// Whether it is only that persistent bitmaps would become stale.
    pub bitmaps: bool,
}

/// Why an image's tables can't be relied on, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsound {
    /// They are wrong.
    #[error("its metadata is damaged: {0}")]
    Damaged(String),
    /// There is something that can't be done with them here.
    #[error("{0}")]
    Unable(String),
}

impl From<String> for Unsound {
    fn from(what: String) -> Self {
        Self::Damaged(what)
    }
}

impl From<&str> for Unsound {
    fn from(what: &str) -> Self {
        Self::Damaged(what.to_owned())
    }
}
