//! Raw images: regular files and block devices.

mod bad;
mod direct;
mod facts;
mod file;
mod trouble;

#[cfg(test)]
pub(super) use direct::Direct;
pub use file::RawMember;
