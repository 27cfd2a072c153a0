//! The vote itself, against an oracle that was written from the words of the design alone: slow, plain, and by another hand than
//! the program's.

use proptest::sample::select;

use super::{
    assert_holds, repair,
    support::{
        oracle::{Question, winner},
        repair_oracle::{Repair, in_memory, questions, try_all},
    },
};

/// Whatever the members, the threshold, the sector size and the policy: the voted bytes, the counts, the exit code.
#[test]
fn writes_what_the_design_says() {
    let policies: &[&str] = &["fail", "first", "zero", "bytes"];
    try_all(3, &(questions(), select(policies)), |(question, policy)| check_case(question, policy));
}

fn check_case(question: Question, policy: &str) {
    let (lab, members) = in_memory(&question.images);
    let output = lab.path("out.img");
    let before = lab.listing();
    let [threshold, sector] = [question.threshold.to_string(), question.sector.to_string()];
    let options = ["--threshold", &threshold, "--sector-size", &sector, "--undecided", policy, "--force", "zeros,empty,newer,minority"];
    let run = repair(&lab, &output, &members).args(options).output();
    let answer = question.answer();
    let Some(expected) = Repair::of(question).new_image(policy) else {
        assert!(matches!(run.code(), Some(2 | 3)), "no size wins, so it must ask for one\n{run}");
        run.complains("--size");
        if run.code() == Some(2) {
            assert_eq!(run.json()["size-undecided"], true, "{run}");
        }
        assert_eq!(lab.listing(), before, "nothing may be written without a size\n{run}");
        return;
    };
    if run.json()["repair"].get("refused").is_some() {
        // Data would be cut off: that is known, and refused, before anything is voted on.
        assert_eq!(run.code(), Some(2), "{run}");
        assert!(expected.bytes.is_none(), "{run}");
        run.complains("--size");
        assert_eq!(lab.listing(), before, "{run}");
        return;
    }
    let report = Question::relevant(&run.json());
    for key in ["sectors", "divergences"] {
        assert_eq!(report[key], answer[key], "{key}\n{run}");
    }
    assert_eq!(run.code(), Some(expected.code), "{run}");
    match &expected.bytes {
        Some(bytes) => assert_holds(&output, bytes),
        None => assert_eq!(lab.listing(), before, "there must be no output\n{run}"),
    }
    assert_eq!(lab.listing().len(), before.len() + usize::from(expected.bytes.is_some()), "something was left behind\n{run}");
}

/// The oracle can be trusted with the examples that one can do in one's head.
#[test]
fn the_oracle_counts_as_people_do() {
    assert_eq!(winner(&["a", "a", "b"], 2), Some("a"));
    assert_eq!(winner(&["a", "a", "b", "b", "c"], 2), None, "a tie above a third version is still a tie");
    assert_eq!(winner(&["a", "a", "b"], 3), None);
    assert_eq!(winner::<u8>(&[], 1), None);
    let image = |images: &[Vec<u8>], policy| {
        let question = Question { images: images.to_vec(), sector: 512, threshold: 2, range: None, trust: None };
        Repair::of(question).new_image(policy).expect("a size wins").bytes
    };
    assert_eq!(image(&[vec![1; 700], vec![1; 700], vec![2; 600]], "fail"), Some(vec![1; 700]));
    let bytes = |policy| image(&[vec![1; 3], vec![2, 1, 1], vec![1, 1, 3]], policy);
    assert_eq!(bytes("fail"), None);
    assert_eq!(bytes("bytes"), Some(vec![1; 3]));
    assert_eq!(bytes("first"), Some(vec![1; 3]));
}
