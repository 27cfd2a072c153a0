//! The machine: what it is, which peers it has, its page cache, and running commands on it.

use std::{
    error::Error,
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread::available_parallelism,
};

use nix::{
    errno::Errno,
    fcntl::{PosixFadviseAdvice, posix_fadvise},
    sys::{
        stat::{major, minor},
        statvfs::statvfs,
    },
    unistd::{Uid, Whence, lseek},
};

use super::options::Options;

/// A result whose error is for people only.
pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// Set by SIGINT and SIGTERM.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Makes SIGINT and SIGTERM end the race in order: whatever was made or mounted must go.
pub fn heed_signals() {
    extern "C" fn note(_: libc::c_int) {
        INTERRUPTED.store(true, Ordering::Relaxed);
    }
    let handler = note as extern "C" fn(libc::c_int);
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the handler only stores to an atomic, which is safe at any moment. Programs that we start get the default back.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

/// Whether the race was told to end.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// An error where the race was told to end.
pub fn go_on() -> Outcome<()> {
    if interrupted() { Err("interrupted".into()) } else { Ok(()) }
}

/// Whether this process is the superuser's.
pub fn is_root() -> bool {
    Uid::effective().is_root()
}

/// Runs a helper to its end and gives what it printed, trimmed.
pub fn run<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Outcome<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().map_err(|error| format!("{program}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{program}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The peers that may be missing: their versions where they are there.
pub struct Peers {
    /// QEMU's `compare`, and its quorum driver through `convert`.
    pub qemu_img: Option<String>,
    /// GNU's.
    pub cmp: Option<String>,
    /// Which copies what differs onto an old copy.
    pub rsync: Option<String>,
    /// BLAKE3 of whole files.
    pub b3sum: Option<String>,
    /// XXH3 of whole files.
    pub xxhsum: Option<String>,
}

impl Peers {
    /// Asks each for its version.
    pub fn find() -> Self {
        let version = |program| Some(run(program, ["--version"]).ok()?.lines().next()?.to_owned());
        Self {
            qemu_img: version("qemu-img"),
            cmp: version("cmp"),
            rsync: version("rsync"),
            b3sum: version("b3sum"),
            xxhsum: run("xxhsum", ["--version"]).ok().map(|_| "found".to_owned()),
        }
    }
}

/// Prints what the figures depend on, and warns where they won't be what they claim.
pub fn print_facts(dir: &Path, options: &Options, program: &Path, peers: &Peers) -> Outcome<()> {
    let line = |file: &str, key: &str| -> String {
        let text = fs::read_to_string(file).unwrap_or_default();
        let found = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("unknown");
        found.trim_start_matches([' ', '\t', ':']).to_owned()
    };
    let mib = |key| line("/proc/meminfo", key).trim_end_matches(" kB").parse().unwrap_or(0_u64) >> 10;
    let (memory, available) = (mib("MemTotal:"), mib("MemAvailable:"));
    let space = statvfs(dir)?;
    let free = (space.blocks_available() * space.fragment_size()) >> 20;
    let file_system = run("stat", [OsStr::new("-f"), "-c".as_ref(), "%T".as_ref(), dir.as_os_str()])?;

    println!("Machine");
    println!("  cores    {} ({})", available_parallelism().map_or(1, usize::from), line("/proc/cpuinfo", "model name"));
    println!("  memory   {memory} MiB, {available} MiB available");
    println!("  kernel   {}", line("/proc/sys/kernel/osrelease", ""));
    println!("  data     {} ({file_system}, {free} MiB free)", dir.display());
    println!("  ours     {}", program.display());
    for (name, version) in
        [("qemu-img", &peers.qemu_img), ("cmp", &peers.cmp), ("rsync", &peers.rsync), ("b3sum", &peers.b3sum), ("xxhsum", &peers.xxhsum)]
    {
        println!("  {name:8} {}", version.as_deref().unwrap_or("MISSING: its rows are left out"));
    }
    println!("Images of {} MiB, {} rounds; times are those of whole processes", options.size_bytes >> 20, options.runs);

    let size = options.size_bytes >> 20;
    if available < 6 * size {
        println!("WARNING: two sets of images don't fit into memory: warm will not be warm");
    }
    if free < 8 * size + 1024 {
        println!("WARNING: the disk may not suffice: up to {} MiB are needed", 8 * size + 1024);
    }
    if !is_root() {
        println!("NOTE: not root: cold drops only the files' pages, and repair has no XFS with clones");
    }
    Ok(())
}

/// Sends files' pages out of the page cache, as well as this user can.
pub fn drop_cached(files: &[PathBuf]) -> io::Result<()> {
    for path in files {
        let file = File::open(path)?;
        file.sync_all()?; // dirty pages stay
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
    }
    Ok(())
}

/// Empties the whole machine's caches where this user may; where not, [`drop_cached`] has to do.
pub fn drop_all_caches() -> io::Result<()> {
    if is_root() { fs::write("/proc/sys/vm/drop_caches", "3") } else { Ok(()) }
}

/// Reads the data of files, and no hole, into the page cache.
pub fn read_data(files: &[PathBuf]) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    for path in files {
        let file = File::open(path)?;
        let mut at = 0;
        loop {
            let start = match lseek(&file, at, Whence::SeekData) {
                Ok(start) => start,
                Err(Errno::ENXIO) => break, // no data from here on
                Err(error) => return Err(error.into()),
            };
            at = lseek(&file, start, Whence::SeekHole)?;
            let mut data = (&file).take(u64::try_from(at - start).map_err(io::Error::other)?);
            lseek(&file, start, Whence::SeekSet)?;
            while data.read(&mut buffer)? > 0 {}
        }
    }
    Ok(())
}

/// Bytes written so far to the device that holds `path`, by anybody; none where the kernel doesn't tell: not every file system is on one.
pub fn device_bytes_written(path: &Path) -> Option<u64> {
    let device = fs::metadata(path).ok()?.dev();
    let counters = fs::read_to_string(format!("/sys/dev/block/{}:{}/stat", major(device), minor(device))).ok()?;
    let sectors: u64 = counters.split_whitespace().nth(6)?.parse().ok()?;
    Some(sectors * 512) // the kernel counts in these, whatever the device's are
}
