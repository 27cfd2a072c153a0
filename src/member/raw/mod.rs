//! Raw images: regular files and block devices.

mod facts;
mod file;

pub use file::RawMember;
