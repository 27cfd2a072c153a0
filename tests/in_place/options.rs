//! Which options go together, and what the journal and the report may not be.

use std::ffi::OsString;

use super::{
    Damaged, refuses,
    support::{
        is_root, mounts,
        refusal::{all_refused, refused},
    },
};

fn lines(set: &Damaged, options: &[&[&str]]) -> Vec<Vec<OsString>> {
    let line = |options: &&[&str]| {
        let options = options.iter().map(OsString::from);
        ["repair".into()].into_iter().chain(options).chain(set.members.iter().map(OsString::from)).collect()
    };
    options.iter().map(line).collect()
}

#[test]
fn exactly_one_of_the_two_ways_to_repair() {
    let set = Damaged::new();
    let wrong: &[&[&str]] = &[&[], &["-o", "out.img", "--in-place"], &["--in-place", "-o", "disk-0.img"]];
    all_refused(&set.lab, lines(&set, wrong), |_, _| None);
    let run = refused(&set.lab, lines(&set, &[&[]]).remove(0));
    run.complains("--in-place").complains("-o");
}

#[test]
fn a_journal_is_kept_or_not() {
    let set = Damaged::new();
    all_refused(&set.lab, lines(&set, &[&["--in-place", "--journal", "j", "--no-journal"]]), |_, _| None);
}

/// A journal beside a device node would lie in /dev, in memory.
#[test]
fn a_device_wants_its_journal_named() {
    if !is_root() {
        super::support::skip("a loop device needs root");
        return;
    }
    let set = Damaged::new();
    let Some(device) = mounts::LoopDevice::new(&set.members[0]) else { return };
    let members = [device.path(), &set.members[1], &set.members[2]];
    let run = set.lab.quorum_img(["repair", "--in-place"]).args(members);
    refuses(&set.lab, run, 3, &["--journal"]);
}
