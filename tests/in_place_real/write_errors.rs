//! Members that fail while they are written to: the others are completed, nothing that failed is believed, and there is a way on and
//! a way back.

use std::{array, ops::Range};

use super::{
    fuse_medium::Medium,
    on_media::OnMedia,
    state,
    support::{Output, noise, sectors},
};

/// What is wrong, in sectors; no two members at the same place.
fn wrong(index: usize) -> Vec<Range<u64>> {
    match index {
        0 => vec![sectors(8..10), sectors(400..401)],
        1 => vec![sectors(16..17), sectors(64..72), sectors(304..305), sectors(480..481)],
        _ => vec![sectors(32..33), sectors(500..512)],
    }
}

/// Each copy is wrong elsewhere, and the second one's medium fails.
fn failing(second: impl FnOnce(&mut Medium)) -> Option<OnMedia> {
    let original = noise(7, 1 << 18);
    let before = array::from_fn(|index| {
        let mut bytes = original.clone();
        for range in wrong(index) {
            bytes[range.start as usize..range.end as usize].fill(0x11 + index as u8);
        }
        bytes
    });
    let set = OnMedia::new(original, before)?;
    set.media.with("b.img", second);
    Some(set)
}

impl OnMedia {
    fn assert_others_repaired(&self, run: &Output) {
        for name in ["a.img", "c.img"] {
            self.assert_holds(name, &self.original, run);
        }
    }

    /// The second member works again.
    fn mend(&self) {
        self.media.with("b.img", |file| {
            file.write_error = None;
            file.sync_errors.clear();
            file.close_error = None;
            file.writes.clear();
        });
    }

    /// Fails where a place that was wrong in the second member wasn't written to since it was mended.
    fn assert_second_written_again(&self, run: &Output) {
        let writes = self.media.with("b.img", |file| file.writes.clone());
        for range in wrong(1) {
            let covered = |at: u64| writes.iter().any(|write| write.contains(&at));
            assert!(range.clone().all(covered), "{range:?} wasn't written again, only {writes:?}\n{run}");
        }
    }
}

#[test]
fn a_write_error_stops_only_its_own_member() {
    for errno in [libc::EIO, libc::ENOSPC] {
        for then_undo in [false, true] {
            // The sectors 304 and 480 can't be written.
            let Some(set) = failing(|file| file.write_error = Some((100 * 512, errno))) else { return };
            let run = set.repair().exits(3);
            set.assert_others_repaired(&run);
            run.complains("b.img");
            assert!(run.stderr().contains("155648") || run.stderr().contains("0x26000"), "the offset\n{run}");
            let report = run.json();
            assert_eq!(report["repair"]["completed"], false, "{run}");
            let members = report["repair"]["members"].as_array().expect("a list");
            let failed =
                |index: usize| members.iter().find(|member| member["index"] == index).is_some_and(|member| member.get("error").is_some());
            assert_eq!([failed(0), failed(1), failed(2)], [false, true, false], "{run}");

            set.mend();
            if then_undo {
                let run = set.undo().exits(0);
                set.assert_as_before(&run);
            } else {
                let run = set.repair().exits(0);
                set.assert_repaired(&run);
                assert_eq!(state(&set.lab, &set.journal()), "complete", "{run}");
                let run = set.undo().exits(0);
                set.assert_as_before(&run);
            }
        }
    }
}

/// The medium is well again: the same command completes the repair, writes the second copy once more, and all can be undone.
fn assert_run_again_and_undone(set: &OnMedia) {
    set.mend();
    let run = set.repair().exits(0);
    set.assert_repaired(&run);
    set.assert_second_written_again(&run);
    assert_eq!(state(&set.lab, &set.journal()), "complete", "{run}");
    let run = set.undo().exits(0);
    set.assert_as_before(&run);
}

/// After a sync that failed the next one succeeds, and the file shows what was written: none of it may be believed.
#[test]
fn a_sync_that_failed_once_is_not_believed_later() {
    let Some(set) = failing(|file| file.sync_errors.push_back(libc::EIO)) else { return };
    let run = set.repair().exits(3);
    set.assert_others_repaired(&run);
    run.complains("b.img");
    assert!(set.media.with("b.img", |file| file.sync_errors.is_empty()), "it was synced\n{run}");
    assert_eq!(run.json()["repair"]["completed"], false, "{run}");
    assert_eq!(state(&set.lab, &set.journal()), "unfinished", "{run}");

    assert_run_again_and_undone(&set);
}

/// A server that is over its quota may say so only when a file is closed, though all writes and syncs went well (close(2)).
#[test]
fn what_only_closing_tells_is_heeded() {
    let Some(set) = failing(|file| file.close_error = Some(libc::EDQUOT)) else { return };
    let run = set.repair().exits(3);
    set.assert_others_repaired(&run);
    run.complains("b.img").complains("quota");
    assert_eq!(run.json()["repair"]["completed"], false, "{run}");
    assert_eq!(state(&set.lab, &set.journal()), "unfinished", "{run}");

    assert_run_again_and_undone(&set);
}

#[test]
fn after_a_sync_that_failed_there_is_a_way_back() {
    let Some(set) = failing(|file| file.sync_errors.push_back(libc::EIO)) else { return };
    let run = set.repair().exits(3);
    set.mend();
    let undone = set.undo().exits(0);
    set.assert_as_before(&undone);
    assert_eq!(state(&set.lab, &set.journal()), "undone", "{run}");
}

/// What failed and was written over by someone else meanwhile can't be known; a second failure is a failure, too.
#[test]
fn a_rerun_that_fails_again_says_so_again() {
    let Some(set) = failing(|file| file.sync_errors.extend([libc::EIO; 1])) else { return };
    set.repair().exits(3);
    set.mend();
    set.media.with("b.img", |file| file.sync_errors.push_back(libc::EIO));
    let run = set.repair().exits(3);
    run.complains("b.img");
    set.mend();
    let run = set.repair().exits(0);
    set.assert_repaired(&run);
    set.assert_second_written_again(&run);
}

/// An undo that can't write one member puts the others back, and is run again.
#[test]
fn an_undo_that_fails_is_run_again() {
    for faults in [(Some((100 * 512, libc::EIO)), vec![]), (None, vec![libc::EIO])] {
        let Some(set) = failing(|_| ()) else { return };
        set.repair().exits(0);
        set.media.with("b.img", |file| {
            file.write_error = faults.0;
            file.sync_errors.extend(&faults.1);
        });
        let run = set.undo().exits(3);
        run.complains("b.img");
        assert_ne!(state(&set.lab, &set.journal()), "undone", "{run}");
        // The other way is closed until that is finished.
        set.repair().exits(3);
        set.mend();
        let run = set.undo().exits(0);
        set.assert_as_before(&run);
        assert_eq!(state(&set.lab, &set.journal()), "undone", "{run}");
        if !faults.1.is_empty() {
            set.assert_second_written_again(&run);
        }
    }
}
