//! What can vote with bytes, and how it is read and rewritten.
//!
//! A member is three traits: [`Member`] says who it is, [`Readable`] how it is read, [`Rewritable`] how it is written to. A new kind is a
//! file or folder here that implements them, and its place in the one match of `electorate/source.rs`, which opens what a name means.
//! Nobody above asks a member which kind it is.

mod ahead;
pub mod blockdev;
mod facts;
mod failed;
mod host_file;
mod name;
mod nbd;
mod open_error;
pub mod qcow2;
mod raw;
mod reading;
mod rewriting;
mod who;

pub use facts::{Fact, Facts, Record, Words};
pub use failed::FailedMember;
pub use host_file::HostFile;
pub use name::{MemberName, escaped, is_heeded};
pub use nbd::{NbdMember, NbdOpenError};
pub use open_error::{OpenError, STALE_HANDLE};
pub use raw::RawMember;
pub use reading::{Cache, Encoded, EncodedPart, Extent, Form, KnownExtent, ReadError, Readable, ReadsAhead};
pub use rewriting::{Allocator, Image, Obstacle, Rewritable, Unsound};
pub use who::{ImageError, Member, Structure};
