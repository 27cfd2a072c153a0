//! Digests among the members: told from them, and heard.

use std::{path::PathBuf, sync::Arc, time::SystemTime};

use anyhow::{Result, bail, ensure};

use super::args::MemberArgs;
use crate::{
    electorate,
    member::{Member, MemberName},
    repair::modified,
    report::ReadPattern,
    scan::{Question, QuestionError},
};

impl MemberArgs {
    /// Tells digests from members.
    pub(super) fn sort_out(&mut self) {
        let (members, digests) = electorate::sort_out(&self.members);
        self.members = members;
        self.witnesses.extend(digests);
    }

    /// Refuses digests alone, where bytes are wanted.
    pub(super) fn refuse_digests_alone(&self) -> Result<()> {
        if let (true, Some(digest)) = (self.members.is_empty(), self.witnesses.first()) {
            bail!(
                "{}: digests alone hold no bytes\nhint: name a copy beside them; quorum-img check holds digests against each other",
                MemberName::new(digest)
            );
        }
        Ok(())
    }

    /// The question with the digests among them heard; `journals` explain times, too.
    pub(super) fn hearing(&self, members: &[&dyn Member], question: Question, journals: &[PathBuf]) -> Result<Question> {
        if self.witnesses.is_empty() {
            return Ok(question);
        }
        ensure!(question.read_pattern == ReadPattern::Quorum, QuestionError::Fifo("digests"));
        let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed());
        let hearing = electorate::open_witnesses(&self.witnesses, members, &modified(members, journals), clock)?;
        Ok(Question { hearing: Some(Arc::new(hearing)), members_min: 1, ..question })
    }
}
