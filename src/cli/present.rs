//! Shows a report: on standard output, and in a file.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    Output,
    args::{OutputFormat, ShowArgs},
    in_place::warn_unless,
    journal_place::refuse_member_at,
};
use crate::{
    member::{Member, MemberName, file_system_conflict},
    report::{self, Look, Report, Spool, events_of, last_events},
    scan::Findings,
    sys::{device::Sysfs, new_file::NewFile, storage::place_of},
    vote::Run,
};

/// Takes divergences as they are found, and the report at the end.
pub(super) struct Presenter<'a> {
    show: &'a ShowArgs,
    names: Vec<String>,
    file: Option<ReportFile>,
    events: Output,
    /// Warnings that were shown before the report.
    warned: Vec<String>,
}

/// A report file in the making.
struct ReportFile {
    target: PathBuf,
    /// The earlier report that stands there, as device and inode.
    there: Option<(u64, u64)>,
    new: NewFile,
    spool: Spool,
}

impl<'a> Presenter<'a> {
    /// Refuses a report file that can't be written, or would take the place of something else, before anything is read.
    pub(super) fn new(show: &'a ShowArgs, members: &[&dyn Member]) -> Result<Self> {
        let file = show.report.as_deref().map(|target| ReportFile::new(target, members)).transpose();
        let file = file.with_context(|| format!("--report {}", shown(show.report.as_deref())))?;
        let names = members.iter().map(|member| member.name().to_string()).collect();
        Ok(Self { show, names, file, events: Output::new(), warned: Vec::new() })
    }

    /// Takes a divergence.
    pub(super) fn divergence(&mut self, run: &Run, findings: &Findings) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            let added = file.spool.add(&findings.described(run));
            added.map_err(|error| io::Error::new(error.kind(), format!("--report {}: {error}", shown(Some(&file.target)))))?;
        }
        if self.show.format == OutputFormat::Events && !self.show.progress.quiet {
            for event in events_of(run, &self.names) {
                let written = writeln!(self.events, "{}", event.line(now()));
                written.map_err(|error| io::Error::new(error.kind(), format!("standard output: {error}")))?;
            }
        }
        Ok(())
    }

    /// Shows warnings that can't wait for the report, which won't repeat them.
    pub(super) fn warn_ahead(&mut self, warnings: &[String]) {
        for warning in warnings {
            warn_unless(self.show.progress.quiet, warning);
        }
        self.warned.extend_from_slice(warnings);
    }

    /// Shows the report and returns its exit code.
    pub(super) fn finish(mut self, mut report: Report, look: &Look) -> Result<u8> {
        for warning in report.warnings.iter().filter(|warning| !self.warned.contains(warning)) {
            warn_unless(self.show.progress.quiet, warning);
        }
        if !self.show.progress.quiet {
            let printed = match self.show.format {
                OutputFormat::Human => {
                    let mut to = io::BufWriter::new(Output::new().styled());
                    report::render(&report, look, &mut to).and_then(|()| to.flush())
                }
                OutputFormat::Json => {
                    let mut to = io::BufWriter::new(Output::new());
                    report::write(&report, &mut to).and_then(|()| to.flush())
                }
                OutputFormat::Events => last_events(&report).iter().try_for_each(|event| writeln!(self.events, "{}", event.line(now()))),
            };
            printed.context("standard output")?;
        }
        if let Some(file) = self.file {
            let target = file.target.clone();
            file.publish(&mut report).with_context(|| format!("--report {}", shown(Some(&target))))?;
        }
        Ok(report.exit_code)
    }
}

fn shown(path: Option<&Path>) -> String {
    path.map_or_else(String::new, |path| MemberName::from(path).to_string())
}

/// Seconds and microseconds since 1970.
fn now() -> (u64, u32) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (now.as_secs(), now.subsec_micros())
}

impl ReportFile {
    fn new(target: &Path, members: &[&dyn Member]) -> Result<Self> {
        let target = if target.is_symlink() { fs::canonicalize(target)? } else { target.to_owned() };
        let there = fs::metadata(&target).ok().map(|there| (there.dev(), there.ino()));
        if there.is_some() {
            refuse_member_at(&target, members)?;
            ensure!(is_report(&target)?, "there is something else than a report under that name\nhint: remove it, or choose another name");
        }
        let (folder, _) = place_of(&target).context("this is no file's name\nhint: name a file")?;
        if let Some(member) = file_system_conflict(folder, members, &Sysfs::default()).unwrap_or(None) {
            bail!("it would lie on a file system inside of the member {member}, which writing would change\nhint: choose another folder");
        }
        let new = NewFile::create(folder)
            .context("no file can be made in its folder\nhint: name a folder that exists and that you may write to")?;
        let spool = Spool::new(NewFile::create(folder)?.into_unnamed()?);
        Ok(Self { target, there, new, spool })
    }

    fn publish(self, report: &mut Report) -> Result<()> {
        let capped = std::mem::replace(&mut report.divergences, self.spool.finish()?);
        let omitted = std::mem::take(&mut report.divergences_omitted);
        let mut to = io::BufWriter::with_capacity(1 << 16, self.new.file());
        report::write(report, &mut to)?;
        to.flush()?;
        drop(to);
        crate::sys::storage::Storage::sync(self.new.file())?;
        make_readable(self.new.file());
        let name = self.target.file_name().context("it has a name")?;
        // Only the earlier report that we saw when we began is replaced.
        let now = fs::metadata(&self.target).ok().map(|now| (now.dev(), now.ino()));
        let replace = now.is_some() && now == self.there;
        self.new.publish(name, replace).context("something else appeared under that name meanwhile\nhint: choose another name")?;
        (report.divergences, report.divergences_omitted) = (capped, omitted);
        Ok(())
    }
}

/// As files are that programs create: readable, less what the user's mask takes away.
fn make_readable(file: &File) {
    use std::os::unix::fs::PermissionsExt;
    // umask(2) can only tell the mask by changing it.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| u32::from_str_radix(line.strip_prefix("Umask:")?.trim(), 8).ok());
    let _ = file.set_permissions(fs::Permissions::from_mode(0o666 & !mask.unwrap_or(0o077))); // else it stays private
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
