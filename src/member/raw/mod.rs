//! Raw images: regular files and block devices.

mod direct;
mod facts;
mod file;

#[cfg(test)]
pub(super) use direct::Direct;
pub use file::RawMember;
