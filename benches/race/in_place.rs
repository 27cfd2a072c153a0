//! The races of the repair in place, whose contestants change their data: each begins with the same damage in the same cache.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    rc::Rc,
};

use super::{
    contest::{Cache, Contest, Contestant},
    data::{self, Kind, SECTOR_BYTES, Trio},
    machine::{self, Outcome},
    races::{Lab, Target},
    write_ceiling::BLOCK_BYTES,
};

/// Of so many sectors at most one is bad, however short the image: more, and ours would take the member for stale.
const SECTORS_A_BAD_ONE: u64 = 40;
/// The most that few bad sectors may take, in times of a check plus the least writing.
const FEW_RATIO_MAX: f64 = 1.2;
/// The most that many bad sectors may take beside a check, in times of the least writing.
const MANY_RATIO_MAX: f64 = 2.0;

/// Hardly more than a check.
pub fn few(lab: &mut Lab) -> Outcome<()> {
    in_place(lab, "in-place-1000", 1000, |label, [ours, check, ceiling]| {
        let ratio = ours / (check + ceiling);
        (format!("{label} against check plus write ceiling"), ratio, FEW_RATIO_MAX)
    })
}

/// Bound by the writing.
pub fn many(lab: &mut Lab) -> Outcome<()> {
    in_place(lab, "in-place-100000", 100_000, |label, [ours, check, ceiling]| {
        let ratio = (ours - check) / ceiling;
        (format!("{label} less check against write ceiling"), ratio, MANY_RATIO_MAX)
    })
}

/// The files of a race.
struct Field {
    trio: Trio,
    /// Where the third's bad sectors are.
    bad: Vec<u64>,
    /// Ours, and what stands for it.
    journal: PathBuf,
    /// What the write ceiling writes: [`Field::blocks`].
    offsets: PathBuf,
}

impl Field {
    /// Puts the damage into the third image, whatever it holds, and has everything synced and in the page cache. The first image is
    /// never written to, and tells what the damage is. The third is as old as the first: one that is newer than those that outvote
    /// it is refused where it differs in so much.
    fn damage(&self) -> Outcome<()> {
        machine::go_on()?;
        machine::read_data(&self.trio)?; // or each sector would be read for itself
        let [good, _, bad] = &self.trio;
        let (good, bad) = (File::open(good)?, OpenOptions::new().write(true).open(bad)?);
        let mut sector = [0; SECTOR_BYTES as usize];
        for &offset in &self.bad {
            good.read_exact_at(&mut sector, offset)?;
            sector = sector.map(|byte| !byte);
            bad.write_all_at(&sector, offset)?;
        }
        bad.set_modified(good.metadata()?.modified()?)?;
        bad.sync_all()?;
        Ok(())
    }

    /// The bad blocks' offsets.
    fn blocks(&self) -> Vec<u64> {
        let mut blocks: Vec<u64> = self.bad.iter().map(|offset| offset / BLOCK_BYTES * BLOCK_BYTES).collect();
        blocks.dedup();
        blocks
    }

    /// Deletes what isn't of the set.
    fn clear(&self) -> Outcome<()> {
        data::remove_if_there(&self.journal)?;
        data::remove_if_there(&self.offsets)?;
        Ok(())
    }
}

/// What one repair wrote.
struct Written {
    /// To the members, as it says itself.
    members: u64,
    /// To the journal, as it says itself.
    journal: u64,
    /// To the device, by anybody, as the kernel says where it can.
    device: Option<u64>,
}

/// One race; `target` makes the target's name, value and limit of the times of ours, the check and the write ceiling.
fn in_place(lab: &mut Lab, name: &str, sectors: u64, target: fn(&str, [f64; 3]) -> (String, f64, f64)) -> Outcome<()> {
    let sectors = sectors.min(lab.options.size_bytes / SECTOR_BYTES / SECTORS_A_BAD_ONE);
    let dir = lab.sets.dir();
    let field = Rc::new(Field {
        trio: lab.sets.trio(Kind::InPlace),
        bad: data::bad_offsets(lab.options.size_bytes, sectors),
        journal: dir.join("race-in-place.journal"),
        offsets: dir.join("race-in-place.offsets"),
    });
    field.clear()?; // of an earlier race that was killed
    let outcome = hold(lab, name, &field, target);
    field.clear()?;
    outcome
}

/// Who runs, and what becomes of it.
fn hold(lab: &mut Lab, name: &str, field: &Rc<Field>, target: fn(&str, [f64; 3]) -> (String, f64, f64)) -> Outcome<()> {
    let blocks = field.blocks();
    fs::write(&field.offsets, blocks.iter().flat_map(|offset| offset.to_ne_bytes()).collect::<Vec<u8>>())?;
    let written = written_by_ours(lab, field)?;

    let [a, b, c] = &field.trio;
    let (journal, journal_bytes) = (&field.journal, written.journal.to_string());
    // Each rewrites pages of the third image or pushes them out, so it is read anew; the others stay as they were made.
    let contestant = |who: &str| rewriting(lab, Contestant::new(who, std::slice::from_ref(c)), field);
    let sectors = field.bad.len();
    let state = format!("{sectors} bad sectors in C, in the page cache");
    let mut contest = Contest::new(lab.title(name, "three images", &state), Cache::Refilled);
    let ours = contest.add(
        contestant("quorum-img repair --in-place")
            .step(0, &lab.program, &[&"repair", &"--in-place", &"-q", &"-y", &"--journal", journal, a, b, c])
            .writes(journal),
    );
    let check = contest.add(damaged_anew(lab.check("quorum-img check", 1, &[], &field.trio).reading(c), field));
    let ceiling = contest.add_ceiling(
        contestant("write ceiling (journal, then 4 KiB O_DIRECT, 32 in flight)")
            .step(0, &lab.itself, &[&"--write-ceiling", &journal_bytes, journal, &field.offsets, a, c])
            .writes(journal),
    );
    let rsync: [&dyn AsRef<std::ffi::OsStr>; 5] = [&"--inplace", &"--no-whole-file", &"--ignore-times", a, c];
    let copy = contestant("rsync --inplace --no-whole-file A C; sync C").step(0, "rsync", &rsync).step(0, "sync", &[c]);
    contest.add_peer(lab.peers.rsync.is_some(), copy.once());
    let convert: [&dyn AsRef<std::ffi::OsStr>; 8] = [&"convert", &"-n", &"-f", &"raw", &"-O", &"raw", a, c];
    let copy = contestant("qemu-img convert -n A C; sync C").step(0, "qemu-img", &convert).step(0, "sync", &[c]);
    contest.add_peer(lab.peers.qemu_img.is_some(), copy);
    contest.note("All damage is in C, so that those who copy A over it have as much to write as need be. They are told which copy is");
    contest.note(
        "good, keep nothing of what they overwrite, and read nothing back; ours finds out, journals, and reads back from the medium.",
    );
    note_written(&mut contest, &written, blocks.len() as u64);
    let times = lab.hold(&contest)?;

    let label = format!("{sectors} bad sectors in place");
    let lanes = [ours, check, ceiling];
    let (what, _, most) = target(&label, lanes.map(|lane| times.median(lane)));
    let ratio = times.of_rounds(lanes, |seconds| target(&label, seconds).1);
    lab.targets.push(Target { what: format!("{what}: {ratio:.2} (target at most {most:.2})"), met: Some(ratio <= most) });
    lab.limit(label, "disk (the least writing)", ratio);
    Ok(())
}

/// Has one begin with the damage.
fn damaged_anew(contestant: Contestant, field: &Rc<Field>) -> Contestant {
    let field = Rc::clone(field);
    contestant.before(move || field.damage())
}

/// The same for one that must leave the third image without it.
fn rewriting(lab: &Lab, contestant: Contestant, field: &Rc<Field>) -> Contestant {
    damaged_anew(contestant, field).rewrites(&field.trio[2]).proves_clean(lab.options.size_bytes)
}

/// One repair of ours that isn't timed.
fn written_by_ours(lab: &Lab, field: &Field) -> Outcome<Written> {
    let program = lab.program.to_str().ok_or("the program's name is not text")?;
    let folder = field.journal.parent().ok_or("a journal without a folder")?;
    field.damage()?;
    machine::run("sync", [Path::new("-f"), folder])?; // what others wrote isn't counted
    let before = machine::device_bytes_written(folder);
    let options = ["repair", "--in-place", "-y", "--output", "json", "--max-divergences", "0", "--journal"].map(Path::new);
    let report =
        machine::run(program, options.into_iter().chain([field.journal.as_path()]).chain(field.trio.iter().map(PathBuf::as_path)))?;
    let after = machine::device_bytes_written(folder);
    data::remove_if_there(&field.journal)?;

    let report: serde_json::Value = serde_json::from_str(&report)?;
    let counted = |key: &str| report["repair"][key].as_u64().ok_or_else(|| format!("no repair.{key} in its report"));
    Ok(Written {
        members: counted("bytes-written")?,
        journal: counted("journal-bytes")?,
        device: before.zip(after).map(|(before, after)| after - before),
    })
}

/// Says what one repair wrote.
fn note_written(contest: &mut Contest, written: &Written, blocks: u64) {
    let mib = |bytes: u64| format!("{:.2} MiB", bytes as f64 / f64::from(1 << 20));
    let (members, journal, least) = (mib(written.members), mib(written.journal), blocks * BLOCK_BYTES);
    contest.note(format!("Ours says that it wrote {members} to C and {journal} of journal. C's bad blocks of 4 KiB are {}.", mib(least)));
    contest.note(match written.device {
        Some(bytes) => format!(
            "The device counted {} during one such run ({:.2} times blocks and journal; whatever else runs here is in it).",
            mib(bytes),
            bytes as f64 / (least + written.journal) as f64
        ),
        None => "What the device wrote is not known: the kernel has no counters for the one that holds the data.".to_owned(),
    });
}
