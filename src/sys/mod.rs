//! The operating system: mapped windows that survive I/O errors, direct reads, holes, devices, and the one seam through which all
//! is written. Nearly all of the program's `unsafe` stands here.

#![allow(unsafe_code)] // the one place for it; each block says why it is sound

pub mod attributes;
pub mod beneath;
pub mod btrfs;
pub mod buffer;
pub mod deflate;
pub mod device;
pub mod direct;
pub mod disk_file;
pub mod fiemap;
mod guard;
pub mod holes;
pub mod leftovers;
pub mod libnbd;
pub mod locks;
pub mod mapping;
pub mod mount;
mod nbd_functions;
pub mod nbd_origin;
pub mod new_file;
pub mod open_files;
pub mod overlay;
pub mod prefetch;
pub mod random;
pub mod ring;
pub mod served;
pub mod storage;
pub mod stream;
pub mod terminal;
pub mod users;
