//! What rewriting images takes: looked at while the vote goes on.

use super::plan::Duties;
use crate::{
    member::{Image, Member, MemberName, Unsound},
    repair::judge::ImageNeeds,
    vote::{Run, mask_of, members_of},
};

/// What rewriting one member takes.
#[derive(Default)]
struct Needs {
    /// Clusters of the guest's disk that need a new place.
    new_clusters: u64,
    /// The last of them, so that none counts twice.
    last: Option<u64>,
    /// Sectors of tables that tell of them.
    table_sectors: u64,
    /// What stands in the way.
    unsound: Option<Unsound>,
}

/// Looks at every divergence once, in ascending order.
pub(super) struct Survey<'a> {
    images: Vec<Option<Surveyed<'a>>>,
    /// The members that are images and may be written to, as a mask.
    mask: u64,
}

/// One of them.
struct Surveyed<'a> {
    name: &'a MemberName,
    image: &'a dyn Image,
    /// Bytes that a guest sees.
    size: u64,
    needs: Needs,
}

impl<'a> Survey<'a> {
    pub(super) fn new(members: &[&'a dyn Member], written: impl Fn(usize) -> bool) -> Self {
        let surveyed = |(index, member): (usize, &&'a dyn Member)| {
            let image = member.image().filter(|_| written(index))?;
            Some(Surveyed { name: member.name(), image, size: member.size(), needs: Needs::default() })
        };
        let images: Vec<_> = members.iter().enumerate().map(surveyed).collect();
        let mask = mask_of((0..images.len()).filter(|&index| images[index].is_some()));
        Self { images, mask }
    }

    /// Notes what a divergence asks of the images.
    pub(super) fn add(&mut self, run: &Run) {
        for member in members_of(Duties::of(run, self.mask).all() & self.mask) {
            if let Some(surveyed) = &mut self.images[member] {
                surveyed.add(run);
            }
        }
    }

    /// How long a member's file may become, in bytes.
    pub(super) fn length_max(&self, member: usize) -> Option<u64> {
        let Surveyed { image, needs, .. } = self.images[member].as_ref()?;
        Some(image.host().size().saturating_add(image.growth_max(needs.new_clusters)))
    }

    /// Bytes of journal beyond those of the plan: hashes of what is new, and tables as they were.
    pub(super) fn record_bytes(&self) -> u64 {
        let of = |Surveyed { image, needs, .. }: &Surveyed| {
            // A sector of a table brings along those of the counts, and tables above it.
            let tables = needs.table_sectors.saturating_mul(8192);
            needs.new_clusters.saturating_mul(image.cluster_bytes() / 32 + 128).saturating_add(tables)
        };
        self.images.iter().flatten().map(of).fold(0, u64::saturating_add)
    }

    /// What those take that would be `rewritten`.
    pub(super) fn needs(&self, rewritten: impl Fn(usize) -> bool) -> impl Iterator<Item = ImageNeeds<'_>> {
        let images = self.images.iter().enumerate().filter(move |&(index, _)| rewritten(index));
        images.filter_map(|(_, surveyed)| {
            let Surveyed { name, image, needs, .. } = surveyed.as_ref()?;
            Some(ImageNeeds { name, image: *image, new_clusters: needs.new_clusters, unsound: needs.unsound.as_ref() })
        })
    }
}

impl Surveyed<'_> {
    fn add(&mut self, run: &Run) {
        let (image, needs) = (self.image, &mut self.needs);
        let mut at = run.range.start;
        while at < run.range.end.min(self.size) && needs.unsound.is_none() {
            match image.owned(at) {
                Ok((Some(_), end)) => at = end,
                Ok((None, end)) => {
                    let cluster = at / image.cluster_bytes();
                    if needs.last != Some(cluster) {
                        needs.new_clusters += 1;
                        let sector = |cluster| cluster / image.entries_in_sector();
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
