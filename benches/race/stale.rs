//! One of three differs everywhere: it is stale, or of another disk.

use std::ffi::OsStr;

use super::{
    contest::{Cache, Contest, Contestant},
    data::{self, Kind, Trio},
    machine::Outcome,
    races::{Lab, Target},
};

/// The most that a check may take, in times of one of three that are alike.
const CHECK_RATIO_MAX: f64 = 2.5;

/// A check of it, and a repair that writes all of it anew.
pub fn check_and_repair(lab: &mut Lab) -> Outcome<()> {
    let clean = lab.sets.trio(Kind::LargeWrites);
    let [other, ..] = lab.sets.trio(Kind::Other);
    let [a, b, _] = &clean;
    let trio: Trio = [a.clone(), b.clone(), other];
    let title = lab.title("stale", "three images", "one of which differs everywhere, in the page cache");
    let mut contest = Contest::new(title, Cache::Warm);
    let ours = contest.add(lab.check("quorum-img check", 2, &[], &trio));
    let alike = contest.add(lab.check("quorum-img check, all alike", 0, &[], &clean));
    let times = lab.hold(&contest)?;
    let ratio = times.ratio(ours, alike);
    let what = format!("one member different everywhere against all alike: {ratio:.2} (target at most {CHECK_RATIO_MAX})");
    lab.targets.push(Target { what, met: Some(ratio <= CHECK_RATIO_MAX) });
    lab.limit("one different everywhere, warm".into(), "memory (a check of three alike)", ratio);

    let out = lab.sets.dir().join("race-stale.img");
    let title = lab.title("stale, repair", "the same", "to a new image");
    let mut contest = Contest::new(title, Cache::Warm);
    let arguments: [&dyn AsRef<OsStr>; 9] = [&"repair", &"-q", &"--force", &"stale", &"-o", &out, &trio[0], &trio[1], &trio[2]];
    let ours = Contestant::new("quorum-img repair --force stale -o OUT", &trio).step(0, &lab.program, &arguments);
    let ours = contest.add(ours.writes(&out).proves_clean(lab.options.size_bytes));
    let copy = Contestant::new("cp A OUT; sync OUT; read OUT past the page cache", &trio)
        .step(0, "cp", &[&trio[0], &out])
        .step(0, "sync", &[&out])
        .step(0, "dd", &[&format!("if={}", out.display()), &"of=/dev/null", &"bs=4M", &"iflag=direct", &"status=none"]);
    let copy = contest.add(copy.writes(&out));
    let times = lab.hold(&contest);
    data::remove_if_there(&out)?;
    lab.limit("repair of it to a new image".into(), "disk (cp, sync, read back)", times?.ratio(ours, copy));
    Ok(())
}
