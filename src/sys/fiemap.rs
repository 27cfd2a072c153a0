//! Physical extents of files, to see which of them two files share (Linux, Documentation/filesystems/fiemap.rst).

use std::{fs::File, io, ops::Range, os::fd::AsRawFd};

/// Extents asked for in one call.
const BATCH: usize = 256;

const SHARED: u32 = 0x2000; // FIEMAP_EXTENT_SHARED
const LAST: u32 = 0x1; // FIEMAP_EXTENT_LAST
const UNKNOWN: u32 = 0x2; // FIEMAP_EXTENT_UNKNOWN: no physical place yet

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Extent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved: [u64; 2],
    flags: u32,
    reserved_more: [u32; 3],
}

#[repr(C)]
struct Request {
    start: u64,
    length: u64,
    flags: u32,
    mapped: u32,
    extent_count: u32,
    reserved: u32,
    extents: [Extent; BATCH],
}

mod ioctls {
    nix::ioctl_readwrite_bad!(fs_ioc_fiemap, 0xc020_660b, super::Request);
}

/// The physical places that `file` shares with some file, ascending by place; at most `limit` of them.
///
/// # Errors
/// Where the file system doesn't say.
pub fn shared(file: &File, limit: usize) -> io::Result<Vec<Range<u64>>> {
    let mut found = Vec::new();
    let mut start = 0;
    'ask: while found.len() < limit {
        let mut request = Request {
            start,
            length: u64::MAX - start,
            flags: 0,
            mapped: 0,
            extent_count: BATCH as u32,
            reserved: 0,
            extents: [Extent::default(); BATCH],
        };
        // SAFETY: the request is laid out as `struct fiemap` followed by `extent_count` extents, all of them writable.
        unsafe { ioctls::fs_ioc_fiemap(file.as_raw_fd(), &raw mut request) }?;
        let mapped = &request.extents[..(request.mapped as usize).min(BATCH)];
        for extent in mapped {
            if extent.flags & SHARED != 0 && extent.flags & UNKNOWN == 0 {
                found.push(extent.physical..extent.physical.saturating_add(extent.length));
            }
            if extent.flags & LAST != 0 {
                break 'ask;
            }
            start = extent.logical.saturating_add(extent.length.max(1));
        }
        if mapped.is_empty() {
            break;
        }
    }
    found.sort_unstable_by_key(|range| range.start);
    Ok(found)
}
