//! A repair of images that was cut off: they are put back before they are looked at.

use std::io::{self, IsTerminal};

use anyhow::Result;

use super::{
    ask::ask,
    journal_place::{journal_path, shown_path},
    options_line::{known_options, may_be_ours},
    progress::Control,
    repair_args::{RepairArgs, Word},
    say::warn_unless,
};
use crate::{
    electorate::{Candidates, Format},
    member::{HostFile, MemberName, RawMember},
    repair::{JournalPlace, PutBack},
    scan::Watch,
};

/// Puts them back, and returns their numbers.
pub(super) fn put_images_back(args: &RepairArgs, candidates: &mut Candidates) -> Result<Vec<usize>> {
    let files = candidates.files();
    if !files.iter().any(|(_, format)| format.is_some_and(Format::is_encoded)) {
        return Ok(Vec::new());
    }
    let own: Vec<&HostFile> = files.iter().filter_map(|(file, _)| file.as_deref().map(RawMember::host)).collect();
    let Some((folder, name)) = journal_path(args, &own)? else { return Ok(Vec::new()) };
    // A journal that is a member is told of later.
    if own.iter().any(|file| file.is_at(&folder.join(&name)).unwrap_or(false)) {
        return Ok(Vec::new());
    }
    let shown = MemberName::from(shown_path(args, &own, &folder, &name).as_path());
    let place = JournalPlace { folder: &folder, name: &name, shown };
    let ours = known_options(args)?;
    let control = Control::new(&args.show.progress)?;
    let in_words = |names: &[MemberName]| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let confirm = |names: &[MemberName]| {
        let question = format!("A repair of {} was cut off. Put that back, and repair anew? [y/N] ", in_words(names));
        args.in_place.yes || !io::stdin().is_terminal() || control.aside(|| ask(&question, &|| control.stopped()))
    };
    let put_back = PutBack {
        place: &place,
        ours: &|then| may_be_ours(then, &ours),
        dry_run: args.in_place.dry_run,
        force_changed: args.forces(Word::Changed),
        watch: &control,
        phases: &|what, bytes| control.begin(what, bytes),
        confirm: &confirm,
    };
    let numbers = put_back.run(candidates)?;
    if !numbers.is_empty() {
        let names: Vec<MemberName> = numbers.iter().map(|&index| MemberName::new(&args.members.members[index])).collect();
        warn_unless(args.show.progress.is_quiet(), &format!("put back first, since a repair was cut off: {}", in_words(&names)));
    }
    Ok(numbers)
}
