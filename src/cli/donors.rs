//! Sources that never vote: opened, and kept from being anything else.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result, bail, ensure};

use super::{
    args::{MemberArgs, VoteArgs},
    say::warn,
};
use crate::{
    digest::Source,
    electorate::open_single,
    member::{Member, MemberName},
    scan::{Donors, Question},
    vote::DONORS_MAX,
};

impl VoteArgs {
    /// Opens the donors. None of them votes, and nothing is to be written to them: `outputs` are what is going to be written.
    pub(super) fn donors<'p>(
        &self,
        args: &MemberArgs,
        members: &[&dyn Member],
        question: &Question,
        outputs: impl IntoIterator<Item = Option<&'p Path>>,
    ) -> Result<Donors> {
        if self.donor.is_empty() {
            return Ok(Donors::default());
        }
        let proving = question.hearing.iter().flat_map(|hearing| &hearing.witnesses).any(|it| it.digest.geometry().hash.proves());
        ensure!(
            proving,
            "--donor: its bytes are taken only where a digest proves them, and none is named\nhint: name a digest (of BLAKE3) beside the members, or let it vote as one of them"
        );
        ensure!(question.trust.is_none(), "--donor: with --trust nothing is voted on\nhint: leave one of the two out");
        ensure!(self.donor.len() <= DONORS_MAX, "{} donors are too many\nhint: name at most {DONORS_MAX}", self.donor.len());
        let mut donors: Vec<Arc<dyn Member>> = Vec::new();
        for name in &self.donor {
            let shown = MemberName::new(name);
            let single = open_single(&args.roll(), name).with_context(|| format!("--donor {shown}"))?;
            single.warnings.iter().for_each(|warning| warn(warning));
            if let Some(failed) = single.member.failure() {
                bail!("--donor {shown}: {failed}\nhint: leave it out, or say what it is (raw:PATH, qcow2:PATH)");
            }
            let identity = Source::identity(&*single.member);
            if let Some(member) = members.iter().find(|member| Source::identity(**member) == identity) {
                bail!("--donor {shown}: is the member {} and votes already\nhint: leave it out, or name another source", member.name());
            }
            donors.push(Arc::from(single.member));
        }
        for path in outputs.into_iter().flatten().filter(|path| path.exists()) {
            for donor in &donors {
                for file in donor.files() {
                    let shown = MemberName::from(path);
                    ensure!(!file.is_at(path)?, "{shown}: is the donor {}, or lies under it\nhint: choose another name", donor.name());
                }
            }
        }
        Ok(Donors(donors))
    }
}
