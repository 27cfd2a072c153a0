//! Whether images are in a state to be rewritten.

use std::{collections::HashMap, os::unix::fs::MetadataExt};

use super::guards::{Guard, Judge};
use crate::{
    member::{Image, MemberName, Unsound},
    repair::RepairError,
    report::human_size,
    sys::storage::free_bytes,
};

/// The way out where an image is beyond what can be done in place.
const REBUILD: &str = "rebuild it with repair -o; --no-write lets it vote only";

/// The way out where its books aren't right.
fn way(unsound: &Unsound) -> &'static str {
    match unsound {
        Unsound::Damaged(_) => {
            "qemu-img check -r all on it mends what can be mended; else rebuild it with repair -o; --no-write lets it vote only"
        }
        Unsound::Unable(_) => REBUILD,
    }
}

/// What rewriting one image takes.
pub struct ImageNeeds<'a> {
    /// As the user named it.
    pub name: &'a MemberName,
    /// The image.
    pub image: &'a dyn Image,
    /// Clusters of the guest's disk that need a new place.
    pub new_clusters: u64,
    /// What was met in its tables that stands in the way.
    pub unsound: Option<&'a Unsound>,
}

impl Judge {
    /// Refuses images that must not be rewritten, or for which there is too little room. `journalled`: there will be a journal.
    ///
    /// # Errors
    /// The first one, with the way out.
    pub(in crate::repair) fn images<'a>(
        self,
        all: impl Iterator<Item = ImageNeeds<'a>>,
        journalled: bool,
        stopped: &dyn Fn() -> bool,
    ) -> Result<(), RepairError> {
        // Bytes that are wanted of each file system, by its number, and of each device.
        let mut taken = HashMap::new();
        for needs in all {
            let wanted = self.image(&needs, stopped)?;
            let file = needs.image.host();
            let (meta, device) = (file.metadata(), file.is_device());
            let on_it = taken.entry((device, if device { meta.rdev() } else { meta.dev() })).or_insert(0u64);
            *on_it = on_it.saturating_add(wanted);
            if *on_it > room(needs.image).unwrap_or(u64::MAX) && self.heeds(Guard::Space) {
                let what = format!("new clusters take {} more, and there is no such room where it lies", human_size(*on_it));
                return refuse(&needs, what, "give it more room; --force space tries it all the same, --no-write lets it vote only");
            }
            if needs.new_clusters > 0 && !journalled {
                let what = "it needs new clusters, and cut off in the middle of that it could only be mended by its journal".into();
                return refuse(&needs, what, "leave --no-journal out; --no-write lets it vote only");
            }
        }
        Ok(())
    }

    /// Refuses it, or tells how many bytes longer its file becomes at least.
    fn image(self, needs: &ImageNeeds, stopped: &dyn Fn() -> bool) -> Result<u64, RepairError> {
        let stands = |bitmaps: bool| self.heeds(if bitmaps { Guard::Bitmaps } else { Guard::Image });
        if let Some(obstacle) = needs.image.obstacles().into_iter().find(|obstacle| stands(obstacle.bitmaps)) {
            return refuse(needs, obstacle.what, obstacle.hint);
        }
        if let Some(unsound) = needs.unsound {
            return refuse(needs, unsound.to_string(), way(unsound));
        }
        needs.image.room_for(needs.new_clusters, stopped).or_else(|unsound| refuse(needs, unsound.to_string(), way(&unsound)))
    }
}

fn refuse<T>(needs: &ImageNeeds, what: String, hint: &'static str) -> Result<T, RepairError> {
    Err(RepairError::Image { member: needs.name.clone(), what, hint })
}

/// Bytes by which its file can become longer, where the system tells.
fn room(image: &dyn Image) -> Option<u64> {
    if image.host().is_device() { Some(0) } else { free_bytes(image.host().path()) }
}
