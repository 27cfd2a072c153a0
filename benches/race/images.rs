//! The races of qcow2 images.

use std::ffi::OsStr;

use super::{
    contest::{Cache, Contest, Contestant},
    data::{Kind, Trio},
    machine::Outcome,
    races::{Lab, Target},
};

/// The least share of the speed on raw images, in percent.
const RAW_SHARE_MIN: f64 = 90.0;
/// How many times faster than `qemu-img compare` twice.
const COMPARE_TIMES_MIN: f64 = 3.0;
/// The same where clusters must be inflated.
const INFLATED_TIMES_MIN: f64 = 2.0;

/// `qemu-img compare` of qcow2 images: the first with each of the others.
fn compare([a, b, c]: &Trio) -> Contestant {
    let step = |contestant: Contestant, other| {
        let arguments: [&dyn AsRef<OsStr>; 7] = [&"compare", &"-f", &"qcow2", &"-F", &"qcow2", a, other];
        contestant.step(0, "qemu-img", &arguments)
    };
    step(step(Contestant::new("qemu-img compare A B, A C", &[a.clone(), b.clone(), c.clone()]), b), c)
}

/// Clusters as they are, beside the same bytes in raw images.
pub fn stored(lab: &mut Lab) -> Outcome<()> {
    let (raw, images) = (lab.sets.trio(Kind::Converted), lab.sets.trio(Kind::Qcow2));
    let mut contest = Contest::new(lab.title("qcow2", "three images", "alike, clusters of 64 KiB, in the page cache"), Cache::Warm);
    let ours = contest.add(lab.check("quorum-img check -f qcow2", 0, &["-f", "qcow2"], &images));
    let plain = contest.add(lab.check("quorum-img check -f raw, the same bytes by qemu-img", 0, &["-f", "raw"], &raw));
    let peer = contest.add(compare(&images));
    let times = lab.hold(&contest)?;
    let share = 100.0 * times.ratio(plain, ours);
    let what = format!("qcow2 against raw: {share:.0} % of the speed (target at least {RAW_SHARE_MIN})");
    lab.targets.push(Target { what, met: Some(share >= RAW_SHARE_MIN) });
    lab.limit("qcow2, warm".into(), "memory (the same bytes raw)", times.ratio(ours, plain));
    note(lab, "qcow2", times.ratio(peer, ours), COMPARE_TIMES_MIN);
    Ok(())
}

/// Clusters that must be inflated by zlib.
pub fn zlib(lab: &mut Lab) -> Outcome<()> {
    compressed(lab, "qcow2-zlib", Kind::Zlib)
}

/// And by zstd.
pub fn zstd(lab: &mut Lab) -> Outcome<()> {
    compressed(lab, "qcow2-zstd", Kind::Zstd)
}

fn compressed(lab: &mut Lab, race: &str, kind: Kind) -> Outcome<()> {
    let images = lab.sets.trio(kind);
    let mut contest = Contest::new(lab.title(race, "three images", "all compressed, in the page cache"), Cache::Warm);
    let ours = contest.add(lab.check("quorum-img check -f qcow2", 0, &["-f", "qcow2"], &images));
    let alone = contest.add(lab.check("quorum-img check -f qcow2 -j 1", 0, &["-f", "qcow2", "-j", "1"], &images));
    let peer = contest.add(compare(&images));
    contest.note("compare inflates four images, check three.");
    let times = lab.hold(&contest)?;
    lab.targets.push(Target { what: format!("{race}, two threads against one: {:.2} times", times.ratio(alone, ours)), met: None });
    lab.limit(format!("{race}, warm"), "processors (two threads of one's speed)", times.ratio(ours, alone) * lab.threads as f64);
    note(lab, race, times.ratio(peer, ours), INFLATED_TIMES_MIN);
    Ok(())
}

fn note(lab: &mut Lab, race: &str, times: f64, least: f64) {
    let what = format!("{race} against qemu-img compare twice: {times:.1} times faster (target at least {least:.0})");
    lab.targets.push(Target { what, met: Some(times >= least) });
}
