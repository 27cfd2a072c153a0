//! Digests against those who hash whole files, and what a witness costs a check.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    contest::{Cache, Contest, Contestant},
    data::{self, Kind, Trio},
    machine::Outcome,
    races::{Lab, Target},
};

/// Of one image, in the page cache.
pub fn made(lab: &mut Lab) -> Outcome<()> {
    let trio = lab.sets.trio(Kind::LargeWrites);
    let one = &trio[..1];
    let out = lab.sets.dir().join("race.qdg");
    let mut contest = Contest::new(lab.title("digest", "one image", "in the page cache"), Cache::Warm);
    let ours = |who: &str, hash: &str| {
        let arguments: [&dyn AsRef<OsStr>; 9] = [&"digest", &"-q", &"--force", &"overwrite", &"--hash", &hash, &"-o", &out, &one[0]];
        Contestant::new(who, one).step(0, &lab.program, &arguments)
    };
    let blake3 = contest.add(ours("quorum-img digest", "blake3"));
    let xxh3 = contest.add(ours("quorum-img digest --hash xxh3", "xxh3"));
    let peer = |program: &str, arguments: &[&dyn AsRef<OsStr>]| Contestant::new(program, one).step(0, program, arguments);
    let (b3sum, xxhsum) = (lab.peers.b3sum.is_some(), lab.peers.xxhsum.is_some());
    contest.add_peer(b3sum, peer("b3sum", &[&one[0]]));
    contest.add_peer(b3sum, peer("b3sum", &[&"--num-threads", &"1", &one[0]]).named("b3sum --num-threads 1"));
    contest.add_peer(xxhsum, peer("xxhsum", &[&"-H2", &one[0]]).named("xxhsum -H2"));
    contest.note("A digest is written, synced and keeps a value for each 64 KiB; the others print one for all.");
    let times = lab.hold(&contest);
    data::remove_if_there(&out)?;
    let ratio = times?.ratio(blake3, xxh3);
    lab.targets.push(Target { what: format!("digest by BLAKE3 against XXH3: {ratio:.2}"), met: None });
    Ok(())
}

/// What a check pays for a witness, in the page cache and from the disk.
pub fn heard(lab: &mut Lab) -> Outcome<()> {
    let trio = lab.sets.trio(Kind::LargeWrites);
    let digest: PathBuf = lab.sets.dir().join("race.qdg");
    data::remove_if_there(&digest)?;
    let made = Command::new(&lab.program).args(["digest", "-q", "-o"]).arg(&digest).args(&trio).status()?;
    if !made.success() {
        return Err(format!("digest: {made}").into());
    }
    let held = heard_with(lab, &trio, &digest);
    data::remove_if_there(&digest)?;
    held
}

fn heard_with(lab: &mut Lab, trio: &Trio, digest: &Path) -> Outcome<()> {
    for (state, cache, label) in [("in the page cache", Cache::Warm, "warm"), ("caches dropped before each run", Cache::Cold, "cold")] {
        let [a, b, c] = trio;
        let mut contest = Contest::new(lab.title("witness", "three images and a digest", state), cache);
        let plain = contest.add(lab.check("quorum-img check A B C", 0, &[], trio));
        let arguments: [&dyn AsRef<OsStr>; 6] = [&"check", &"-q", a, b, c, &digest];
        let ours = contest.add(Contestant::new("quorum-img check A B C DIGEST", trio).step(0, &lab.program, &arguments));
        let arguments: [&dyn AsRef<OsStr>; 5] = [&"check", &"-q", a, b, &digest];
        contest.add(Contestant::new("quorum-img check A B DIGEST", trio).step(0, &lab.program, &arguments));
        let times = lab.hold(&contest)?;
        let what = format!("a witness, {label}: {:.2} of a check without", times.ratio(ours, plain));
        lab.targets.push(Target { what, met: None });
    }
    Ok(())
}

/// What a check pays for being remembered: the digest of each part, made or heard, and the record.
pub fn remembered(lab: &mut Lab) -> Outcome<()> {
    let trio = lab.sets.trio(Kind::LargeWrites);
    let folder = lab.sets.dir().join("set");
    let _ = fs::remove_dir_all(&folder); // what is left of a run that was cut off
    fs::create_dir(&folder)?;
    let set = folder.join("race.qset");
    let held = remembered_in(lab, &trio, &set);
    // Another run's set is one of other members.
    for member in &trio {
        xattr::remove(member, "user.quorum-img").ok();
    }
    fs::remove_dir_all(&folder)?;
    held
}

fn remembered_in(lab: &mut Lab, trio: &Trio, set: &Path) -> Outcome<()> {
    let made = Command::new(&lab.program).args(["set", "create", "-q"]).arg(set).args(trio).status()?;
    if !made.success() {
        return Err(format!("set create: {made}").into());
    }
    for (state, cache, label) in [("in the page cache", Cache::Warm, "warm"), ("caches dropped before each run", Cache::Cold, "cold")] {
        let mut contest = Contest::new(lab.title("set", "three images", state), cache);
        let plain = contest.add(lab.check("quorum-img check A B C", 0, &[], trio));
        let arguments: [&dyn AsRef<OsStr>; 5] = [&"set", &"check", &"-q", &"--restart", &set];
        let ours = contest.add(Contestant::new("quorum-img set check --restart SET", trio).step(0, &lab.program, &arguments));
        let times = lab.hold(&contest)?;
        let what = format!("a set's check, {label}: {:.2} of a check of its members", times.ratio(ours, plain));
        lab.targets.push(Target { what, met: None });
    }
    Ok(())
}
