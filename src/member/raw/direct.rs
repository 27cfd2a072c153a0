//! Direct reads of a file in flight: a disk serves them in the order of the file at twice the speed of reads that come from many threads.

use std::fs::File;

use crate::{
    member::ahead::{BLOCKS_MAX, Transport},
    sys::{
        buffer::Buffer,
        ring::{Done, Ring},
    },
};

/// A file and its reads.
pub(in crate::member) struct Direct {
    file: File,
    ring: Ring,
}

impl Direct {
    /// None where the kernel lets nobody do so.
    pub(in crate::member) fn of(file: &File) -> Option<Self> {
        Some(Self { file: file.try_clone().ok()?, ring: Ring::new(BLOCKS_MAX as u32).ok()? })
    }
}

impl Transport for Direct {
    fn room(&self) -> usize {
        self.ring.room()
    }

    fn start(&mut self, reads: Vec<(u64, usize, Buffer, u64)>) {
        self.ring.start(&self.file, reads);
    }

    fn wait(&mut self) -> Option<Done> {
        self.ring.wait()
    }
}
