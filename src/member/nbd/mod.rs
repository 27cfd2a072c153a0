//! Exports of NBD servers: whatever QEMU, nbdkit or a storage server can read, as a guest sees it.

mod export;
mod facts;
mod lines;
mod link;
mod storage;

pub use export::{NbdMember, NbdOpenError};
