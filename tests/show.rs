//! `quorum-img show`: what each member holds at a place.

#[path = "support/mod.rs"]
mod support;

use support::{Lab, MIB, noise};

/// Three copies: one sector in which nobody agrees, and damages of one copy each.
fn quarrel(lab: &Lab) -> [std::path::PathBuf; 3] {
    let good = noise(21, MIB as usize);
    let (mut a, mut b, mut c) = (good.clone(), good.clone(), good);
    a[0x4_0010] = a[0x4_0010].wrapping_add(1);
    b[0x4_0010] = b[0x4_0010].wrapping_add(2);
    b[0x8000] ^= 0x20;
    c[0x1_0000..0x1_2000].fill(0);
    [("a.img", a), ("b.img", b), ("c.img", c)].map(|(name, bytes)| lab.file(name, &bytes))
}

/// Nobody could look at a place where nobody won: check said so, and proposed a guess.
#[test]
fn where_nobody_won_check_leads_to_show_and_show_to_the_decision() {
    let lab = Lab::new();
    let members = quarrel(&lab);
    let check = lab.quorum_img(["check"]).args(&members).exits(2);
    let next = check.stdout().lines().find_map(|line| line.strip_prefix("next: ").map(str::to_owned)).expect("something leads on");
    assert!(
        next.starts_with("quorum-img show 0x40000:512 ") && next.contains("#1 lost 1 other sector, #2 lost 16 other sectors"),
        "{next}"
    );
    let show = lab.quorum_img(["show", "0x40010"]).args(&members).exits(2);
    for text in ["0x40000, 512 B: nobody has won", "  A  #0 ", "  C  #2 ", " beside A", "next: quorum-img repair --pick '0x40000:512=#0'"] {
        assert!(show.stdout().contains(text), "{text}: {show}");
    }
    assert_eq!(show.stdout().lines().filter(|line| line.starts_with("00040010")).count(), 1, "{show}");
    assert!(show.stdout().lines().all(|line| line.contains("quorum-img ") || line.len() <= 80), "{show}");
}

#[test]
fn who_holds_what_and_what_it_looks_like() {
    let lab = Lab::new();
    let members = quarrel(&lab);
    let zeroed = lab.quorum_img(["show", "0x10000:64k"]).args(&members).exits(1);
    let said = zeroed.stdout();
    assert!(said.contains("0x10000, 8 KiB: decided: A has won") && said.contains("  A  #0 ") && said.contains(": zeros"), "{zeroed}");
    let flip = lab.quorum_img(["show", "0x8000:512"]).args(&members).exits(1);
    assert!(flip.stdout().contains("1 flipped bit") && flip.stdout().contains("lines of 16 bytes left out: 31 that are alike"), "{flip}");
    let alike = lab.quorum_img(["show", "0"]).args(&members).exits(0);
    assert!(alike.stdout().contains("0x0, 512 B: all members agree") && !alike.stdout().contains("next:"), "{alike}");
}

/// Programs get the very bytes, and all places of a report come with those first that nobody won.
#[test]
fn a_report_leads_to_its_places() {
    let lab = Lab::new();
    let members = quarrel(&lab);
    lab.quorum_img(["check", "--report", "list.json"]).args(&members).exits(2);
    let run = lab.quorum_img(["show", "--from", "list.json", "--output", "json"]).args(&members).exits(2);
    let shown = run.json();
    let places = shown["places"].as_array().expect("places");
    let offsets: Vec<u64> = places.iter().filter_map(|place| place["offset"].as_u64()).collect();
    assert_eq!(offsets, [0x4_0000, 0x8000, 0x1_0000], "{run}");
    let held = lab.bytes(&members[1])[0x4_0000..0x4_0200].iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    assert_eq!(places[0]["contents"][1]["bytes"], serde_json::json!(held));
    assert_eq!(places[2]["contents"][1]["looks"]["looks"], "zeroed");
    let one = lab.quorum_img(["show", "--from", "list.json", "--places", "1"]).args(&members).exits(2);
    assert!(one.stdout().contains("and 2 places more: --places shows more of them."), "{one}");
}

/// A partition and its file system are told, and what can't be a place says how to name one.
#[test]
fn a_place_has_an_owner() {
    let lab = Lab::new();
    let shipped = ["a.img", "b.img", "c.img"].map(|name| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name));
    let run = lab.quorum_img(["show", "0xc400"]).args(&shipped).exits(1);
    assert!(run.stdout().contains("partition 2 (root)"), "{run}");
    for (place, why) in [("nowhere", "nowhere: is no place"), ("0:", "0:: is no place"), ("5G", "does not lie within the image")] {
        let run = lab.quorum_img(["show", place]).args(&shipped).exits(3);
        assert!(run.stderr().contains(why) && run.stderr().contains("hint:"), "{run}");
    }
}

/// The list of divergences is capped, and what nobody won lay behind its end: a guess was proposed.
#[test]
fn what_nobody_won_is_led_to_however_long_the_list_is() {
    let lab = Lab::new();
    let members = quarrel(&lab);
    let run = lab.quorum_img(["check", "--max-divergences", "0"]).args(&members).exits(2);
    run.says("next: quorum-img show 0x40000:512 ").says_nothing_of("--undecided marker");
}

/// Where a guard stands, `show` led on as if there were none; and what changed since the report was made wasn't told.
#[test]
fn a_list_is_shown_with_its_guards() {
    let lab = Lab::new();
    let [old, new] = ["ext4-disk-old", "ext4-disk-new"].map(support::disks::bytes);
    let members = [("a.img", &old), ("b.img", &new), ("c.img", &old)].map(|(name, bytes)| lab.file(name, bytes));
    lab.quorum_img(["check", "--report", "list.json"]).args(&members).exits(2);
    let run = lab.quorum_img(["show", "--from", "list.json", "--places", "1", "--lines", "1"]).args(&members).exits(2);
    run.says("In the way of a repair (newer)").says("--trust '#1'");
    lab.flip_bit(&members[0], 77);
    lab.quorum_img(["show", "--from", "list.json"]).args(&members).output().complains("was modified since it was made");
    let failed = lab.quorum_img(["show", "--output", "json", "5G"]).args(&members).exits(3);
    assert!(failed.json()["error"]["message"].as_str().is_some_and(|text| text.starts_with("the place ")), "{failed}");
}

/// What was never read voted, once the report's own mapfiles weren't given again.
#[test]
fn a_report_with_fillers_wants_them_again() {
    let lab = Lab::new();
    let members = quarrel(&lab);
    lab.quorum_img(["check", "--filler", "0xf6", "--report", "list.json"]).args(&members).exits(2);
    lab.quorum_img(["repair", "--from", "list.json", "-o", "x.img"]).args(&members).exits(3).complains("--filler and --mapfile");
    lab.quorum_img(["show", "--from", "list.json", "--filler", "0xf6"]).args(&members).exits(2);
}
