//! Raw images: regular files and block devices.

mod ahead;
mod facts;
mod file;

pub use file::RawMember;
