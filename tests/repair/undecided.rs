//! Where nobody won: `--undecided`, `--expect-sha256`, and blocks put together from sectors of several members.

use serde_json::json;

use super::{
    Damaged, UNDECIDED, assert_holds, filled, refuses, repair,
    support::{Lab, Output, sectors, sha256},
};

/// What the output must be when the undecided sector holds `filler`.
fn restored_with(set: &Damaged, filler: &[u8]) -> Vec<u8> {
    let mut expected = set.original.clone();
    expected[4096..4608].copy_from_slice(filler);
    expected
}

fn fill(set: &Damaged, policy: &str) -> Output {
    let run = set.repair().args(["--undecided", policy]).exits(2);
    assert_eq!(filled(&run.json()), [(4096, 512)], "the fill must be listed\n{run}");
    assert_eq!(run.json()["sectors"]["undecided"], 1, "{run}");
    run
}

#[test]
fn no_file_appears_unless_a_policy_says_so() {
    let set = Damaged::with_an_undecided_sector();
    refuses(&set.lab, set.repair(), 2, &[]);
    refuses(&set.lab, set.repair().args(["--undecided", "fail"]), 2, &[]);
    let run = set.lab.quorum_img(["repair", "-o", "out.img"]).args(&set.members);
    refuses(&set.lab, run, 2, &[]).says("no output").says("--undecided").says("--pick");
}

#[test]
fn first_takes_the_lowest_numbered_ballot() {
    let set = Damaged::with_an_undecided_sector();
    let first = set.lab.read(&set.members[0], UNDECIDED);
    fill(&set, "first");
    assert_holds(&set.output, &restored_with(&set, &first));
}

/// The lowest-numbered member ends before the sector: it has no ballot there, so the next one's counts.
#[test]
fn first_means_the_first_that_has_data() {
    let lab = Lab::new();
    let members: [_; 4] = lab.copies("disk.img", 64 * 512);
    let expected = lab.bytes(&members[1]);
    lab.set_length(&members[0], 60 * 512);
    lab.damage(&members[2], sectors(62..63));
    lab.damage(&members[3], sectors(62..63));
    let output = lab.path("out.img");
    let run = repair(&lab, &output, &members).args(["--undecided", "first"]).exits(2);
    assert_eq!(filled(&run.json()), [(62 * 512, 512)], "{run}");
    assert_holds(&output, &expected);
}

#[test]
fn zero_writes_zeros() {
    let set = Damaged::with_an_undecided_sector();
    fill(&set, "zero");
    assert_holds(&set.output, &restored_with(&set, &[0; 512]));
}

/// A filler says what it is, so that whoever meets it years later in a file knows where it comes from.
#[test]
fn a_marker_says_so_in_ascii_with_the_offset() {
    let set = Damaged::with_an_undecided_sector();
    fill(&set, "marker");
    let marker = set.lab.read(&set.output, UNDECIDED);
    let text = String::from_utf8(marker.clone()).expect("ASCII").to_lowercase();
    assert!(text.is_ascii() && text.contains("undecided"), "{text}");
    assert!(text.contains("1000") || text.contains("4096"), "the offset is missing: {text}");
    assert!(marker.iter().all(|&byte| byte == b'\n' || (b' '..=b'~').contains(&byte)), "{text}");
    assert_holds(&set.output, &restored_with(&set, &marker));
}

/// Three copies with one wrong byte each, at different places of one sector: byte by byte, two of three are right everywhere.
#[test]
fn bytes_votes_once_more_on_each_byte() {
    let set = Damaged::new();
    for (member, offset) in set.members.iter().zip([4100, 4200, 4607]) {
        set.lab.flip_bit(member, offset);
    }
    fill(&set, "bytes");
    set.assert_restored();
}

#[test]
fn bytes_gives_no_file_where_a_byte_has_no_winner() {
    let set = Damaged::with_an_undecided_sector();
    refuses(&set.lab, set.repair().args(["--undecided", "bytes"]), 2, &[]);
}

#[test]
fn an_unknown_policy_is_refused_and_the_known_ones_are_named() {
    let set = Damaged::new();
    refuses(&set.lab, set.repair().args(["--undecided", "guess"]), 3, &["marker"]);
}

#[test]
fn expected_digest_lets_the_output_appear() {
    let set = Damaged::new();
    set.repair().args(["--expect-sha256", &sha256(&set.original)]).exits(0);
    set.assert_restored();
}

/// A digest known from elsewhere proves a guess: nothing is undecided about the result any more.
#[test]
fn expected_digest_proves_a_fill() {
    let set = Damaged::new();
    for member in &set.members[1..] {
        set.lab.damage(member, UNDECIDED);
    }
    let run = set.repair().args(["--undecided", "first", "--expect-sha256", &sha256(&set.original)]).exits(0);
    assert_eq!(filled(&run.json()), [(4096, 512)], "proven or not, a fill is listed\n{run}");
    set.assert_restored();
}

#[test]
fn wrong_digest_means_no_output() {
    let set = Damaged::new();
    for digest in [sha256(b"something else"), sha256(&set.lab.bytes(&set.members[0]))] {
        let before = set.lab.listing();
        let run = set.repair().args(["--expect-sha256", &digest]).output();
        assert!(run.code().is_some_and(|code| code != 0), "{run}");
        run.complains("sha");
        assert_eq!(set.lab.listing(), before, "{run}");
    }
}

/// People and programs are told what was found, why there is no image, and what was to be filled.
#[test]
fn wrong_digest_still_gives_a_report() {
    let set = Damaged::with_an_undecided_sector();
    let guess = ["--undecided", "first", "--expect-sha256", &sha256(b"something else")];
    let run = set.repair().args(guess).exits(3);
    let repair = &run.json()["repair"];
    assert!(repair["error"].as_str().is_some_and(|error| error.contains("SHA-256")), "{run}");
    assert_eq!((&repair["written"], &repair["filled-sectors"]), (&json!(false), &json!(1)), "{run}");

    let run = set.lab.quorum_img(["repair", "-o"]).arg(&set.output).args(&set.members).args(guess).exits(3);
    for line in ["No output: nothing was written to ", "It failed: ", "To be filled by --undecided first: 1 sector."] {
        assert!(run.stdout().contains(line), "{line:?}\n{run}");
    }
    assert!(!run.stdout().contains("trust the image"), "there is none\n{run}");
}

/// What stood there stays, byte for byte, when the new image turns out wrong.
#[test]
fn wrong_digest_keeps_the_file_that_was_to_be_replaced() {
    let set = Damaged::new();
    set.lab.file("out.img", "precious");
    let before = set.lab.listing();
    let run = set.repair().args(["--force", "overwrite", "--expect-sha256", &sha256(b"something else")]).output();
    assert!(run.code().is_some_and(|code| code != 0), "{run}");
    assert_eq!(set.lab.listing(), before, "{run}");
}

#[test]
fn what_is_no_digest_is_refused() {
    let set = Damaged::new();
    let good = sha256(&set.original);
    for digest in ["", "abc", &good[1..], &format!("{good}00"), &good.replace(&good[..1], "g")] {
        refuses(&set.lab, set.repair().args(["--expect-sha256", digest]), 3, &[]);
    }
    set.repair().args(["--expect-sha256", &good.to_uppercase()]).exits(0);
}

/// The blocks of 4 KiB that no member holds whole were never seen together before: a file system's checksums should look at those.
#[test]
fn counts_blocks_that_no_member_holds_whole() {
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", 64 * 512);
    let expected = lab.bytes(&members[0]);
    // Block 1: each member has a bad sector of its own. Block 3: a and b are bad, c is whole. Block 5: only a is bad.
    for (member, sector) in [(0, 8), (1, 10), (2, 15), (0, 24), (1, 25), (0, 40)] {
        lab.damage(&members[member], sectors(sector..sector + 1));
    }
    let output = lab.path("out.img");
    let run = repair(&lab, &output, &members).exits(0);
    assert_holds(&output, &expected);
    assert_eq!(run.json()["repair"]["composed-blocks"], 1, "{run}");
}
