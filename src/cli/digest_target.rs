//! Where a digest goes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    new_file::{draft_in, followed, name_it, settle},
    places::{refuse_member_at, refuse_mistaken_name},
};
use crate::{
    electorate::{begins_as_digest, file_system_conflict},
    member::{Member, MemberName},
    sys::{
        device::Sysfs,
        storage::{Draft, Replace, place_of},
    },
};

/// Where a digest goes.
pub(super) struct Target {
    path: PathBuf,
    replace: Replace,
}

impl Target {
    /// Refuses what stands there, before anything is read.
    pub(super) fn new(output: &Path, overwrite: bool) -> Result<Self> {
        refuse_mistaken_name(output)?;
        let named = || format!("-o {}", MemberName::from(output));
        let path = followed(output).with_context(named)?;
        let replace = match fs::symlink_metadata(&path) {
            Err(_) => Replace::Never,
            Ok(there) if there.is_file() && overwrite => {
                ensure!(
                    there.len() == 0 || begins_as_digest(&path),
                    "{}: something else than a digest stands there, which isn't replaced by one\nhint: choose another name",
                    named()
                );
                Replace::Existing
            }
            Ok(there) if there.is_file() => {
                bail!("{}: exists already\nhint: choose another name, or say --force overwrite to replace it", named())
            }
            Ok(_) => bail!("{}: is no file\nhint: choose another name", named()),
        };
        Ok(Self { path, replace })
    }

    /// A file without a name yet in its folder, which must not lie in a member.
    pub(super) fn draft(&self, members: &[&dyn Member]) -> Result<Box<dyn Draft>> {
        let named = || format!("-o {}", MemberName::from(self.path.as_path()));
        if self.path.symlink_metadata().is_ok() {
            refuse_member_at(&self.path, members).with_context(named)?;
        }
        let (folder, _) = place_of(&self.path).with_context(|| format!("{}: this is no file's name\nhint: name a file", named()))?;
        if let Some(member) = file_system_conflict(folder, members, &Sysfs::default()).unwrap_or(None) {
            bail!("{}: would lie on a file system inside of the member {member}\nhint: choose another folder", named());
        }
        draft_in(&folder.to_owned()).with_context(named)
    }

    /// Lets it appear.
    pub(super) fn publish(self, draft: Box<dyn Draft>) -> Result<()> {
        let named = || format!("-o {}", MemberName::from(self.path.as_path()));
        settle(&*draft).with_context(named)?;
        let name = self.path.file_name().context("it has a name")?;
        name_it(draft, name, self.replace).with_context(named)
    }
}
