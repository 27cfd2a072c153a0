//! Digests that vote.

use super::{reader::DigestFile, tree::Geometry};
use crate::vote::members_of;

/// A digest that votes.
#[derive(Debug)]
pub struct Witness {
    /// It.
    pub digest: DigestFile,
    /// Digests of one origin have one number: they are one witness.
    pub group: usize,
    /// The members, as a mask, whose memory it is: to a version that one of them holds it adds nothing.
    pub memory_of: u64,
    /// Members, as a mask, that may hold what was written after it was made: nothing that they would lose by its word is written over.
    pub old_for: u64,
    /// The first of them, in words.
    pub old: Option<String>,
    /// Whether it was made from one of the members.
    pub known: bool,
}

/// All witnesses of a vote.
#[derive(Debug, Default)]
pub struct Hearing {
    /// In the user's order.
    pub witnesses: Vec<Witness>,
    /// What is to be said of them.
    pub warnings: Vec<String>,
}

impl Hearing {
    /// The ways in which they cut the image, each once.
    #[must_use]
    pub fn geometries(&self) -> Vec<Geometry> {
        let mut all = Vec::new();
        for witness in &self.witnesses {
            if !all.contains(&witness.digest.geometry()) {
                all.push(witness.digest.geometry());
            }
        }
        all
    }

    /// What witnesses that may be relied on, and were made from a member, say of the image's size: each origin once, and nobody's memory of a
    /// size that is still the member's own.
    #[must_use]
    pub fn sizes(&self, members: &[Option<u64>]) -> Vec<u64> {
        let mut said: Vec<(usize, u64)> = Vec::new();
        for witness in
            self.witnesses.iter().filter(|witness| witness.known && witness.old.is_none() && witness.digest.geometry().hash.proves())
        {
            let size = witness.digest.geometry().size;
            let own = members_of(witness.memory_of).any(|member| members.get(member).copied().flatten() == Some(size));
            if !own && !said.iter().any(|&(group, _)| group == witness.group) {
                said.push((witness.group, size));
            }
        }
        said.into_iter().map(|(_, size)| size).collect()
    }
}
