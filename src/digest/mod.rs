//! Digests: hashes of an image's chunks, kept in a file. `docs/digest.md` has the format byte by byte.

mod combine;
mod error;
mod format;
mod hearing;
mod mended;
mod merge;
mod page;
mod reader;
mod source;
mod sums;
mod tree;
mod writer;

pub use combine::{Combined, SectorVersions, TRIES_MAX, combine, combine_whole};
pub use error::DigestError;
pub use format::{HEADER_BYTES_MAX, Header, MAGIC, Maker, VERSION};
pub use hearing::{Hearing, Witness};
pub use mended::mended;
pub use merge::{MergeError, merge};
pub use page::{PAGE_BYTES, Page, PageBuilder};
pub use reader::{Cursor, DigestFile, Run};
pub use source::Source;
pub use sums::{Sum, SumKind, SumLine, Summer, parse_sums, sums_of};
pub use tree::{CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, ChunkHasher, Entry, Geometry, HashKind, Root, Value, hex};
pub use writer::{Ending, Writer};
