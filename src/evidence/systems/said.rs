//! The answer of a file system, or the like.

use super::super::{age::Age, identity::Id};

/// What one of them says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::evidence) struct Said {
    /// Who it is.
    pub(in crate::evidence) ids: Vec<Id>,
    /// How old it is, where it tells.
    pub(in crate::evidence) age: Option<Age>,
}

impl Said {
    /// A RAID member's superblock lies beside what the array holds, and both are known then.
    pub(in crate::evidence) fn and(mut self, other: Option<Self>) -> Self {
        if let Some(other) = other {
            self.ids.extend(other.ids);
            self.age = self.age.or(other.age);
        }
        self
    }
}
