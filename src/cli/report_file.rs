//! The file that `--report` names.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    new_file::{draft_in, fill, followed, name_it},
    places::{previous_of, refuse_member_at},
};
use crate::{
    electorate::file_system_conflict,
    member::{Member, MemberName},
    report::{self, Divergence, PAGE_START, Report, Spool, Unfinished},
    sys::{
        device::Sysfs,
        storage::{Draft, Folder, Replace, place_of},
    },
};

/// A report file in the making.
pub(super) struct ReportFile {
    target: PathBuf,
    /// The earlier report that stands there, as device and inode.
    there: Option<(u64, u64)>,
    draft: Box<dyn Draft>,
    /// Its divergences; none once it is published.
    spool: Option<Spool>,
}

impl ReportFile {
    /// Refuses one that can't be written, or would take the place of something else, before anything is read.
    pub(super) fn new(target: &Path, members: &[&dyn Member]) -> Result<Self> {
        let target = followed(target)?;
        let there = fs::metadata(&target).ok().map(|there| (there.dev(), there.ino()));
        if there.is_some() {
            refuse_member_at(&target, members)?;
            ensure!(is_report(&target)?, "there is something else than a report under that name\nhint: remove it, or choose another name");
        }
        let (folder, _) = place_of(&target).context("this is no file's name\nhint: name a file")?;
        if let Some(member) = file_system_conflict(folder, members, &Sysfs::default()).unwrap_or(None) {
            bail!("it would lie on a file system inside of the member {member}, which writing would change\nhint: choose another folder");
        }
        let folder = folder.to_owned();
        let draft = draft_in(&folder)?;
        let spool = Some(Spool::new(folder.create()?.nameless()?));
        Ok(Self { target, there, draft, spool })
    }

    /// Its name.
    pub(super) fn target(&self) -> &Path {
        &self.target
    }

    /// Takes a divergence.
    pub(super) fn add(&mut self, divergence: &Divergence) -> io::Result<()> {
        self.spool.as_mut().map_or(Ok(()), |spool| spool.add(divergence))
    }

    /// Gives the report its name.
    pub(super) fn publish(mut self, report: &mut Report) -> Result<()> {
        let mut all = self.spool.take().context("a report is published once")?.finish()?;
        all.diagnose(report.divergences.damages().cloned().unwrap_or_default());
        let capped = std::mem::replace(&mut report.divergences, all);
        let omitted = std::mem::take(&mut report.divergences_omitted);
        let tells_less = is_unfinished(report.exit_code) || report.unvoted || report.range.is_some();
        let published = self.place(tells_less, |to| Ok(report::write(report, to)?));
        (report.divergences, report.divergences_omitted) = (capped, omitted);
        published
    }

    /// The same of a run that came to no report.
    pub(super) fn publish_unfinished(self, report: &Unfinished) -> Result<()> {
        self.place(true, |to| Ok(report::write(report, to)?))
    }

    /// Where it `tells_less` than an earlier one that lists divergences, that one is kept.
    fn place(self, tells_less: bool, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
        fill(&*self.draft, write)?;
        let name = self.target.file_name().context("it has a name")?;
        // Only the earlier report that we saw when we began is replaced.
        let now = fs::metadata(&self.target).ok().map(|now| (now.dev(), now.ino()));
        let seen = now.is_some() && now == self.there;
        let kept = seen && tells_less && is_to_be_kept(&self.target);
        if kept {
            keep_previous(&self.target)?;
        }
        let replace = if seen && !kept { Replace::Existing } else { Replace::Never };
        name_it(self.draft, name, replace)
    }
}

/// Writes a page, unless something else than one of ours stands there.
pub(super) fn write_page(target: &Path, page: &str) -> Result<()> {
    let target = &followed(target)?;
    let there = fs::metadata(target).ok();
    let ours = || -> Result<bool> {
        let mut start = vec![0; PAGE_START.len()];
        let held = File::open(target)?.take(start.len() as u64).read(&mut start)?;
        Ok(held == 0 || start == PAGE_START.as_bytes())
    };
    let free = match &there {
        None => true,
        Some(there) => there.is_file() && ours()?,
    };
    ensure!(free, "there is something else than a page of a report under that name\nhint: remove it, or choose another name");
    let (folder, name) = place_of(target).context("this is no file's name\nhint: name a file")?;
    let draft = draft_in(&folder.to_owned())?;
    fill(&*draft, |to| Ok(to.write_all(page.as_bytes())?))?;
    name_it(draft, name, if there.is_some() { Replace::Existing } else { Replace::Never })
}

/// Whether a run that ends so didn't come to its end, and tells of less than an earlier one may.
fn is_unfinished(exit_code: u8) -> bool {
    matches!(exit_code, 3 | 4 | 130)
}

/// Whether an earlier report may be hours of work: it lists divergences, and isn't a part where all of it was kept already.
fn is_to_be_kept(report: &Path) -> bool {
    let list = |path: &Path| {
        let reported = File::open(path).ok().and_then(|file| report::read_reported(file).ok())?;
        (reported.listed.bytes > 0).then_some(!reported.partial && reported.range.is_none())
    };
    list(report).is_some_and(|complete| complete || list(&previous_of(report)) != Some(true))
}

/// Gives an earlier report another name, where nothing else stands under that.
fn keep_previous(report: &Path) -> Result<()> {
    let previous = previous_of(report);
    let free = previous.symlink_metadata().is_err() || is_report(&previous).unwrap_or(false);
    let shown = MemberName::from(previous.as_path());
    ensure!(free, "the earlier report there lists divergences, and can't be kept: {shown} is something else\nhint: choose another name");
    fs::rename(report, &previous).with_context(|| format!("the earlier report there can't be kept as {shown}"))
}

/// Whether an earlier report stands there, or an empty file.
fn is_report(path: &Path) -> Result<bool> {
    if !fs::metadata(path)?.is_file() {
        return Ok(false);
    }
    let mut start = Vec::new();
    File::open(path)?.take(128).read_to_end(&mut start)?;
    let text = String::from_utf8_lossy(&start);
    Ok(start.is_empty() || (text.starts_with("{\n    \"schema\": 1,\n    \"command\": \"")))
}
