//! What every test through the binary needs: a folder of its own, disk images that are the same on every run, and a way to run
//! quorum-img that tells all when something is wrong.
//!
//! ```ignore
//! mod support;
//! use support::{Lab, MIB, sectors};
//!
//! let lab = Lab::new();
//! let [a, b, c] = lab.copies("disk.img", MIB);
//! lab.damage(&b, sectors(100..102));
//! let report = lab.quorum_img(["check", "--output", "json"]).args([&a, &b, &c]).exits(1).json();
//! assert_eq!(report["sectors"]["decided"], 2);
//! ```

// Every test crate compiles all of it and uses a part.
#![allow(dead_code, unused_imports)]
// What is done to files is asked of the lab, so that tests read alike; some of it needs no folder.
#![allow(clippy::unused_self)]

pub mod disks;
pub mod fuse;
pub mod fuse_folder;
pub mod fuse_server;
mod lead_on;
pub mod mounts;
pub mod nbd_server;
pub mod oracle;
pub mod qemu;
pub mod qemu_nbd;
pub mod refusal;
pub mod repair_oracle;
pub mod report;
mod run;

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::Write,
    ops::Range,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileExt, MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    thread,
};

pub use run::{Output, Run, Running};
use sha2::{Digest, Sha256};

/// The unit of the vote unless a test says otherwise, in bytes.
pub const SECTOR: u64 = 512;
/// 2^10 bytes.
pub const KIB: u64 = 1 << 10;
/// 2^20 bytes.
pub const MIB: u64 = 1 << 20;
/// 2^30 bytes.
pub const GIB: u64 = 1 << 30;

/// The bytes of the sectors `range`.
pub fn sectors(range: Range<u64>) -> Range<u64> {
    range.start * SECTOR..range.end * SECTOR
}

/// A file of the repository's `testdata/`.
pub fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

/// Whether this runs as root.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

// --- what a machine may lack ------------------------------------------------------------------------------------------------

/// Whether `tool` is on the path (or in `/usr/sbin`, `/sbin`). If not, says so as [`skip`] does: `if !needs("xfs_io") { return; }`
pub fn needs(tool: &str) -> bool {
    tool_path(tool).is_some() || skip(&format!("{tool} is not installed"))
}

/// Where `tool` is.
pub fn tool_path(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(tool)).find(|file| file.is_file())
}

/// Says aloud that the current test is skipped, and returns false. Under `CI=true` nothing may be skipped: panics.
pub fn skip(reason: &str) -> bool {
    let test = thread::current().name().unwrap_or("a test").to_owned();
    assert!(std::env::var_os("CI").is_none_or(|value| value != "true"), "{test} can't be skipped under CI=true: {reason}");
    // Not eprintln: the harness would keep that to itself. And at once: it writes to the same pipe.
    let _ = std::io::stderr().write_all(format!("SKIPPED: {test}: {reason}\n").as_bytes());
    false
}

// --- bytes ------------------------------------------------------------------------------------------------------------------

/// Reproducible noise: `length` bytes that look random, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        // splitmix64
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// SHA-256 in hex.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

fn seed_of(name: &OsStr) -> u64 {
    name.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

// --- the folder -------------------------------------------------------------------------------------------------------------

/// A test's own folder, gone when the test is over. Runs of the binary start in it.
pub struct Lab {
    folder: tempfile::TempDir,
}

impl Lab {
    /// A new folder among the system's temporary files.
    pub fn new() -> Self {
        Self::of(tempfile::Builder::new().prefix("quorum-img-").tempdir().expect("a temporary folder"))
    }

    /// A new folder below `place`, for instance a file system that the test has mounted, or `/dev/shm`.
    pub fn below(place: &Path) -> Self {
        Self::of(tempfile::Builder::new().prefix("quorum-img-").tempdir_in(place).expect("a temporary folder"))
    }

    fn of(folder: tempfile::TempDir) -> Self {
        // Tests that drop root's rights must still get in.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("our own folder");
        Self { folder }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The path of `name` in the folder, whether or not there is such a file.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder().join(name)
    }

    /// A file with these bytes.
    pub fn file(&self, name: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// A file of `length` bytes that is one hole.
    pub fn sparse(&self, name: impl AsRef<Path>, length: u64) -> PathBuf {
        let path = self.file(name, []);
        self.set_length(&path, length);
        path
    }

    /// `N` equal images with `length` bytes of noise, the same on every run: `disk.img` makes `disk-0.img`, `disk-1.img`, ...
    pub fn copies<const N: usize>(&self, name: &str, length: u64) -> [PathBuf; N] {
        self.copies_of(name, &noise(seed_of(OsStr::new(name)), usize::try_from(length).expect("a small image")))
    }

    /// `N` equal images with the given bytes.
    pub fn copies_of<const N: usize>(&self, name: &str, bytes: &[u8]) -> [PathBuf; N] {
        std::array::from_fn(|index| self.file(numbered(name, index), bytes))
    }

    /// As many equal images as wanted.
    pub fn many_copies_of(&self, name: &str, bytes: &[u8], count: usize) -> Vec<PathBuf> {
        (0..count).map(|index| self.file(numbered(name, index), bytes)).collect()
    }

    /// Makes every byte of `range` wrong, in a way of this file's own: damage to two files at one place differs.
    pub fn damage(&self, path: &Path, range: Range<u64>) {
        let mut bytes = self.read(path, range.clone());
        let name = path.file_name().expect("a file");
        let mask = noise(seed_of(name) ^ range.start, bytes.len());
        for (byte, mask) in bytes.iter_mut().zip(mask) {
            *byte ^= if mask == 0 { 0xff } else { mask };
        }
        self.write(path, range.start, &bytes);
    }

    /// Flips one bit of the byte at `offset`.
    pub fn flip_bit(&self, path: &Path, offset: u64) {
        let [byte] = self.read(path, offset..offset + 1)[..] else { unreachable!("one byte was asked for") };
        self.write(path, offset, &[byte ^ 0x10]);
    }

    /// Overwrites from `offset` on.
    pub fn write(&self, path: &Path, offset: u64, bytes: &[u8]) {
        let file = OpenOptions::new().write(true).open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        file.write_all_at(bytes, offset).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// The bytes of `range`.
    pub fn read(&self, path: &Path, range: Range<u64>) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(range.end - range.start).expect("a small range")];
        let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        file.read_exact_at(&mut bytes, range.start).unwrap_or_else(|error| panic!("{} at {}: {error}", path.display(), range.start));
        bytes
    }

    /// All bytes of a file.
    pub fn bytes(&self, path: &Path) -> Vec<u8> {
        fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Cuts the file, or lengthens it by a hole.
    pub fn set_length(&self, path: &Path, length: u64) {
        let file = OpenOptions::new().write(true).open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        file.set_len(length).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Bytes that the file takes on disk.
    pub fn allocated(&self, path: &Path) -> u64 {
        fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).blocks() * 512
    }

    /// Fails where the two files differ, and says where.
    pub fn assert_same_bytes(&self, one: &Path, other: &Path) {
        let (a, b) = (self.bytes(one), self.bytes(other));
        let first = a.iter().zip(&b).position(|(a, b)| a != b);
        let names = format!("{} and {}", one.display(), other.display());
        assert!(first.is_none(), "{names} differ first at byte {} of {}", first.unwrap_or(0), a.len());
        assert_eq!(a.len(), b.len(), "{names} are not of one length");
    }

    /// Everything in the folder: each name with its kind, mode, length and digest. Equal before and after means: nothing was written.
    pub fn listing(&self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.folder().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).expect("our own folder") {
                let path = entry.expect("an entry").path();
                let meta = fs::symlink_metadata(&path).expect("its metadata");
                let holds = if meta.is_symlink() {
                    format!("a link to {}", fs::read_link(&path).expect("a link").display())
                } else if meta.is_file() {
                    fs::read(&path).map_or_else(|error| error.to_string(), |bytes| sha256(&bytes))
                } else {
                    String::new()
                };
                if meta.is_dir() {
                    folders.push(path.clone());
                }
                found.insert(path, format!("mode {:o}, inode {}, {} bytes {holds}", meta.mode(), meta.ino(), meta.len()));
            }
        }
        found
    }

    /// What [`listing`](Self::listing) tells, and when each file was last modified and changed (nanoseconds).
    pub fn state(&self) -> BTreeMap<PathBuf, (String, [i64; 4])> {
        let stamp = |path: &Path| {
            let meta = fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            // A folder's own times may show that a file was made and removed again; only what stays counts.
            if meta.is_dir() { [0; 4] } else { [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()] }
        };
        let stamped = |(path, holds): (PathBuf, String)| {
            let stamp = stamp(&path);
            (path, (holds, stamp))
        };
        self.listing().into_iter().map(stamped).collect()
    }

    /// A run of quorum-img that is still to be completed: `lab.quorum_img(["check"]).args([&a, &b]).exits(0)`.
    pub fn quorum_img<I>(&self, args: I) -> Run
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        self.program(env!("CARGO_BIN_EXE_quorum-img")).args(args)
    }

    /// A run of any other program, by the same rules.
    pub fn program(&self, program: impl AsRef<OsStr>) -> Run {
        let program = program.as_ref();
        let found = program.to_str().and_then(tool_path).map_or_else(|| program.to_owned(), PathBuf::into_os_string);
        Run::new(&found, self.folder())
    }
}

fn numbered(name: &str, index: usize) -> String {
    match name.rsplit_once('.') {
        Some((stem, ending)) => format!("{stem}-{index}.{ending}"),
        None => format!("{name}-{index}"),
    }
}
