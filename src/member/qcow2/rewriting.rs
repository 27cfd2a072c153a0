//! What rewriting an image in place takes.

use super::{
    allocator::{self, NewClusters},
    header::Compression,
    voter::Qcow2Member,
};
use crate::member::{Allocator, HostFile, Image, Member, Obstacle, Readable, Unsound};

/// Bytes of a file beyond what new clusters and tables take.
const SLACK_BYTES: u64 = 1 << 20;
/// L2 entries of 8 bytes in a sector; of extended ones there are half as many.
const ENTRIES_IN_SECTOR: u64 = 32;
/// Where the header has its autoclear bits (docs/interop/qcow2.rst, "Header").
const AUTOCLEAR: usize = 88;
const SECTOR: usize = 512;

/// The way out where an image is beyond what can be done in place.
const REBUILD: &str = "rebuild it with repair -o; --no-write lets it vote only";

fn obstacle(what: impl Into<String>, hint: &'static str) -> Obstacle {
    Obstacle { what: what.into(), hint, bitmaps: false }
}

impl Image for Qcow2Member {
    fn host(&self) -> &HostFile {
        self.image.file.host()
    }

    fn as_bytes(&self) -> &dyn Readable {
        &self.image.file
    }

    fn cluster_bytes(&self) -> u64 {
        self.header().cluster_bytes()
    }

    fn entries_in_sector(&self) -> u64 {
        ENTRIES_IN_SECTOR
    }

    fn obstacles(&self) -> Vec<Obstacle> {
        let header = self.header();
        let mut found = Vec::new();
        if header.corrupt {
            found.push(obstacle("its corrupt bit is set: QEMU found its metadata damaged", REBUILD));
        }
        if header.dirty {
            let hint = "qemu-img check -r all on it first; --no-write lets it vote only";
            found.push(obstacle("its dirty bit is set: it was not closed cleanly", hint));
        }
        if header.external_data {
            found.push(obstacle("its data lies in another file, which isn't journalled", REBUILD));
        }
        if header.bitmaps > 0 {
            let what = format!("it has persistent bitmaps ({}), which would become stale", header.bitmaps);
            let hint = "--force bitmaps gives them up; --no-write lets it vote only";
            found.push(Obstacle { bitmaps: true, ..obstacle(what, hint) });
        }
        found.extend(self.image_errors().0.first().map(|error| {
            if error.table == "backing" {
                let hint = "bring that back, or rebuild the image with repair -o; --no-write lets it vote only";
                obstacle(format!("what lies under it can't be read: {}", error.what), hint)
            } else {
                obstacle(format!("its metadata is damaged: {}", error.what), REBUILD)
            }
        }));
        found
    }

    fn owned(&self, offset: u64) -> Result<(Option<u64>, u64), Unsound> {
        self.owned_at(offset)
    }

    fn room_for(&self, clusters: u64, stopped: &dyn Fn() -> bool) -> Result<u64, Unsound> {
        let free = match self.verify_books(clusters, stopped) {
            Err(unsound) if !stopped() => return Err(unsound),
            books => books.unwrap_or(0),
        };
        if clusters > 0 {
            let unable = match (self.header().extended_l2, self.header().compression) {
                (true, _) => Some("extended L2 entries"),
                (_, Compression::Zstd) => Some("zstd compression"),
                _ => None,
            };
            if let Some(unable) = unable {
                let what = format!("{clusters} clusters need a new place in it, and images with {unable} can't be given any here");
                return Err(Unsound::Unable(what));
            }
            self.allocator().map_err(Unsound::Unable)?;
        }
        Ok(clusters.saturating_sub(free).saturating_mul(self.cluster_bytes()))
    }

    fn growth_max(&self, clusters: u64) -> u64 {
        if clusters == 0 {
            return 0;
        }
        // Each may take an L2 table of its own, the counts of all take blocks, and the table of those may move to a larger place.
        let all = clusters.saturating_mul(3).saturating_add(2 * u64::from(self.header().refcount_table_clusters) + 64);
        all.saturating_mul(self.cluster_bytes()).saturating_add(SLACK_BYTES)
    }

    fn allocator(&self) -> Result<Box<dyn Allocator + '_>, String> {
        NewClusters::new(self.image.file.host().file(), self.cluster_bytes())
            .map(|clusters| Box::new(clusters) as Box<dyn Allocator>)
            .map_err(|error| format!("{}: {error}", allocator::UNWRITABLE))
    }

    /// The header without the bits that must be cleared by who writes and doesn't know their features.
    fn prelude(&self) -> Option<(u64, Vec<u8>)> {
        if self.header().autoclear == 0 {
            return None;
        }
        let mut bytes = vec![0; SECTOR];
        self.image.file.read(0, &mut bytes, &mut None).ok()?;
        bytes[AUTOCLEAR..AUTOCLEAR + 8].fill(0);
        Some((0, bytes))
    }

    fn forget(&self, length: u64) {
        self.image.tables.forget(length);
    }

    fn resized_by(&self, size: u64) -> Option<&'static str> {
        size.is_multiple_of(SECTOR as u64).then_some("qemu-img resize")
    }
}
