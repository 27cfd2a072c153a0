//! Whether qcow2 members can be rewritten, and what that takes: looked at while the vote goes on, and before anything is written.

use std::{collections::HashMap, os::unix::fs::MetadataExt};

use super::{Forced, RepairError, clusters::Clusters, plan::Duties};
use crate::{
    member::{
        Member,
        qcow2::{Qcow2Member, Unsound},
    },
    report::human_size,
    sys::storage::free_bytes,
    vote::{Run, members_of},
};

/// Room in a file beyond what new clusters and tables take, in bytes.
const SLACK_BYTES: u64 = 1 << 20;

/// L2 entries of 8 bytes in a sector; of extended ones there are half as many.
const ENTRIES_IN_SECTOR: u64 = 32;

/// What rewriting one member takes.
#[derive(Default)]
struct Needs {
    /// Clusters of the guest's disk that need a new place.
    new_clusters: u64,
    /// The last of them, so that none counts twice.
    last: Option<u64>,
    /// Sectors of L2 tables that tell of them.
    table_sectors: u64,
    /// What stands in the way.
    unsound: Option<Unsound>,
}

/// Looks at every divergence once, in ascending order.
pub(super) struct Survey<'a> {
    images: Vec<Option<&'a Qcow2Member>>,
    /// The members that are qcow2 images and may be written to, as a mask.
    mask: u64,
    needs: Vec<Needs>,
}

impl<'a> Survey<'a> {
    pub(super) fn new(members: &[&'a dyn Member], written: impl Fn(usize) -> bool) -> Self {
        let images: Vec<_> = members.iter().enumerate().map(|(index, member)| member.qcow2().filter(|_| written(index))).collect();
        let mask = images.iter().enumerate().filter(|(_, image)| image.is_some()).fold(0, |mask, (index, _)| mask | 1 << index);
        Self { needs: images.iter().map(|_| Needs::default()).collect(), images, mask }
    }

    /// Notes what a divergence asks of the images.
    pub(super) fn add(&mut self, run: &Run) {
        for member in members_of(Duties::of(run, self.mask).all() & self.mask) {
            let (Some(image), needs) = (self.images[member], &mut self.needs[member]) else { continue };
            let cluster_bytes = image.header().cluster_bytes();
            let mut at = run.range.start;
            while at < run.range.end.min(image.size()) && needs.unsound.is_none() {
                match image.owned(at) {
                    Ok((Some(_), end)) => at = end,
                    Ok((None, end)) => {
                        let cluster = at / cluster_bytes;
                        if needs.last != Some(cluster) {
                            needs.new_clusters += 1;
                            let sector = |cluster| cluster / ENTRIES_IN_SECTOR;
                            needs.table_sectors += u64::from(needs.last.map(sector) != Some(sector(cluster)));
                            needs.last = Some(cluster);
                        }
                        at = end;
                    }
                    Err(unsound) => needs.unsound = Some(unsound),
                }
            }
        }
    }

    /// How long a member's file may become, in bytes.
    pub(super) fn length_max(&self, member: usize) -> Option<u64> {
        let image = self.images[member]?;
        let (header, new) = (image.header(), self.needs[member].new_clusters);
        // Each may take an L2 table of its own, the counts of all take blocks, and the table of those may move to a larger place.
        let clusters = new.saturating_mul(3).saturating_add(2 * u64::from(header.refcount_table_clusters) + 64);
        let grown = if new == 0 { 0 } else { clusters.saturating_mul(header.cluster_bytes()).saturating_add(SLACK_BYTES) };
        Some(image.file().size().saturating_add(grown))
    }

    /// Bytes of journal beyond those of the plan: hashes of what is new, and tables as they were.
    pub(super) fn record_bytes(&self) -> u64 {
        let of = |(needs, image): (&Needs, Option<&Qcow2Member>)| {
            let cluster_bytes = image.map_or(0, |image| image.header().cluster_bytes());
            // A sector of a table brings along those of the counts, and tables above it.
            let tables = needs.table_sectors.saturating_mul(8192);
            needs.new_clusters.saturating_mul(cluster_bytes / 32 + 128).saturating_add(tables)
        };
        self.needs.iter().zip(self.images.iter().copied()).map(of).fold(0, u64::saturating_add)
    }

    /// Refuses members that must not be rewritten; those of `rewritten` would be.
    ///
    /// # Errors
    /// The first one, with the way out.
    pub(super) fn judge(
        &self,
        rewritten: impl Fn(usize) -> bool,
        journalled: bool,
        forced: Forced,
        stopped: &dyn Fn() -> bool,
    ) -> Result<(), RepairError> {
        // Bytes that are wanted of each file system, by its number, and of each device.
        let mut taken = HashMap::new();
        for (index, image) in self.images.iter().enumerate().filter(|&(index, _)| rewritten(index)) {
            let Some(image) = image else { continue };
            let needs = &self.needs[index];
            let wanted = judge_one(image, needs, forced, stopped)?;
            let (meta, device) = (image.file().metadata(), image.file().is_device());
            let on_it = taken.entry((device, if device { meta.rdev() } else { meta.dev() })).or_insert(0u64);
            *on_it = on_it.saturating_add(wanted);
            if *on_it > room(image).unwrap_or(u64::MAX) && !forced.space {
                return Err(RepairError::Image {
                    member: image.name().clone(),
                    what: format!("new clusters take {} more, and there is no such room where it lies", human_size(*on_it)),
                    hint: "give it more room; --force space tries it all the same, --no-write lets it vote only",
                });
            }
            if needs.new_clusters > 0 && !journalled {
                return Err(RepairError::Image {
                    member: image.name().clone(),
                    what: "it needs new clusters, and cut off in the middle of that it could only be mended by its journal".into(),
                    hint: "leave --no-journal out; --no-write lets it vote only",
                });
            }
        }
        Ok(())
    }
}

/// Refuses it, or tells how many bytes longer its file becomes at least.
fn judge_one(image: &Qcow2Member, needs: &Needs, forced: Forced, stopped: &dyn Fn() -> bool) -> Result<u64, RepairError> {
    let refuse = |what: String, hint: &'static str| Err(RepairError::Image { member: image.name().clone(), what, hint });
    let rebuild = "rebuild it with repair -o; --no-write lets it vote only";
    let header = image.header();
    if header.corrupt {
        return refuse("its corrupt bit is set: QEMU found its metadata damaged".into(), rebuild);
    }
    if header.dirty {
        return refuse(
            "its dirty bit is set: it was not closed cleanly".into(),
            "qemu-img check -r all on it first; --no-write lets it vote only",
        );
    }
    if header.external_data {
        return refuse("its data lies in another file, which isn't journalled".into(), rebuild);
    }
    if header.bitmaps > 0 && !forced.bitmaps {
        return refuse(
            format!("it has persistent bitmaps ({}), which would become stale", header.bitmaps),
            "--force bitmaps gives them up; --no-write lets it vote only",
        );
    }
    if let Some(error) = image.image_errors().0.first() {
        if error.table == "backing" {
            let hint = "bring that back, or rebuild the image with repair -o; --no-write lets it vote only";
            return refuse(format!("what lies under it can't be read: {}", error.what), hint);
        }
        return refuse(format!("its metadata is damaged: {}", error.what), rebuild);
    }
    if let Some(unsound) = &needs.unsound {
        return refuse(unsound.to_string(), rebuild);
    }
    let free = match image.verify_books(needs.new_clusters, stopped) {
        Err(unsound) if !stopped() => return refuse(unsound.to_string(), rebuild),
        books => books.unwrap_or(0),
    };
    if needs.new_clusters > 0 {
        let unable = match (header.extended_l2, header.compression) {
            (true, _) => Some("extended L2 entries"),
            (_, crate::member::qcow2::Compression::Zstd) => Some("zstd compression"),
            _ => None,
        };
        if let Some(unable) = unable {
            return refuse(
                format!("{} clusters need a new place in it, and images with {unable} can't be given any here", needs.new_clusters),
                rebuild,
            );
        }
        if let Err(error) = Clusters::probe(image) {
            return refuse(error, rebuild);
        }
    }
    Ok(needs.new_clusters.saturating_sub(free).saturating_mul(header.cluster_bytes()))
}

/// Bytes by which its file can become longer, where the system tells.
fn room(image: &Qcow2Member) -> Option<u64> {
    if image.file().is_device() { Some(0) } else { free_bytes(image.file().path()) }
}
