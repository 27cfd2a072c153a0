//! Follows what quorum-img says to run next, as printed, wherever a test meets it.
//!
//! A suggestion must succeed or bring the situation closer, and must never be what was just refused.

use std::{collections::BTreeSet, fs, path::Path, process::Stdio};

use super::run::Output;

/// Decisions of a person that are followed one after the other.
const STEPS_MAX: usize = 6;

/// Runs each `next:` and `or:` of `output` in `folder`, and then what those say, until nothing more is said.
///
/// What they make is removed again; a repair in place is only planned.
pub fn follow(folder: &Path, output: &Output) {
    let text = output.stdout();
    let first: Vec<&str> = text.lines().filter_map(suggested).collect();
    if first.is_empty() || has_mounts(folder) {
        return;
    }
    for line in first {
        follow_one(folder, line, output);
    }
}

fn suggested(line: &str) -> Option<&str> {
    line.strip_prefix("next: ").or_else(|| line.strip_prefix("or:   ")).or_else(|| line.strip_prefix("or: "))
}

/// File systems that fail on purpose count what is read of them.
fn has_mounts(folder: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts.lines().any(|line| line.split(' ').nth(4).is_some_and(|at| Path::new(at).starts_with(folder)))
}

fn follow_one(folder: &Path, line: &str, origin: &Output) {
    let mut seen = BTreeSet::new();
    let mut line = line.to_owned();
    for _ in 0..STEPS_MAX {
        let (command, comment) = line.split_once("   # ").unwrap_or((&line, ""));
        // The world has to change first.
        // What writes over something isn't the harness's to run.
        if comment.starts_with("once ") || command.contains(" --force ") {
            return;
        }
        assert!(seen.insert(command.to_owned()), "what is to be run next goes round in a circle: {command}\n{origin}");
        // What changes a set's record is run by the tests of sets themselves.
        if command.contains(" set check ") || command.contains(" set status ") {
            return;
        }
        let in_place = command.contains(" --in-place") || command.contains(" set repair ") || command.contains(" set resync ");
        let arguments = command.strip_prefix("quorum-img ").unwrap_or_else(|| panic!("not a command line: {command}\n{origin}"));
        let plan = if in_place && !arguments.contains("--dry-run") { " --dry-run" } else { "" };
        let before = names(folder);
        let run = std::process::Command::new("bash")
            .args(["-c", &format!("exec \"$0\" {arguments}{plan}"), env!("CARGO_BIN_EXE_quorum-img")])
            .current_dir(folder)
            .stdin(Stdio::null())
            .output()
            .expect("bash is everywhere");
        for name in names(folder).difference(&before) {
            fs::remove_file(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        let text = String::from_utf8_lossy(&run.stdout).into_owned();
        let next = text.lines().find_map(suggested).map(str::to_owned);
        let ended = matches!((run.status.code(), in_place), (Some(0), _) | (Some(1), true));
        match next {
            _ if ended => return,
            // An image with marks where nobody knows.
            None if run.status.code() == Some(2) && text.contains("Filled by") => return,
            Some(next) if matches!(run.status.code(), Some(1 | 2)) => line = next,
            _ => panic!(
                "what was to be run next leads nowhere: {command}\n{:?}\n{text}\n{}\n--- said by\n{origin}",
                run.status,
                String::from_utf8_lossy(&run.stderr)
            ),
        }
    }
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
