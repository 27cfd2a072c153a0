//! Sources that never vote: opened, and kept from being anything else.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result, bail, ensure};

use super::{
    args::{MemberArgs, VoteArgs},
    say::warn,
};
use crate::{
    digest::Source,
    electorate::{file_system_conflict, open_single, sort_out},
    member::{Member, MemberName},
    scan::{Donors, Question},
    sys::{device::Sysfs, storage::place_of},
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
            if let [digest] = &sort_out(std::slice::from_ref(name)).1[..] {
                bail!(
                    "--donor {}: is a digest, and holds no bytes\nhint: name it among the members, and a source that has them here",
                    MemberName::new(digest)
                );
            }
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
        let sources: Vec<&dyn Member> = donors.iter().map(|donor| &**donor).collect();
        for path in outputs.into_iter().flatten() {
            if let Some((folder, _)) = place_of(path)
                && let Some(donor) = file_system_conflict(folder, &sources, &Sysfs::default()).unwrap_or(None)
            {
                bail!("{}: would lie on a file system inside of the donor {donor}\nhint: choose another folder", MemberName::from(path));
            }
            for donor in donors.iter().filter(|_| path.exists()) {
                for file in donor.files() {
                    let shown = MemberName::from(path);
                    ensure!(!file.is_at(path)?, "{shown}: is the donor {}, or lies under it\nhint: choose another name", donor.name());
                }
            }
        }
        Ok(Donors(donors))
    }
}
