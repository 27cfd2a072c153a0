//! More members than three.

use std::{ffi::OsStr, fs, path::PathBuf};

use super::{
    contest::{Cache, Contest, Contestant},
    data::{self, Kind},
    machine::{self, Outcome},
    races::{Lab, Target},
};

/// How many members.
const COUNTS: [usize; 5] = [3, 9, 16, 32, 64];
/// The least share of the ceiling for as many, in percent.
const SHARE_MIN: f64 = 90.0;

/// Up to as many as may vote, on parts of a file that all together fit into memory.
pub fn members(lab: &mut Lab) -> Outcome<()> {
    let folder = lab.sets.dir().join("many");
    _ = fs::remove_dir_all(&folder); // of a race that was killed
    fs::create_dir(&folder)?;
    let held = held_in(lab, &folder);
    fs::remove_dir_all(&folder)?;
    held
}

fn held_in(lab: &mut Lab, folder: &std::path::Path) -> Outcome<()> {
    let [original, ..] = lab.sets.trio(Kind::LargeWrites);
    let bytes = (lab.options.size_bytes / 16).max(16 << 20).min(lab.options.size_bytes);
    let most = COUNTS[COUNTS.len() - 1];
    let files: Vec<PathBuf> = (0..most).map(|number| folder.join(format!("{number}.img"))).collect();
    for file in &files {
        machine::go_on()?;
        data::copy_part(&original, file, bytes)?;
    }
    for count in COUNTS {
        let mut contest = Contest::new(format!("members: {count} images of {} MiB, in the page cache", bytes >> 20), Cache::Warm);
        let some = &files[..count];
        let mut arguments: Vec<&dyn AsRef<OsStr>> = vec![&"check", &"-q"];
        arguments.extend(some.iter().map(|file| file as &dyn AsRef<OsStr>));
        let ours = contest.add(Contestant::new("quorum-img check", some).step(0, &lab.program, &arguments));
        let threads = lab.threads.to_string();
        let mut arguments: Vec<&dyn AsRef<OsStr>> = vec![&"--ceiling", &threads];
        arguments.extend(some.iter().map(|file| file as &dyn AsRef<OsStr>));
        let ceiling = contest.add_ceiling(Contestant::new("ceiling (mmap + memcmp)", some).step(0, &lab.itself, &arguments));
        let times = lab.hold(&contest)?;
        let share = 100.0 * times.ratio(ceiling, ours);
        let what = format!("{count} members: {share:.0} % of the ceiling's speed (target at least {SHARE_MIN})");
        lab.targets.push(Target { what, met: Some(share >= SHARE_MIN) });
        lab.limit(format!("{count} members, warm"), "memory", times.ratio(ours, ceiling));
    }
    Ok(())
}
