//! What programs get of a run that came to no report: an old one never stays behind looking green.

use std::{
    ffi::OsString,
    io::Write as _,
    path::{Path, PathBuf},
};

use super::{
    failure::{exit_code, explained},
    places::same_place,
    present::{now, times},
    report_file::ReportFile,
    say::{Output, complain, has_printed},
    show_args::OutputFormat,
    signals::stop_flag,
};
use crate::{
    electorate::{Given, Roll, Single, open_single},
    member::{Member, MemberName, escaped},
    report::{Event, Unfinished, write},
};

/// A run, as the command line asked for it.
pub(super) struct Asked<'a> {
    pub(super) command: &'static str,
    pub(super) members: &'a [OsString],
    pub(super) format: OutputFormat,
    /// Nothing goes to standard output.
    pub(super) quiet: bool,
    /// The file of `--report`.
    pub(super) report: Option<&'a Path>,
    /// What isn't to be written over by it.
    pub(super) others: Vec<PathBuf>,
}

impl Asked<'_> {
    /// Leaves word of why it failed: in the file of `--report`, and on standard output where programs read that.
    pub(super) fn leave_word(&self, error: &anyhow::Error) {
        let names: Vec<MemberName> = self.members.iter().map(|name| MemberName::new(name)).collect();
        let text = escaped_lines(&explained(error));
        let unfinished = Unfinished::of(self.command, &names, exit_code(error), &text, times(0));
        if let Err(error) = self.write_file(&unfinished) {
            let shown = self.report.map_or_else(String::new, |path| MemberName::from(path).to_string());
            complain(&format!("--report {shown}: {}", explained(&error)));
        }
        // Half a document isn't followed by another one; events are.
        if self.quiet || (has_printed() && self.format == OutputFormat::Json) {
            return;
        }
        // Where standard output is gone, nobody reads it.
        let _ = match self.format {
            OutputFormat::Human => Ok(()),
            OutputFormat::Json => write(&unfinished, Output::new()),
            OutputFormat::Events => {
                let data = serde_json::to_value(&unfinished).unwrap_or_default();
                Output::new().write_all(Event { event: "QUORUM_IMG_FAILED", data }.line(now()).as_bytes())
            }
        };
    }

    fn write_file(&self, unfinished: &Unfinished) -> anyhow::Result<()> {
        let Some(target) = self.report else { return Ok(()) };
        let named: Vec<Given> = self.members.iter().map(|name| Given::of(name)).collect();
        let others = named.iter().filter_map(Given::path).chain(self.others.iter().map(PathBuf::as_path));
        let taken = others.into_iter().any(|other| same_place(target, other));
        if taken {
            return Ok(()); // that was refused, and said
        }
        // Those that can be opened are looked at once more: the file must not lie on a file system inside of one of them.
        let roll = Roll { stop: &stop_flag, ..Roll::of(self.members) };
        let opened: Vec<Single> = self.members.iter().filter_map(|name| open_single(&roll, name).ok()).collect();
        let members: Vec<&dyn Member> = opened.iter().map(|single| single.member.as_ref()).collect();
        // What can't be a report was said, too.
        let Ok(file) = ReportFile::new(target, &members) else { return Ok(()) };
        file.publish_unfinished(unfinished)
    }
}

/// Lines stay, and nothing else that a terminal would heed.
fn escaped_lines(text: &str) -> String {
    text.split('\n').map(escaped).collect::<Vec<_>>().join("\n")
}
