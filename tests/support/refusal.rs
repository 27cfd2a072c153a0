//! What every refusal has in common.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStringExt,
    path::PathBuf,
    time::Duration,
};

use super::{KIB, Lab, Output};

/// Whatever is refused is refused at once.
pub const AT_ONCE: Duration = Duration::from_secs(10);

/// Runs quorum-img and fails unless it refuses the arguments: code 3, a message, nothing written, nothing on standard output.
pub fn refused<I>(lab: &Lab, args: I) -> Output
where
    I: IntoIterator,
    I::Item: AsRef<OsStr>,
{
    let before = lab.state();
    let output = lab.quorum_img(args).within(AT_ONCE).output();
    let mut faults = faults(&output);
    if lab.state() != before {
        faults.push("something was written");
    }
    assert!(faults.is_empty(), "not refused as it should be: {}\n{output}", faults.join(", "));
    output
}

/// Tries many bad command lines, and fails with all that were not refused as they should be, each with its reason.
pub fn all_refused(lab: &Lab, lines: impl IntoIterator<Item = Vec<OsString>>, also: impl Fn(&[OsString], &Output) -> Option<&'static str>) {
    let before = lab.state();
    let mut wrong = String::new();
    for line in lines {
        let output = lab.quorum_img(&line).within(AT_ONCE).output();
        let mut faults = faults(&output);
        faults.extend(also(&line, &output));
        if !faults.is_empty() {
            wrong += &[&faults.join(", "), "\n", &output.to_string()].concat();
        }
    }
    assert!(wrong.is_empty(), "not refused as they should be:\n\n{wrong}");
    assert_eq!(lab.state(), before, "something was written");
}

/// What is wrong with a refusal.
fn faults(output: &Output) -> Vec<&'static str> {
    let ways_out = ["hint:", "tip:", "--help", "possible values"];
    let checks = [
        (output.code() != Some(3), "not code 3"),
        (!is_silent_or_word(output), "messages go to standard error"),
        (output.stderr().trim().is_empty(), "a code alone says nothing"),
        (!ways_out.iter().any(|way| output.stderr().contains(way)), "no way out is shown"),
        (obeyed(output).is_some(), "a raw control character"),
        (!is_text(output), "no UTF-8: a lone 0x9b is a control character, too"),
        (output.stderr().contains("panicked"), "a panic"),
    ];
    checks.into_iter().filter_map(|(wrong, why)| wrong.then_some(why)).collect()
}

/// Standard output has nothing, or word of the failure for programs that asked for JSON or events.
pub fn is_silent_or_word(output: &Output) -> bool {
    let said = output.stdout();
    let word = || serde_json::from_str::<serde_json::Value>(&said).is_ok_and(|word| !word["error"]["message"].is_null());
    said.is_empty() || word() || (said.lines().count() == 1 && said.contains("QUORUM_IMG_FAILED"))
}

/// A character that a terminal would obey.
fn obeyed(output: &Output) -> Option<char> {
    let turns = |character| matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let obeyed = |character: char| turns(character) || character.is_control() && character != '\n' && character != '\t';
    (output.stdout() + &output.stderr()).chars().find(|&character| obeyed(character))
}

fn is_text(output: &Output) -> bool {
    [&output.stdout, &output.stderr].into_iter().all(|bytes| str::from_utf8(bytes).is_ok())
}

/// No panic, and no character that a terminal would obey.
pub fn assert_clean(output: &Output) {
    assert!(!output.stderr().contains("panicked"), "{output}");
    assert_eq!(obeyed(output), None, "a raw control character\n{output}");
    assert!(is_text(output), "a lone 0x9b is a control character, too\n{output}");
}

/// What one of the [`hostile_names`] tries to print on a line of its own.
pub const FORGED: &str = "forged:";

/// Names that try to write on a terminal, to add lines to a log, or that aren't text at all; and what is shown of them.
pub fn hostile_names() -> [(OsString, &'static str); 8] {
    [
        ("red\u{1b}[31m.img".into(), "red\\u{1b}[31m.img"),
        ("title\u{1b}]0;owned\u{7}.img".into(), "title\\u{1b}]0;owned\\u{7}.img"),
        (format!("line\n{FORGED} all is well.img").into(), "line\\nforged: all is well.img"),
        ("back\u{8}\u{8}\u{8}\r.img".into(), "back\\u{8}\\u{8}\\u{8}\\r.img"),
        ("c1\u{9b}31m.img".into(), "c1\\u{9b}31m.img"),
        ("turned\u{202e}gmi.img".into(), "turned\\u{202e}gmi.img"),
        (OsString::from_vec(b"lone\x9b31m.img".to_vec()), "lone\u{fffd}31m.img"),
        (OsString::from_vec(b"not\xff\xfeutf8.img".to_vec()), "not\u{fffd}\u{fffd}utf8.img"),
    ]
}

/// Three equal members.
pub fn members(lab: &Lab) -> [PathBuf; 3] {
    lab.copies("disk.img", 64 * KIB)
}

/// A command line.
pub fn words(options: &[&str], members: &[PathBuf]) -> Vec<OsString> {
    options.iter().map(OsString::from).chain(members.iter().map(OsString::from)).collect()
}
