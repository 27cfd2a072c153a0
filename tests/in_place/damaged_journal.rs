//! A journal that was damaged itself: it is refused before anything is written, or it still restores every byte.

use std::collections::BTreeSet;

use super::{
    Damaged, assert_holds, refuses,
    support::{KIB, Lab, Output, noise},
};

/// The offsets to damage: densely at both ends, where the headers and the marks of completion are, and evenly in between.
fn offsets(length: usize, dense: usize, between: usize) -> Vec<usize> {
    let even = (0..between).map(|step| step * length / between + step % 7);
    let ends = (0..dense).chain(length.saturating_sub(dense)..length);
    even.chain(ends).filter(|&offset| offset < length).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Undoes with a damaged journal. Refused: nothing was written. Done: every member must be what it was.
///
/// By `--force changed`, so that nothing but the journal's own checks stands in the way.
fn undo_or_refuse(set: &Damaged, repaired: &[Vec<u8>], before: &[Vec<u8>], what: &str) -> Output {
    let kept = set.lab.state();
    let run = set.undo().args(["--force", "changed"]).output();
    super::support::refusal::assert_clean(&run);
    match run.code() {
        Some(3) => assert_eq!(set.lab.state(), kept, "{what}: refused, and written all the same\n{run}"),
        Some(0) => {
            for (index, (member, before)) in set.members.iter().zip(before).enumerate() {
                let bytes = set.lab.bytes(member);
                assert!(bytes == *before, "{what}: member {index} was restored wrongly\n{run}");
            }
            for (member, repaired) in set.members.iter().zip(repaired) {
                set.lab.set_length(member, repaired.len() as u64);
                set.lab.write(member, 0, repaired);
            }
        }
        code => panic!("{what}: exit code {code:?}\n{run}"),
    }
    run
}

/// A repair with every kind of record: bad sectors, an extension, a surplus that was cut. With another seed the same places held
/// other bytes.
fn rich(seed: u64) -> (Damaged, Vec<Vec<u8>>, Vec<u8>) {
    let lab = Lab::new();
    let members = lab.copies("disk.img", 256 * KIB);
    let original = lab.bytes(&members[0]);
    lab.write(&members[0], 10 * 512, &noise(seed, 1024));
    lab.set_length(&members[0], 257 * KIB);
    lab.write(&members[0], 256 * KIB, &noise(seed + 1, 1024));
    lab.write(&members[1], 100 * 512, &noise(seed + 2, 1536));
    lab.set_length(&members[1], 255 * KIB);
    lab.write(&members[2], 300 * 512, &[0; 1024]);
    let set = Damaged { lab, original, members };
    let before = set.bytes();
    set.repair().args(["--size", "256k", "--truncate"]).exits(0);
    set.assert_repaired();
    let journal = set.lab.bytes(&set.journal());
    (set, before, journal)
}

#[test]
fn a_flipped_bit_never_restores_wrong_bytes() {
    let (set, before, journal) = rich(7);
    let repaired = set.bytes();
    let mut refused = 0;
    let offsets = offsets(journal.len(), 48, 160);
    for &offset in &offsets {
        set.lab.flip_bit(&set.journal(), offset as u64);
        let run = undo_or_refuse(&set, &repaired, &before, &format!("a bit of byte {offset} of {}", journal.len()));
        refused += usize::from(run.code() == Some(3));
        set.lab.file("disk-0.img.quorum-journal", &journal);
    }
    // Much of so small a journal is padding, and room for the notes of an undo.
    assert!(refused * 4 > offsets.len(), "only {refused} of {} damaged journals were noticed", offsets.len());
    set.undo().args(["--force", "changed"]).exits(0);
    set.assert_bytes(&before);
}

/// Whole sectors that were lost: zeros, or other bytes.
#[test]
fn lost_sectors_never_restore_wrong_bytes() {
    let (set, before, journal) = rich(7);
    let repaired = set.bytes();
    for start in (0..journal.len()).step_by(512) {
        for fill in [vec![0; 512], noise(start as u64, 512)] {
            let end = (start + 512).min(journal.len());
            if journal[start..end] == fill[..end - start] {
                continue;
            }
            set.lab.write(&set.journal(), start as u64, &fill[..end - start]);
            undo_or_refuse(&set, &repaired, &before, &format!("the bytes {start} to {end} of {}", journal.len()));
            set.lab.file("disk-0.img.quorum-journal", &journal);
        }
    }
}

#[test]
fn a_journal_cut_short_never_restores_wrong_bytes() {
    let (set, before, journal) = rich(7);
    let repaired = set.bytes();
    for length in offsets(journal.len(), 16, 100) {
        set.lab.set_length(&set.journal(), length as u64);
        undo_or_refuse(&set, &repaired, &before, &format!("{length} bytes of {}", journal.len()));
        set.lab.file("disk-0.img.quorum-journal", &journal);
    }
}

/// What follows the end is none of it.
#[test]
fn a_journal_with_more_behind_it_never_restores_wrong_bytes() {
    let (set, before, journal) = rich(7);
    let repaired = set.bytes();
    for more in [vec![0; 4096], noise(1, 100), noise(2, 8192), journal.clone()] {
        set.lab.file("disk-0.img.quorum-journal", [&journal[..], &more].concat());
        undo_or_refuse(&set, &repaired, &before, &format!("{} bytes more", more.len()));
        set.lab.file("disk-0.img.quorum-journal", &journal);
    }
}

/// The message says which journal, and where in it.
#[test]
fn a_refusal_names_the_place() {
    let (set, before) = Damaged::repaired();
    let journal = set.lab.bytes(&set.journal());
    // In the old bytes of c's sectors, which are in it as they were.
    let old = &before[2][300 * 512..300 * 512 + 16];
    let at = journal.windows(16).position(|bytes| bytes == old).expect("the old bytes stand in the journal");
    set.lab.flip_bit(&set.journal(), at as u64);
    for run in
        [set.undo(), set.undo().arg("--dry-run"), set.undo().args(["--force", "changed"]), set.lab.quorum_img(["info"]).arg(set.journal())]
    {
        let run = refuses(&set.lab, run, 3, &["disk-0.img.quorum-journal", "damaged"]);
        let said = run.stderr().replace(set.journal().to_str().expect("a plain name"), "").replace("disk-0.img", "");
        assert!(said.contains(|character: char| character.is_ascii_digit()), "no offset is named\n{run}");
    }
    set.lab.file("disk-0.img.quorum-journal", &journal);
    set.undo().exits(0);
    set.assert_bytes(&before);
}

/// One journal's head and another one's body are each sound, and don't belong together.
#[test]
fn parts_of_two_journals_do_not_go_together() {
    let (set, before, journal) = rich(7);
    let repaired = set.bytes();
    let (other, _, foreign) = rich(50);
    drop(other);
    for cut in [512, 4096, 8192, journal.len() / 2, journal.len() - 512] {
        if cut >= journal.len().min(foreign.len()) {
            continue;
        }
        set.lab.file("disk-0.img.quorum-journal", [&journal[..cut], &foreign[cut..]].concat());
        undo_or_refuse(&set, &repaired, &before, &format!("{cut} bytes of one, the rest of another one"));
        set.lab.file("disk-0.img.quorum-journal", [&foreign[..cut], &journal[cut..]].concat());
        undo_or_refuse(&set, &repaired, &before, &format!("all but the first {cut} bytes"));
        set.lab.file("disk-0.img.quorum-journal", &journal);
    }
}

/// A whole journal, of other files that are gone: nothing of ours is touched, whatever is forced.
#[test]
fn a_journal_of_others_is_refused() {
    let (other, _) = Damaged::repaired();
    let foreign = other.lab.bytes(&other.journal());
    drop(other);
    let (set, before) = Damaged::repaired();
    let journal = set.lab.bytes(&set.journal());
    set.lab.file("disk-0.img.quorum-journal", foreign);
    refuses(&set.lab, set.undo().args(["--force", "changed"]), 3, &["--map"]);
    set.lab.file("disk-0.img.quorum-journal", journal);
    set.undo().exits(0);
    for (member, before) in set.members.iter().zip(&before) {
        assert_holds(member, before);
    }
}

/// What a record begins with, at a multiple of 4096 (docs/journal.md).
const RECORD: &[u8] = b"QIMGREC\0";

/// The journal of a repair that was killed after it had written to its members, and where its last record, a batch, lies.
fn killed() -> (Damaged, Vec<Vec<u8>>, Vec<u8>, usize) {
    let (set, before) = Damaged::repaired();
    let mut journal = set.lab.bytes(&set.journal());
    let starts: Vec<usize> = (0..journal.len()).step_by(4096).filter(|&at| journal[at..].starts_with(RECORD)).collect();
    let [.., batch, ended] = starts[..] else { panic!("a batch and an end are looked for: {starts:?}") };
    let reserved = journal.len() + 1024 * 1024;
    journal[ended..].fill(0);
    journal.resize(reserved, 0);
    set.lab.file("disk-0.img.quorum-journal", &journal);
    (set, before, journal, batch)
}

/// One bit of the last batch has rotted. Members were written to by it, so that it can't be taken for one that was cut off: else an undo would
/// leave them as they are, and say that it found them right.
#[test]
fn a_rotten_last_batch_is_no_torn_one() {
    let (set, before, journal, batch) = killed();
    for offset in [batch + 3, batch + 40, batch + 70, batch + 200, batch + 900, batch + 1500] {
        set.lab.flip_bit(&set.journal(), offset as u64);
        for run in [set.undo(), set.undo().args(["--force", "changed"]), set.lab.quorum_img(["info"]).arg(set.journal()), set.repair()] {
            refuses(&set.lab, run, 3, &["disk-0.img.quorum-journal", "damaged"]);
        }
        set.lab.file("disk-0.img.quorum-journal", &journal);
    }
    set.undo().exits(0);
    set.assert_bytes(&before);
}

/// A batch that was cut off has no head yet: nothing of it was done, which is said, and the next session begins where it began.
#[test]
fn a_torn_last_batch_is_told_and_left_out() {
    let (set, before, mut journal, batch) = killed();
    journal[batch..batch + 64].fill(0);
    journal[batch + 8192..batch + 8200].fill(1); // longer than a page
    let torn = || {
        set.lab.file("disk-0.img.quorum-journal", &journal);
        for (member, bytes) in set.members.iter().zip(&before) {
            set.lab.write(member, 0, bytes);
        }
    };
    torn();
    let run = set.lab.quorum_img(["info"]).arg(set.journal()).exits(0);
    assert!(run.stdout().contains("cut off while it was made safe"), "{run}");
    let run = set.undo().exits(0);
    assert!(run.stderr().contains("cut off while it was made safe"), "{run}");
    set.assert_bytes(&before);
    torn();
    set.repair().exits(0);
    set.assert_repaired();
    set.undo().exits(0);
    set.assert_bytes(&before);
}
