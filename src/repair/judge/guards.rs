//! The table of guards.

use crate::electorate::LockForce;

/// A way of writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `-o`: a new image, or a device that becomes one.
    NewImage,
    /// `--in-place`: members are rewritten.
    InPlace,
}

/// What may stand in the way of writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The threshold is below the majority.
    Minority,
    /// The virtual size has no winner.
    Size,
    /// A member that loses is newer than those that outvote it.
    Newer,
    /// A member loses content to zeros.
    Zeros,
    /// Members without content outvote one that has some.
    Empty,
    /// A longer member holds content behind the voted end.
    Cuts,
    /// A member loses so much that it may be stale, or a copy of another disk.
    Stale,
    /// A member says that it is a copy of another disk than those that outvote it.
    Stranger,
    /// What makes a member one leg of an array would become another leg's.
    DeviceMetadata,
    /// Members share storage.
    Shared,
    /// A digest that settled something was made before a member was last modified.
    OldWitness,
    /// Something stands where the output goes.
    Overwrite,
    /// The output is a block device; or, in place, a member is one whose users can't be seen.
    Device,
    /// There seems to be too little room.
    Space,
    /// Something was modified since an earlier report, or since a repair that was cut off.
    Changed,
    /// The file system of a member has no locks.
    NoLocks,
    /// An image's persistent bitmaps would become stale.
    Bitmaps,
    /// An image isn't in a state to be rewritten.
    Image,
}

/// What a guard does to a way of writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stance {
    /// Nothing is written.
    Refuses,
    /// It is told, and written all the same.
    Tells,
    /// It has no say there.
    Passes,
}

/// A guard's place in the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Which one.
    pub guard: Guard,
    /// The word that overrides it; none where only another option does.
    pub word: Option<&'static str>,
    /// What it does to a rewriting in place.
    pub in_place: Stance,
    /// What it does to a new image.
    pub new_image: Stance,
}

const fn row(guard: Guard, word: Option<&'static str>, in_place: Stance, new_image: Stance) -> Row {
    Row { guard, word, in_place, new_image }
}

use Stance::{Passes, Refuses, Tells};

/// Who refuses what, in the order of [`Guard`].
pub const TABLE: [Row; 18] = [
    //                                              in place  new image
    row(Guard::Minority, Some("minority"), /*  */ Refuses, Refuses),
    row(Guard::Size, None, /*                  */ Refuses, Refuses),
    row(Guard::Newer, Some("newer"), /*        */ Refuses, Refuses),
    row(Guard::Zeros, Some("zeros"), /*        */ Refuses, Refuses),
    row(Guard::Empty, Some("empty"), /*        */ Refuses, Refuses),
    row(Guard::Cuts, Some("cuts"), /*          */ Refuses, Refuses),
    row(Guard::Stale, Some("stale"), /*        */ Refuses, Tells),
    row(Guard::Stranger, Some("stranger"), /*  */ Refuses, Tells),
    row(Guard::DeviceMetadata, Some("device-metadata"), Refuses, Tells),
    row(Guard::Shared, Some("shared"), /*      */ Refuses, Refuses),
    row(Guard::OldWitness, Some("old-witness"), Refuses, Refuses),
    row(Guard::Overwrite, Some("overwrite"), /**/ Passes, Refuses),
    row(Guard::Device, Some("device"), /*      */ Refuses, Refuses),
    row(Guard::Space, Some("space"), /*        */ Refuses, Refuses),
    row(Guard::Changed, Some("changed"), /*    */ Refuses, Refuses),
    row(Guard::NoLocks, Some("no-locks"), /*   */ Refuses, Tells),
    row(Guard::Bitmaps, Some("bitmaps"), /*    */ Refuses, Passes),
    row(Guard::Image, None, /*                 */ Refuses, Passes),
];

/// Guards that the user overrides by their words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forced(u32);

impl Forced {
    /// Nothing is overridden.
    pub const NOTHING: Self = Self(0);

    /// These are.
    #[must_use]
    pub fn of(guards: impl IntoIterator<Item = Guard>) -> Self {
        Self(guards.into_iter().fold(0, |mask, guard| mask | 1 << guard as u32))
    }

    /// Whether that one is.
    #[must_use]
    pub fn has(self, guard: Guard) -> bool {
        self.0 >> guard as u32 & 1 == 1
    }
}

/// Judges one way of writing.
#[derive(Clone, Copy, Debug)]
pub struct Judge {
    /// Which one.
    pub way: Way,
    /// What the user overrides.
    pub forced: Forced,
}

impl Judge {
    /// Whether that guard, where it stands, keeps this way of writing from it.
    #[must_use]
    pub fn heeds(self, guard: Guard) -> bool {
        self.stance(guard) == Refuses && !(TABLE[guard as usize].word.is_some() && self.forced.has(guard))
    }

    /// What a guard does to this way of writing, whatever the user says.
    #[must_use]
    pub fn stance(self, guard: Guard) -> Stance {
        let row = &TABLE[guard as usize]; // in their order
        match self.way {
            Way::NewImage => row.new_image,
            Way::InPlace => row.in_place,
        }
    }

    /// What the locks of members that are rewritten may do without.
    #[must_use]
    pub fn lock_force(self) -> LockForce {
        LockForce { no_locks: !self.heeds(Guard::NoLocks), device: !self.heeds(Guard::Device) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Forced, Guard, Judge, TABLE, Way};

    #[test]
    fn every_guard_has_one_row_and_every_word_one_guard() {
        for (number, row) in TABLE.iter().enumerate() {
            assert_eq!(row.guard as usize, number, "the table is in the guards' order, and none is missing");
            let same = TABLE.iter().filter(|other| other.word.is_some() && other.word == row.word).count();
            assert!(same <= 1, "{:?}", row.word);
        }
    }

    #[test]
    fn a_word_opens_its_own_door_alone() {
        let judge = |way, forced| Judge { way, forced: Forced::of(forced) };
        assert!(judge(Way::InPlace, vec![]).heeds(Guard::Stale));
        assert!(judge(Way::InPlace, vec![Guard::Newer, Guard::Minority]).heeds(Guard::Stale));
        assert!(!judge(Way::InPlace, vec![Guard::Stale]).heeds(Guard::Stale));
        assert!(!judge(Way::NewImage, vec![]).heeds(Guard::Stale), "a new image rewrites nobody");
        let everything = TABLE.map(|row| row.guard);
        assert!(Judge { way: Way::NewImage, forced: Forced::of(everything) }.heeds(Guard::Size), "what has no word can't be forced");
    }
}
