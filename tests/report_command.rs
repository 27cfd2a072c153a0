//! `quorum-img report`: an earlier report shown again, and as a page.

#[path = "support/mod.rs"]
mod support;

use std::path::PathBuf;

use proptest::prelude::*;
use quorum_img::report::{Drawing, Listed, Map, Order, PageParts, page, read_report, render};
use serde_json::{Value, json};
use support::{Lab, MIB, Run, needs, sectors};

fn quarrel(lab: &Lab) -> [PathBuf; 3] {
    let members: [PathBuf; 3] = lab.copies("disk.img", MIB);
    lab.damage(&members[1], sectors(100..103));
    lab.damage(&members[0], sectors(900..901));
    lab.damage(&members[2], sectors(900..901));
    members
}

/// What was said a day ago can be read again, word by word.
#[test]
fn a_report_is_shown_as_it_was() {
    let lab = Lab::new();
    let quarrel = quarrel(&lab);
    let decided: [PathBuf; 3] = lab.copies("decided.img", MIB);
    lab.damage(&decided[1], sectors(100..103));
    let commands =
        [(&["check"][..], &quarrel), (&["repair", "-o", "new.img"], &decided), (&["repair", "--in-place", "--dry-run"], &decided)];
    for (command, members) in commands {
        let first = lab.quorum_img(command).args(["--report", "r.json"]).args(members).output();
        let again = lab.quorum_img(["report", "r.json"]).exits(0);
        // Comments stand behind commands for people alone, and so does what goes to standard error.
        let plain = |text: String| text.lines().map(|line| line.split("   # ").next().unwrap_or(line).to_owned()).collect::<Vec<_>>();
        assert_eq!(plain(again.stdout()), plain(first.stdout()), "{first}\n{again}");
    }
    let json = lab.quorum_img(["report", "--output", "json", "r.json"]).exits(0);
    assert_eq!(json.stdout.as_slice(), lab.bytes(&lab.path("r.json")), "to the letter");
}

#[test]
fn what_is_no_report_is_refused() {
    let lab = Lab::new();
    lab.file("text", "hello");
    lab.file("other.json", "{\"schema\": 7}");
    lab.file("list.json", "[1]");
    let members = quarrel(&lab);
    lab.quorum_img(["check", "--report", "failed.json", "gone.img"]).args(&members).exits(3);
    lab.quorum_img(["report", "failed.json"]).exits(0).says("That run failed, with exit code 3: gone.img: can't be opened");
    lab.quorum_img(["report", "failed.json", "--html", "failed.html"]).exits(3).complains("is of a run that failed");
    for (name, why) in [
        ("text", "is no report"),
        ("other.json", "has schema 7"),
        ("list.json", "is no report"),
        ("gone", "can't be opened"),
        (".", "no file"),
    ] {
        let run = lab.quorum_img(["report", name]).exits(3);
        assert!(run.stderr().contains(why) && run.stderr().contains("hint: "), "{name}: {run}");
    }
}

fn make_page(lab: &Lab, members: &[PathBuf]) -> Run {
    lab.quorum_img(["check", "--report", "r.json"]).args(members).output();
    lab.quorum_img(["report", "r.json", "--html", "r.html"])
}

#[test]
fn a_page_takes_the_place_of_pages_alone() {
    let lab = Lab::new();
    let members = quarrel(&lab);
    make_page(&lab, &members).exits(0);
    let first = lab.bytes(&lab.path("r.html"));
    lab.quorum_img(["report", "r.json", "--html", "r.html", "--hex"]).args(&members).exits(0);
    let page = String::from_utf8(lab.bytes(&lab.path("r.html"))).expect("a page is text");
    assert!(page.len() > first.len() && page.contains("What the members hold") && page.contains("0000c800 "), "{page}");
    for (target, bytes) in [("mine.txt", "a diary"), ("r.json", "")] {
        if !bytes.is_empty() {
            lab.file(target, bytes);
        }
        let before = lab.bytes(&lab.path(target));
        lab.quorum_img(["report", "r.json", "--html", target]).exits(3).complains("something else than a page");
        assert_eq!(lab.bytes(&lab.path(target)), before);
    }
    lab.quorum_img(["report", "r.json", "--html", "x.html", "--hex"])
        .arg(&members[0])
        .exits(3)
        .complains("--hex: the report is of 3 members");
}

/// A name is text, whatever it holds; and nothing on the page leads anywhere.
#[test]
fn no_markup_of_a_name_comes_through() {
    let lab = Lab::new();
    let mut members = quarrel(&lab);
    let hostile = lab.path("<img src=http:x onerror=alert(1)>\"'&\u{1b}[31m\u{202e}.img");
    std::fs::rename(&members[1], &hostile).expect("a rename");
    members[1] = hostile;
    make_page(&lab, &members).exits(0);
    let page = String::from_utf8(lab.bytes(&lab.path("r.html"))).expect("a page is text");
    assert!(page.contains("&lt;img src=http:x onerror=alert(1)&gt;&quot;&#39;&amp;\\u{1b}[31m\\u{202e}.img"), "{page}");
    let body = &page[page.find("<body>").expect("a body")..];
    assert!(!body.contains("<img") && !page.chars().any(|c| c.is_control() && c != '\n'), "{page}");
    assert!(!page.contains("src=\"") && !page.contains("href=") && !page.contains("url("), "it asks for nothing");
}

/// In a real browser: all is seen at 400 and at 1600 pixels, the script runs, and a name with markup in it stays text.
#[test]
fn a_browser_renders_it() {
    if !needs("chromium") {
        return;
    }
    let lab = Lab::new();
    let mut members = quarrel(&lab);
    let hostile = lab.path("<img src=x onerror=document.title='owned'>.img");
    std::fs::rename(&members[1], &hostile).expect("a rename");
    members[1] = hostile;
    make_page(&lab, &members).exits(0);
    for width in [400u64, 1600] {
        // Chromium has no window as narrow as a telephone's, but frames of any width.
        let script = "const page = document.querySelector('iframe'); page.onload = () => { const it = page.contentDocument; it.getElementById('in').click(); \
                      document.title = JSON.stringify({ inner: page.contentWindow.innerWidth, scroll: it.documentElement.scrollWidth, where: it.getElementById('where').textContent, \
                      title: it.title, shown: it.querySelectorAll('.part').length }); document.body.textContent = document.title; };";
        lab.file(
            "frame.html",
            format!("<body><iframe width={width} height=900 style='border:0'></iframe><script>{script} page.src = 'r.html';</script>"),
        );
        let run = lab
            .program("chromium")
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--allow-file-access-from-files",
                "--virtual-time-budget=5000",
                "--log-net-log=net.json",
                "--dump-dom",
            ])
            .arg(lab.path("frame.html"))
            .env("HOME", lab.folder().to_str().expect("text"))
            .exits(0);
        let text = run.stdout();
        let said = text.split("<title>").nth(1).and_then(|rest| rest.split("</title>").next()).unwrap_or_else(|| panic!("no title\n{run}"));
        let said: Value = serde_json::from_str(said).unwrap_or_else(|error| panic!("{error}: {said}\n{run}"));
        assert!(said["inner"] == width && said["scroll"].as_u64() <= Some(width), "nothing overflows\n{said}");
        assert!(said["title"].as_str().is_some_and(|title| title.contains("has no winner")), "{said}");
        assert!(
            said["where"].as_str().is_some_and(|text| text.starts_with("0x")) && said["shown"].as_u64() > Some(0),
            "the script ran\n{said}"
        );
        let log = String::from_utf8_lossy(&lab.bytes(&lab.path("net.json"))).into_owned();
        // The browser asks for things of its own; what a page asks for says that it comes from one.
        let left = log.lines().find(|line| line.contains("\"initiator\":\"file:") && line.contains("\"url\":\"http"));
        assert_eq!(left, None, "a request left the page");
    }
}

/// A million divergences make a page that opens.
#[test]
fn a_long_list_makes_a_short_page() {
    let lab = Lab::new();
    let members: [PathBuf; 3] = lab.copies("disk.img", 8 * MIB);
    lab.quorum_img(["check", "--report", "r.json"]).args(&members).exits(0);
    let mut report: Value = serde_json::from_slice(&lab.bytes(&lab.path("r.json"))).expect("a report");
    report["size"] = json!(1u64 << 40);
    let row = |at: u64| json!({ "offset": at << 20, "length": 512, "verdict": "decided", "versions": [{ "members": [0, 2] }, { "members": [1] }], "unreadable": [], "absent": [] });
    report["divergences"] = (0..1_000_000).map(row).collect();
    lab.file("long.json", serde_json::to_vec(&report).expect("JSON"));
    lab.quorum_img(["report", "long.json", "--html", "long.html"]).exits(0);
    let page = lab.bytes(&lab.path("long.html"));
    assert!(page.len() < 5 << 20, "{} bytes", page.len());
    assert!(String::from_utf8_lossy(&page).contains("The first 5000; 995000 more are in the report itself."));
}

/// Values that a report could hold, and those that it couldn't.
fn odd() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        Just(json!(u64::MAX)),
        Just(json!(0)),
        Just(json!(-1)),
        Just(json!(1e300)),
        Just(json!("")),
        Just(json!(".T.")),
        Just(json!("<b>\u{1b}[2J\u{9b}\u{202e}")),
        Just(json!([])),
        Just(json!({})),
        Just(json!([[["x"]]])),
        Just(json!([u64::MAX, 63, 64])),
    ]
}

/// Puts `value` in the place that `steps` lead to.
fn mutate(report: &mut Value, steps: &[usize], value: Value) {
    let mut place = report;
    for &step in steps {
        let count = match &*place {
            Value::Array(list) => list.len(),
            Value::Object(map) => map.len(),
            _ => 0,
        };
        if count == 0 {
            break;
        }
        place = match place {
            Value::Array(list) => &mut list[step % count],
            Value::Object(map) => map.values_mut().nth(step % count).expect("one of them"),
            _ => unreachable!("it has parts"),
        };
    }
    *place = value;
}

/// A report of each command.
fn samples() -> Vec<Value> {
    let lab = Lab::new();
    let members = quarrel(&lab);
    let commands = [&["check"][..], &["repair", "-o", "new.img", "--undecided", "zero"], &["repair", "--in-place", "--dry-run"]];
    commands.iter().map(|command| lab.quorum_img(*command).args(["--output", "json"]).args(&members).output().json()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever a report says, showing it ends, and neither markup nor a control character comes through.
    #[test]
    fn hostile_reports_do_no_harm(which in 0usize..3, steps in prop::collection::vec((prop::collection::vec(0usize..40, 1..5), odd()), 1..6)) {
        static SAMPLES: std::sync::OnceLock<Vec<Value>> = std::sync::OnceLock::new();
        let mut report = SAMPLES.get_or_init(samples)[which].clone();
        for (path, value) in steps {
            mutate(&mut report, &path, value);
        }
        let bytes = serde_json::to_vec(&report).expect("JSON");
        let (mut listed, mut map) = (Vec::new(), Map::finer(64, 1 << 14));
        let Ok(mut report) = read_report(&bytes[..], &mut |there| { map.add_listed(&there); listed.push(there); }) else { return Ok(()) };
        prop_assume!(report.members.len() <= 64);
        map.rows.truncate(report.members.len());
        let map = map.covering(report.size);
        let made = page(&report, &PageParts { listed: &listed, omitted: 0, map: &map, hex: &[] });
        prop_assert!(!made.contains("<b>") && !made.chars().any(|c| quorum_img::member::is_heeded(c) && c != '\n'));
        report.divergences = Listed::Kept(listed);
        for order in [Order::VerdictFirst, Order::VerdictLast { columns: 60 }] {
            let mut shown = Vec::new();
            render(&report, order, Some(Drawing { columns: 60, blocks: false }), &mut shown).expect("a vector takes all");
            // Without the colours, and nothing else: what a name brings in stays to be seen.
            let shown = String::from_utf8_lossy(&shown).into_owned();
            let plain: String = shown.split("\u{1b}[").enumerate().map(|(part, text)| match (part, text.split_once('m')) {
                (1.., Some((code, rest))) if code.bytes().all(|byte| byte.is_ascii_digit() || byte == b';') => rest.to_owned(),
                (0, _) => text.to_owned(),
                _ => format!("\u{1b}[{text}"),
            }).collect();
            prop_assert!(!plain.chars().any(|c| quorum_img::member::is_heeded(c) && c != '\n'), "{shown:?}");
        }
    }
}

/// A report from elsewhere brings no escape codes, and no command of another program.
#[test]
fn a_report_from_elsewhere_is_shown_harmlessly() {
    let lab = Lab::new();
    let members = quarrel(&lab);
    lab.quorum_img(["check", "--report", "r.json"]).args(&members).exits(2);
    let mut report: Value = serde_json::from_slice(&lab.bytes(&lab.path("r.json"))).expect("a report");
    let evil = "x\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}";
    for key in ["name", "conclusion", "format", "modified"] {
        report["members"][1][key] = json!(evil);
    }
    report["members"][1]["partitions"] = json!([evil]);
    report["partitions"] = json!([{ "label": evil, "offset": 0, "length": 4096 }]);
    report["warnings"] = json!([evil]);
    report["divergences"][0]["partition"] = json!(evil);
    report["next"] = json!(["rm", "-rf", "/"]);
    lab.file("evil.json", serde_json::to_string(&report).expect("JSON"));
    for line in [&["report", "evil.json", "--picture", "always"][..], &["report", "evil.json", "--output", "json"]] {
        let run = lab.quorum_img(line).exits(0);
        support::refusal::assert_clean(&run);
        assert!(line.len() == 3 && line[2] == "json" || !run.stdout().contains("rm -rf"), "{run}");
    }
    if !needs("mkfifo") {
        return;
    }
    lab.program("mkfifo").arg("fifo").exits(0);
    lab.quorum_img(["report", "fifo"]).exits(3).complains("this is no file");
}

/// Named in another order, one member's bytes stood under another's name, in a page that is sent around.
#[test]
fn members_of_a_page_are_taken_by_name() {
    let lab = Lab::new();
    let members = quarrel(&lab);
    lab.quorum_img(["check", "--report", "r.json"]).args(&members).exits(2);
    lab.quorum_img(["report", "r.json", "--html", "one.html", "--hex"]).args(&members).exits(0);
    lab.quorum_img(["report", "r.json", "--html", "two.html", "--hex"]).args([&members[2], &members[0], &members[1]]).exits(0);
    let page = String::from_utf8(lab.bytes(&lab.path("one.html"))).expect("text");
    assert_eq!(page.as_bytes(), lab.bytes(&lab.path("two.html")));
    assert!(page.contains("A: #"), "members are called as everywhere: {page}");
    let other = lab.file("other.img", "short");
    lab.quorum_img(["report", "r.json", "--html", "x.html", "--hex"])
        .args([&members[0], &members[1], &other])
        .exits(3)
        .complains("has 5 bytes");
    let page = String::from_utf8(lab.bytes(&lab.path("one.html"))).expect("text");
    assert!(page.contains("What to run next") && page.contains("# nobody won there"), "the condition stands with the command: {page}");
}
