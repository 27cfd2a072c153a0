//! What must hold before anything is read.

use super::{
    guards::{Guard, Judge},
    weigh::minority,
};
use crate::{
    member::Member,
    repair::RepairError,
    scan::{Poll, Question},
    vote::VirtualSize,
};

impl Judge {
    /// Refuses a vote that could elect what most members don't hold, and one whose size has no winner.
    ///
    /// # Errors
    /// A refusal with its override's word, or with the option that decides.
    pub fn admit(self, members: &[&dyn Member], question: &Question, poll: &Poll) -> Result<(), RepairError> {
        self.heed(&minority(members.len(), question, poll).into_iter().collect::<Vec<_>>())?;
        if let (VirtualSize::Undecided { .. }, true) = (&poll.size_vote, self.heeds(Guard::Size)) {
            let sizes = members.iter().map(|member| format!("{} has {} bytes", member.name(), member.size()));
            return Err(RepairError::SizeUndecided { sizes: sizes.collect::<Vec<_>>().join(", ") });
        }
        Ok(())
    }
}
