//! Digests among the members: told from them, and heard.

use std::{path::PathBuf, sync::Arc, time::SystemTime};

use anyhow::{Result, ensure};

use super::args::MemberArgs;
use crate::{
    electorate,
    member::Member,
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
