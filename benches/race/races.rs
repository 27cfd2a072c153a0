//! The races: who runs against whom on what.

use std::{
    ffi::OsStr,
    fmt::{self, Write},
    path::{Path, PathBuf},
};

use super::{
    contest::{Cache, Contest, Contestant, Lane, Times},
    data::{self, BAD_SECTORS, Kind, Sets, Trio},
    digests, far, fio, images, in_place,
    machine::{Outcome, Peers},
    many,
    options::Options,
    stale,
    xfs::Xfs,
};

/// One race.
pub struct Race {
    /// What `--only` calls it.
    pub name: &'static str,
    /// The data it runs on.
    pub needs: &'static [Kind],
    /// Runs it and notes its targets.
    pub run: fn(&mut Lab) -> Outcome<()>,
}

/// All of them, in an order that needs few sets at once, and large writes' folios before `cold` throws them away.
pub const RACES: [Race; 19] = [
    Race { name: "warm", needs: &[Kind::LargeWrites], run: warm },
    Race { name: "warm-cp", needs: &[Kind::LargeWrites, Kind::Copied], run: warm_copied },
    Race { name: "warm-4k", needs: &[Kind::LargeWrites, Kind::SmallWrites], run: warm_small },
    Race { name: "members", needs: &[Kind::LargeWrites], run: many::members },
    Race { name: "stale", needs: &[Kind::LargeWrites, Kind::Other], run: stale::check_and_repair },
    Race { name: "nbd", needs: &[Kind::LargeWrites], run: far::exports },
    Race { name: "damaged", needs: &[Kind::LargeWrites, Kind::Damaged], run: damaged },
    Race { name: "digest", needs: &[Kind::LargeWrites], run: digests::made },
    Race { name: "witness", needs: &[Kind::LargeWrites], run: digests::heard },
    Race { name: "set", needs: &[Kind::LargeWrites], run: digests::remembered },
    Race { name: "cold", needs: &[Kind::LargeWrites], run: cold },
    Race { name: "direct", needs: &[Kind::LargeWrites], run: direct },
    Race { name: "repair", needs: &[Kind::Damaged], run: repair },
    Race { name: "sparse", needs: &[Kind::Sparse, Kind::SparseAsFull], run: sparse },
    Race { name: "qcow2", needs: &[Kind::LargeWrites, Kind::Converted, Kind::Qcow2], run: images::stored },
    Race { name: "qcow2-zlib", needs: &[Kind::Zlib], run: images::zlib },
    Race { name: "qcow2-zstd", needs: &[Kind::Zstd], run: images::zstd },
    Race { name: "in-place-1000", needs: &[Kind::InPlace], run: in_place::few },
    Race { name: "in-place-100000", needs: &[Kind::InPlace], run: in_place::many },
];

/// What every race works with.
pub struct Lab {
    /// The data.
    pub sets: Sets,
    /// Our binary.
    pub program: PathBuf,
    /// This binary, for the ceiling.
    pub itself: PathBuf,
    /// As many as there are cores.
    pub threads: usize,
    /// What the user wants.
    pub options: Options,
    /// Who is there.
    pub peers: Peers,
    /// What was measured for the summary.
    pub targets: Vec<Target>,
    /// What is left of the way to the limits.
    pub limits: Vec<Limit>,
}

/// How close a row came to what the machine can do.
pub struct Limit {
    /// Of what.
    row: String,
    /// What limits it, and who told.
    by: &'static str,
    /// Its time in times of the limit's.
    ratio: f64,
}

/// A figure for the summary.
pub struct Target {
    /// What it is about, its value, and what was promised.
    pub what: String,
    /// Whether it is reached; `None` where nothing was promised.
    pub met: Option<bool>,
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let verdict = match self.met {
            Some(true) => ": met",
            Some(false) => ": MISSED",
            None => "",
        };
        write!(formatter, "{}{verdict}", self.what)
    }
}

/// The least share of the ceiling's speed, in percent.
const CEILING_SHARE_MIN: f64 = 85.0;
/// The most that [`BAD_SECTORS`] may cost, in percent.
const DAMAGE_COST_MAX: f64 = 10.0;
/// The most time for data in islands, in times of that for one piece.
const ISLANDS_RATIO_MAX: f64 = 1.5;
/// The least share of the speed of fio's best way, in percent.
const FIO_SHARE_MIN: f64 = 90.0;
/// The most time against `cat` on cold files.
const CAT_RATIO_MAX: f64 = 1.0;

impl Lab {
    /// Our check, which must end with `code`; `options` come before the images.
    pub fn check(&self, who: &str, code: i32, options: &[&str], trio: &Trio) -> Contestant {
        let mut arguments: Vec<&dyn AsRef<OsStr>> = vec![&"check", &"-q"];
        arguments.extend(options.iter().map(|option| option as &dyn AsRef<OsStr>));
        arguments.extend(trio.iter().map(|path| path as &dyn AsRef<OsStr>));
        Contestant::new(who, trio).step(code, &self.program, &arguments)
    }

    /// Our repair to a new image, whose bytes are checked once.
    fn repair(&self, who: &str, output: &Path, trio: &Trio) -> Contestant {
        let [a, b, c] = trio;
        Contestant::new(who, trio)
            .step(0, &self.program, &[&"repair", &"-q", &"-o", &output, a, b, c])
            .writes(output)
            .proves_clean(self.options.size_bytes)
    }

    /// The ceiling.
    fn ceiling(&self, threads: usize, [a, b, c]: &Trio) -> Contestant {
        let (who, threads) = (format!("ceiling (mmap + memcmp), {}", counted(threads)), threads.to_string());
        Contestant::new(who, &[]).step(0, &self.itself, &[&"--ceiling", &threads, a, b, c])
    }

    /// `qemu-img compare`, which takes two: the first with each of the others.
    fn add_compare(&self, contest: &mut Contest, options: &[&str], trio: &Trio) {
        let [a, b, c] = trio;
        let mut contestant = Contestant::new(["qemu-img compare", &options.join(" "), "A B, A C"].join(" ").replace("  ", " "), trio);
        for other in [b, c] {
            let mut arguments: Vec<&dyn AsRef<OsStr>> = vec![&"compare", &"-f", &"raw", &"-F", &"raw"];
            arguments.extend(options.iter().map(|option| option as &dyn AsRef<OsStr>));
            arguments.extend([a as &dyn AsRef<OsStr>, other]);
            contestant = contestant.step(0, "qemu-img", &arguments);
        }
        contest.add_peer(self.peers.qemu_img.is_some(), contestant);
    }

    /// `cmp`, which takes two as well.
    fn add_cmp(&self, contest: &mut Contest, trio: &Trio) {
        let [a, b, c] = trio;
        let contestant = Contestant::new("cmp A B, A C", trio).step(0, "cmp", &[a, b]).step(0, "cmp", &[a, c]);
        contest.add_peer(self.peers.cmp.is_some(), contestant);
    }

    /// QEMU's quorum driver: all is read through it into nowhere. `salvage` has failed requests tried again sector by sector.
    fn add_quorum(&self, contest: &mut Contest, who: &str, salvage: bool, trio: &Trio) {
        let mut source = "driver=raw,file.driver=quorum,file.vote-threshold=2".to_owned();
        for (index, path) in trio.iter().enumerate() {
            let name = path.to_string_lossy().replace(',', ",,"); // QEMU's way to escape it
            let child = format!("file.children.{index}");
            write!(source, ",{child}.driver=raw,{child}.file.driver=file,{child}.file.filename={name}").expect("a string takes all");
        }
        let target = format!("driver=null-co,size={}", self.options.size_bytes);
        let mut arguments: Vec<&dyn AsRef<OsStr>> = vec![&"convert", &"-n", &"-m", &"16", &"-W"];
        if salvage {
            arguments.push(&"--salvage");
        }
        arguments.extend([&"--image-opts" as &dyn AsRef<OsStr>, &source, &"--target-image-opts", &target]);
        let contestant = Contestant::new(who, trio).step(0, "qemu-img", &arguments);
        contest.add_peer(self.peers.qemu_img.is_some(), if salvage { contestant.once() } else { contestant });
    }

    /// Runs a contest.
    pub fn hold(&self, contest: &Contest) -> Outcome<Times> {
        contest.run(self.options.runs)
    }

    /// Notes a row for the last table: its time in times of that of the limit.
    pub fn limit(&mut self, row: String, by: &'static str, ratio: f64) {
        self.limits.push(Limit { row, by, ratio });
    }

    /// The last table: what is left, at a glance.
    pub fn print_limits(&self) {
        println!("\nTo the limit (time in times of the limit's; 1 is as good as this machine allows)");
        let width = self.limits.iter().map(|limit| limit.row.len()).max().unwrap_or(0);
        for Limit { row, by, ratio } in &self.limits {
            println!("  {row:width$}  {ratio:6.2}  {by}");
        }
        if self.limits.is_empty() {
            println!("  none measured");
        }
    }

    /// Notes how close we come to a ceiling.
    fn note_ceiling(&mut self, label: &str, threads: usize, times: &Times, ours: Lane, ceiling: Lane) {
        let percent = 100.0 * times.ratio(ceiling, ours);
        let what = format!("ceiling's speed reached {label}, {}: {percent:.0} % (target {CEILING_SHARE_MIN})", counted(threads));
        self.targets.push(Target { what, met: Some(percent >= CEILING_SHARE_MIN) });
        self.limit(format!("{label}, {}", counted(threads)), "memory", times.ratio(ours, ceiling));
    }

    /// Notes what a repair takes beside a check.
    fn note_repair(&mut self, label: &str, times: &Times, ours: Lane, check: Lane) {
        self.targets.push(Target { what: format!("{label}: {:.2}", times.ratio(ours, check)), met: None });
    }

    /// Adds ours and the ceiling, each with all threads and with one.
    fn add_both_threads(&self, contest: &mut Contest, trio: &Trio) -> [(usize, Lane, Lane); 2] {
        let ours = contest.add(self.check("quorum-img check", 0, &[], trio));
        let ours_alone = contest.add(self.check("quorum-img check -j 1", 0, &["-j", "1"], trio));
        let ceiling = contest.add_ceiling(self.ceiling(self.threads, trio));
        let ceiling_alone = contest.add(self.ceiling(1, trio));
        [(self.threads, ours, ceiling), (1, ours_alone, ceiling_alone)]
    }

    /// A title with the images' length.
    pub fn title(&self, race: &str, data: &str, state: &str) -> String {
        format!("{race}: {data} of {} MiB, {state}", self.options.size_bytes >> 20)
    }
}

/// "1 thread", "2 threads".
fn counted(threads: usize) -> String {
    format!("{threads} thread{}", if threads == 1 { "" } else { "s" })
}

/// Everybody on clean images in the page cache.
fn warm(lab: &mut Lab) -> Outcome<()> {
    let trio = lab.sets.trio(Kind::LargeWrites);
    let mut contest = Contest::new(lab.title("warm", "three images", "alike, by large writes, in the page cache"), Cache::Warm);
    let pairs = lab.add_both_threads(&mut contest, &trio);
    lab.add_compare(&mut contest, &[], &trio);
    lab.add_cmp(&mut contest, &trio);
    lab.add_quorum(&mut contest, "qemu-img convert, quorum driver", false, &trio);
    let times = lab.hold(&contest)?;
    for (threads, ours, ceiling) in pairs {
        lab.note_ceiling("warm", threads, &times, ours, ceiling);
    }
    Ok(())
}

/// Smaller folios make every page dearer.
fn warm_copied(lab: &mut Lab) -> Outcome<()> {
    let trio = lab.sets.trio(Kind::Copied);
    let mut contest = Contest::new(lab.title("warm-cp", "three images", "alike, by cp, in the page cache"), Cache::Warm);
    let pairs = lab.add_both_threads(&mut contest, &trio);
    let times = lab.hold(&contest)?;
    for (threads, ours, ceiling) in pairs {
        lab.note_ceiling("warm, by cp", threads, &times, ours, ceiling);
    }
    Ok(())
}

/// Pages that came one by one cost the most to map.
fn warm_small(lab: &mut Lab) -> Outcome<()> {
    let trio = lab.sets.trio(Kind::SmallWrites);
    let mut contest = Contest::new(lab.title("warm-4k", "three images", "alike, by writes of 4 KiB, in the page cache"), Cache::Warm);
    let pairs = lab.add_both_threads(&mut contest, &trio);
    contest.note("The ceiling maps: where that is dear, reading is allowed to beat it.");
    let times = lab.hold(&contest)?;
    for (threads, ours, ceiling) in pairs {
        lab.note_ceiling("warm, by 4 KiB", threads, &times, ours, ceiling);
    }
    Ok(())
}

/// What bad sectors cost.
fn damaged(lab: &mut Lab) -> Outcome<()> {
    let (bad, clean) = (lab.sets.trio(Kind::Damaged), lab.sets.trio(Kind::LargeWrites));
    let state = format!("{BAD_SECTORS} bad sectors, in the page cache");
    let mut contest = Contest::new(lab.title("damaged", "three images", &state), Cache::Warm);
    let ours = contest.add(lab.check("quorum-img check", 1, &[], &bad));
    let ours_clean = contest.add(lab.check("quorum-img check, undamaged images", 0, &[], &clean));
    lab.add_quorum(&mut contest, "qemu-img convert --salvage, quorum driver", true, &bad);
    contest.note("qemu-img compare and cmp are no rivals here: they stop at the first difference. Without --salvage the quorum");
    contest.note("driver stops as well, where one of its requests (2 MiB) meets damage in two images.");
    let times = lab.hold(&contest)?;
    let percent = 100.0 * (times.ratio(ours, ours_clean) - 1.0);
    let what = format!("{BAD_SECTORS} bad sectors: {percent:+.0} % (target at most {DAMAGE_COST_MAX})");
    lab.targets.push(Target { what, met: Some(percent <= DAMAGE_COST_MAX) });
    lab.limit(format!("{BAD_SECTORS} bad sectors, warm"), "memory (a check without them)", times.ratio(ours, ours_clean));
    Ok(())
}

/// From the disk.
fn cold(lab: &mut Lab) -> Outcome<()> {
    let trio = lab.sets.trio(Kind::LargeWrites);
    let [a, b, c] = &trio;
    let mut contest = Contest::new(lab.title("cold", "three images", "alike, caches dropped before each run"), Cache::Cold);
    let ours = contest.add(lab.check("quorum-img check", 0, &[], &trio));
    let cat = contest.add(Contestant::new("cat A B C >/dev/null", &trio).step(0, "cat", &[a, b, c]));
    lab.add_compare(&mut contest, &[], &trio);
    lab.add_cmp(&mut contest, &trio);
    contest.note("The pairwise ones read A twice, the second time from the page cache.");
    let times = lab.hold(&contest)?;
    let ratio = times.ratio(ours, cat);
    let what = format!("cold against cat: {ratio:.2} (target at most {CAT_RATIO_MAX:.2})");
    lab.targets.push(Target { what, met: Some(ratio <= CAT_RATIO_MAX) });
    lab.limit("cold".into(), "disk (cat)", ratio);
    Ok(())
}

/// Past the page cache.
fn direct(lab: &mut Lab) -> Outcome<()> {
    let trio = lab.sets.trio(Kind::LargeWrites);
    let mut contest = Contest::new(lab.title("direct", "three images", "alike, direct I/O, caches dropped before each run"), Cache::Cold);
    let ours = contest.add(lab.check("quorum-img check -T none", 0, &["-T", "none"], &trio));
    lab.add_compare(&mut contest, &["-T", "none"], &trio);
    let times = lab.hold(&contest)?;
    match fio::best(&trio, lab.options.size_bytes, lab.options.runs) {
        Ok(best) => {
            // The disk may have become faster or slower meanwhile.
            let again = lab.hold(&contest)?;
            let seconds = f64::midpoint(times.median(ours), again.median(ours));
            println!("  fio's best way took {:.2} s: {}", best.seconds, best.how);
            let share = 100.0 * best.seconds / seconds;
            let what = format!("-T none: {share:.0} % of the speed of fio's best way, {} (target at least {FIO_SHARE_MIN})", best.how);
            lab.targets.push(Target { what, met: Some(share >= FIO_SHARE_MIN) });
            lab.limit("-T none".into(), "disk (fio's best way)", seconds / best.seconds);
        }
        Err(error) => println!("  fio: LEFT OUT: {error}"),
    }
    Ok(())
}

/// A new image, where all of it must be written and where clones spare that.
fn repair(lab: &mut Lab) -> Outcome<()> {
    let trio = lab.sets.trio(Kind::Damaged);
    let out = lab.sets.dir().join("race-repaired.img");
    let state = format!("{BAD_SECTORS} bad sectors, in the page cache");
    let mut contest = Contest::new(lab.title("repair", "three images", &state), Cache::Warm);
    let ours = contest.add(lab.repair("quorum-img repair -o OUT", &out, &trio));
    let check = contest.add(lab.check("quorum-img check", 1, &[], &trio));
    let copy = || Contestant::new("cp A OUT", &trio).step(0, "cp", &[&trio[0], &out]).writes(&out);
    contest.add(copy());
    contest.add(copy().named("cp A OUT; sync OUT").step(0, "sync", &[&out]));
    contest.note("repair syncs and reads back what it writes; cp does neither.");
    let times = lab.hold(&contest);
    data::remove_if_there(&out)?;
    lab.note_repair("repair against check, on the data's file system", &times?, ours, check);

    let bytes = lab.options.size_bytes;
    let xfs = match Xfs::new(lab.sets.dir(), 4 * bytes) {
        Ok(xfs) => xfs,
        Err(error) => {
            println!("\nrepair, XFS: LEFT OUT, no such file system could be mounted: {error}");
            return Ok(());
        }
    };
    data::write_full(xfs.path(), bytes, BAD_SECTORS)?;
    let (trio, out) = (data::trio_in(xfs.path()), xfs.path().join("repaired.img"));
    let mut contest = Contest::new(lab.title("repair, XFS", "the same", "on a file system with clones"), Cache::Warm);
    let ours = contest.add(lab.repair("quorum-img repair -o OUT", &out, &trio));
    let check = contest.add(lab.check("quorum-img check", 1, &[], &trio));
    let times = lab.hold(&contest)?;
    lab.note_repair("repair with clones against check", &times, ours, check);
    Ok(())
}

/// Holes should cost nothing.
fn sparse(lab: &mut Lab) -> Outcome<()> {
    let (trio, full) = (lab.sets.trio(Kind::Sparse), lab.sets.trio(Kind::SparseAsFull));
    let title = lab.title("sparse", "four times the length", "10 % of it data, which is read in before each run");
    let mut contest = Contest::new(title, Cache::Refilled);
    let ours = contest.add(lab.check("quorum-img check", 0, &[], &trio));
    let whole = contest.add(lab.check("quorum-img check, as much data without holes", 0, &[], &full));
    lab.add_compare(&mut contest, &[], &trio);
    lab.add_cmp(&mut contest, &trio);
    let times = lab.hold(&contest)?;
    let ratio = times.ratio(ours, whole);
    let what = format!("islands against as much data in one piece: {ratio:.2} (target at most {ISLANDS_RATIO_MAX})");
    lab.targets.push(Target { what, met: Some(ratio <= ISLANDS_RATIO_MAX) });
    lab.limit("islands of 1 MiB, warm".into(), "memory (one piece)", ratio);
    Ok(())
}
