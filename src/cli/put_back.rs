//! A repair of qcow2 members that was cut off: they are put back before they are looked at.

use std::{
    ffi::OsString,
    io::{self, IsTerminal},
};

use anyhow::{Context, Result, ensure};

use super::{
    args::find_given,
    ask::ask,
    journal_place::{journal_path, shown_path},
    progress::Control,
    repair_args::{RepairArgs, Word},
    say::warn_unless,
};
use crate::{
    electorate::{Candidates, Format},
    member::{HostFile, Member, MemberName, RawMember, Rewritable},
    repair::{
        RepairError,
        journal::{Identity, Journal, State},
        undo::{Undo, UndoTarget},
    },
    scan::{Watch, majority},
    sys::{locks::Claim, storage::Folder},
};

/// A repair that was cut off leaves images in the middle of something: they are put back first, and then repaired anew.
pub(super) fn put_images_back(args: &RepairArgs, candidates: &mut Candidates) -> Result<()> {
    let mut files = candidates.files();
    if !files.iter().any(|(_, format)| format.is_some_and(Format::is_encoded)) {
        return Ok(());
    }
    let own: Vec<&HostFile> = files.iter().filter_map(|(file, _)| file.as_deref().map(RawMember::host)).collect();
    let Some((folder, name)) = journal_path(args, &own)? else { return Ok(()) };
    let shown = MemberName::from(shown_path(args, &folder, &name).as_path());
    let Some(storage) = folder.open(&name).with_context(|| format!("{shown}: can't be opened"))? else { return Ok(()) };
    // What can't be used, or isn't this repair's, is told of later.
    if own.iter().any(|file| file.is_at(&folder.join(&name)).unwrap_or(false)) {
        return Ok(());
    }
    if let Claim::Others(holders) = storage.claim(!args.in_place.dry_run).with_context(|| shown.to_string())? {
        return Err(RepairError::JournalInUse { journal: shown, holders }.into());
    }
    let Ok(journal) = Journal::load(&shown, storage) else { return Ok(()) };
    let unfinished = journal.state() == State::Unfinished && journal.header().members.len() == files.len();
    if !unfinished || !may_be_ours(args, &journal.header().options)? {
        return Ok(());
    }
    let touched = journal.touched()?;
    let mut targets = Vec::new();
    for (index, (file, format)) in files.iter().enumerate() {
        let begun = touched >> index & 1 == 1 && format.is_some_and(Format::is_encoded);
        let Some(file) = file.as_deref().filter(|_| begun) else {
            targets.push(None);
            continue;
        };
        let (then, now) = (&journal.header().members[index], Identity::of_file(file.host()).with_context(|| file.name().to_string())?);
        if (then.inode, &then.path) != (now.inode, &now.path) {
            return Ok(());
        }
        ensure!(
            !args.in_place.dry_run,
            "{}: a repair of it was cut off, as {shown} tells, so what it holds now says nothing\n\
             hint: run the repair again without --dry-run, or take it back with quorum-img undo {}",
            file.name(),
            shown.quoted()
        );
        let storage = file.store().with_context(|| {
            format!("{}: a repair of it was cut off, and it isn't to be written to now\nhint: run the same command again", file.name())
        })?;
        let (inode, file_system) = (now.inode, now.file_system);
        targets.push(Some(UndoTarget { name: file.name().clone(), storage, inode, file_system, mapped: false }));
    }
    if targets.iter().all(Option::is_none) {
        return Ok(());
    }
    let mut control = Control::new(&args.show.progress)?;
    let phases = |what, bytes| control.begin(what, bytes);
    let undo = Undo { targets: &targets, force_changed: args.forces(Word::Changed), watch: &control, phases: &phases };
    let names: Vec<String> = targets.iter().flatten().map(|target| target.name.to_string()).collect();
    undo.examine_begun(&journal)?;
    if !args.in_place.yes && io::stdin().is_terminal() {
        let question = format!("A repair of {} was cut off. Put that back, and repair anew? [y/N] ", names.join(", "));
        ensure!(control.aside(|| ask(&question, &|| control.stopped())), "nothing was written\nhint: the same command asks again");
    }
    let mask = targets.iter().enumerate().filter(|(_, target)| target.is_some()).fold(0, |mask, (index, _)| mask | 1 << index);
    let journal = journal.without_stamps(mask).with_context(|| format!("{shown}: the journal can't be written to"))?;
    undo.put_back_begun(&journal)?;
    control.end();
    drop(targets);
    for (file, _) in &mut files {
        if let Some(file) = file.as_mut() {
            file.look_again().with_context(|| file.name().to_string())?;
        }
    }
    warn_unless(args.show.progress.quiet, &format!("put back first, since a repair was cut off: {}", names.join(", ")));
    Ok(())
}

/// Which members are images rather than bytes, as words of the options.
pub(super) fn formats(args: &RepairArgs) -> Vec<String> {
    let roll = args.members.roll();
    let stated = args.members.members.iter().enumerate().filter_map(|(index, name)| Some((index, roll.format_of(name)?)));
    stated.filter(|(_, format)| format.is_encoded()).map(|(index, format)| format!("{} #{index}", format.name())).collect()
}

/// Whether the options that a journal tells of can be those of now, as far as that is known before the members are read.
fn may_be_ours(args: &RepairArgs, then: &str) -> Result<bool> {
    let given = &args.members.members;
    let numbered = |names: &[OsString], word: &str| {
        names.iter().map(|name| Ok(format!("{word} #{}", find_given(name, given)?))).collect::<Result<Vec<String>>>()
    };
    let threshold = args.vote.threshold.unwrap_or_else(|| majority(given.len()));
    let mut ours = vec![format!("sector-size {}", args.vote.sector_size), format!("threshold {threshold}")];
    ours.extend(numbered(args.vote.trust.as_slice(), "trust")?);
    ours.extend(numbered(&args.in_place.no_write, "no-write")?);
    ours.extend(args.in_place.truncate.then(|| "truncate".to_owned()));
    ours.extend(formats(args));
    let read_later = ["size ", "range ", "pick ", "from "];
    Ok(then.split(", ").filter(|word| !read_later.iter().any(|later| word.starts_with(later))).eq(ours))
}
