//! qcow2 images, read as a guest sees them, however damaged: what can't be known is lost for its own range only.
//!
//! Formats and meanings as in QEMU's docs/interop/qcow2.rst; nothing here writes to a file.

mod allocator;
mod chain;
mod damages;
mod encoded;
pub mod entry;
mod facts;
mod header;
mod image;
mod inflate;
mod opening;
mod ownership;
mod reference;
mod rewriting;
mod snapshots;
mod soundness;
mod tables;
mod voter;

pub use chain::read_header;
pub use damages::DAMAGES_LISTED_MAX;
pub use header::{Compression, HEAD_BYTES, Header, HeaderError, MAGIC, header_bytes};
pub use image::{Damage, Link};
pub use inflate::inflate;
pub use opening::{Opening, Qcow2Error, References, unsupported};
pub use snapshots::Snapshot;
pub use tables::Caches;
pub use voter::Qcow2Member;
