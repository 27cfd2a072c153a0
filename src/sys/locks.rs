//! QEMU's image locks: shared locks on single bytes of the image file, one for each permission held and one for each permission not
//! shared (QEMU, `block/file-posix.c`, `raw_apply_lock_bytes` and `raw_check_lock_bytes`; `include/block/block-common.h`).
//!
//! They are open file description locks (fcntl(2), `F_OFD_SETLK`), so they last as long as the open file they were taken by.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
    sys::stat::{major, minor},
};

/// Byte of the lock that says "I hold permission N" is this plus N.
const HELD: i64 = 100;
/// Byte of the lock that says "I don't share permission N" is this plus N.
const NOT_SHARED: i64 = 200;
/// QEMU's permission numbers: reading what nobody changes meanwhile, writing, changing the length.
const CONSISTENT_READ: i64 = 0;
const WRITE: i64 = 1;
const WRITE_UNCHANGED: i64 = 2;
const RESIZE: i64 = 3;
/// The byte on which libvirt's virtlockd keeps its lease ("direct" mode).
const LIBVIRT_LEASE: i64 = 0;

/// How the locks came out.
#[derive(Debug)]
pub enum Locked {
    /// These are held.
    Yes(Bytes),
    /// Another program uses the file in a way that doesn't go with ours.
    InUse,
    /// The file system knows no locks: nobody can tell.
    Unsupported(io::Error),
}

/// Bytes of the locks that were taken.
pub type Bytes = &'static [i64];
/// Those of a reader who wants nobody to write meanwhile, and the bytes that others must not hold.
const READER: Bytes = &[HELD + CONSISTENT_READ, NOT_SHARED + WRITE, NOT_SHARED + RESIZE];
const READER_TESTS: Bytes = &[NOT_SHARED + CONSISTENT_READ, HELD + WRITE, HELD + RESIZE];
/// Those of a writer who wants nobody to read or write meanwhile, likewise.
const WRITER: Bytes = &[
    HELD + CONSISTENT_READ,
    HELD + WRITE,
    HELD + RESIZE,
    NOT_SHARED + CONSISTENT_READ,
    NOT_SHARED + WRITE,
    NOT_SHARED + WRITE_UNCHANGED,
    NOT_SHARED + RESIZE,
];
const WRITER_TESTS: Bytes = &[
    HELD + CONSISTENT_READ,
    HELD + WRITE,
    HELD + WRITE_UNCHANGED,
    HELD + RESIZE,
    NOT_SHARED + CONSISTENT_READ,
    NOT_SHARED + WRITE,
    NOT_SHARED + WRITE_UNCHANGED,
    NOT_SHARED + RESIZE,
    LIBVIRT_LEASE,
];

/// Takes the locks of a reader who wants nobody to write meanwhile. The file need only be open for reading.
///
/// # Errors
/// What fcntl says, other than that there are no locks here.
pub fn lock_for_reading(file: &File) -> io::Result<Locked> {
    lock_bytes(file, READER, READER_TESTS)
}

/// Takes the locks of a writer who wants nobody to read or write meanwhile. The file need only be open for reading.
///
/// # Errors
/// As for [`lock_for_reading`].
pub fn lock_for_writing(file: &File) -> io::Result<Locked> {
    lock_bytes(file, WRITER, WRITER_TESTS)
}

/// Takes these locks once more, or by another descriptor of the same file: they go with each other. False where another one holds what
/// doesn't go with them, so that they were lost meanwhile.
///
/// # Errors
/// What fcntl says.
pub fn retake(file: &File, bytes: Bytes) -> io::Result<bool> {
    for &byte in bytes {
        if !set(file, libc::F_RDLCK, byte)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Looks once more whether another one holds what doesn't go with a writer's locks, which `file` (open for writing) holds already: takes each
/// byte alone for a moment. Over NFS version 3 asking isn't enough: Linux' lockd tells of exclusive locks of other machines only.
///
/// # Errors
/// What fcntl says.
pub fn writes_alone(file: &File) -> io::Result<bool> {
    for &byte in WRITER_TESTS {
        let before = if WRITER.contains(&byte) { libc::F_RDLCK } else { libc::F_UNLCK };
        if !(set(file, libc::F_WRLCK, byte)? && set(file, before, byte)?) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether another one holds locks on `file` of somebody who writes to it, or wants nobody to read it.
///
/// # Errors
/// What fcntl says.
pub fn in_use(file: &File) -> io::Result<bool> {
    READER_TESTS.iter().try_fold(false, |found, &byte| Ok(found || held_by_another(file, byte)?))
}

/// Whether a file of our own is ours alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is.
    Ours,
    /// Others use it: who, as far as can be seen.
    Others(Vec<Holder>),
}

/// Locks all of a file of our own (not an image), alone or together with others who read. File systems without locks are taken for
/// granted.
///
/// # Errors
/// What fcntl says.
pub fn claim(file: &File, alone: bool) -> io::Result<Claim> {
    let all = libc::flock { l_len: 0, ..lock(if alone { libc::F_WRLCK } else { libc::F_RDLCK }, 0) };
    match fcntl(file, FcntlArg::F_OFD_SETLK(&all)) {
        Ok(_) | Err(Errno::ENOLCK | Errno::EOPNOTSUPP | Errno::EINVAL | Errno::ENOSYS) => Ok(Claim::Ours),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(Claim::Others(holders(file))),
        Err(error) => Err(error.into()),
    }
}

/// Takes the bytes of `take`, and gives them back where another one holds a byte of `test`.
fn lock_bytes(file: &File, take: Bytes, test: Bytes) -> io::Result<Locked> {
    // As QEMU does: take first, then look, so that two who come at once see each other.
    for &byte in take {
        match set(file, libc::F_RDLCK, byte) {
            Ok(true) => {}
            // Somebody holds an exclusive lock there.
            Ok(false) => {
                unlock(file, take);
                return Ok(Locked::InUse);
            }
            Err(error @ (Errno::ENOLCK | Errno::EOPNOTSUPP | Errno::EINVAL | Errno::ENOSYS)) => {
                return Ok(Locked::Unsupported(error.into()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    for &byte in test {
        if held_by_another(file, byte)? {
            unlock(file, take);
            return Ok(Locked::InUse);
        }
    }
    Ok(Locked::Yes(take))
}

/// Sets a lock on that byte, or takes it away; false where another one's is in the way.
fn set(file: &File, kind: i32, byte: i64) -> Result<bool, Errno> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&lock(kind, byte))) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether another open file description holds a lock on that byte.
fn held_by_another(file: &File, byte: i64) -> io::Result<bool> {
    let mut probe = lock(libc::F_WRLCK, byte);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut probe))?;
    Ok(i32::from(probe.l_type) != libc::F_UNLCK)
}

fn unlock(file: &File, bytes: &[i64]) {
    for &byte in bytes {
        let _ = set(file, libc::F_UNLCK, byte); // closing the file does it in any case
    }
}

fn lock(kind: i32, byte: i64) -> libc::flock {
    libc::flock { l_type: kind as i16, l_whence: libc::SEEK_SET as i16, l_start: byte, l_len: 1, l_pid: 0 }
}

/// A program on this machine that holds locks on a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Its command line, as it says itself.
    pub command: String,
}

/// The programs that hold a lock on one of QEMU's bytes of `file`, as far as this user may see them in /proc.
#[must_use]
pub fn holders(file: &File) -> Vec<Holder> {
    let Ok(meta) = file.metadata() else { return Vec::new() };
    let place = format!("{:02x}:{:02x}:{}", major(meta.dev()), minor(meta.dev()), meta.ino());
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let own = std::process::id();
    let holding = numbers.filter(|&pid| pid != own && holds(pid, &place));
    holding.map(Holder::of).collect()
}

impl Holder {
    /// The process of that number.
    #[must_use]
    pub fn of(pid: u32) -> Self {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words = command.split(|&byte| byte == 0).filter(|word| !word.is_empty());
        Self { pid, command: words.map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ") }
    }
}

/// Whether one of the process's open files has a lock on QEMU's bytes at `place`. A line there looks like
/// `lock: 1: OFDLCK ADVISORY  READ -1 fe:00:10160192 100 101` (`proc_pid_fdinfo(5)`).
fn holds(pid: u32, place: &str) -> bool {
    let infos = fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
    infos.filter_map(|info| fs::read_to_string(info.path()).ok()).any(|text| {
        text.lines().filter(|line| line.starts_with("lock:")).any(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let byte = |word: Option<&&str>| word.and_then(|word| word.parse::<i64>().ok());
            let at = words.iter().position(|&word| word == place);
            at.is_some_and(|at| {
                byte(words.get(at + 1)).is_some_and(|byte| byte == LIBVIRT_LEASE || (HELD..NOT_SHARED + 10).contains(&byte))
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Write};

    use super::{Locked, fcntl, in_use, lock, lock_for_reading, lock_for_writing, writes_alone};
    use nix::fcntl::FcntlArg;

    /// Each byte alone, held as QEMU's holders hold it (`RDLCK`): writers and those who forbid reading stop us, readers don't.
    #[test]
    fn gives_way_to_writers_only() {
        let mut named = tempfile::NamedTempFile::new().expect("a temporary file");
        named.write_all(&[0; 4096]).expect("it can be written");
        for byte in [100, 101, 102, 103, 200, 201, 202, 203] {
            let (other, ours) = (File::open(named.path()).expect("opens"), File::open(named.path()).expect("opens"));
            fcntl(&other, FcntlArg::F_OFD_SETLK(&lock(libc::F_RDLCK, byte))).expect("a lock to be had");
            let stopped = matches!(lock_for_reading(&ours).expect("it can be asked"), Locked::InUse);
            assert_eq!(stopped, [101, 103, 200].contains(&byte), "byte {byte}");
        }
    }

    /// Whoever wants to write bears nobody, and nobody bears them.
    #[test]
    fn a_writer_is_alone() {
        let mut named = tempfile::NamedTempFile::new().expect("a temporary file");
        named.write_all(&[0; 4096]).expect("it can be written");
        let open = || File::open(named.path()).expect("opens");
        for byte in [0, 100, 101, 102, 103, 200, 201, 202, 203] {
            let (other, ours) = (open(), open());
            fcntl(&other, FcntlArg::F_OFD_SETLK(&lock(libc::F_RDLCK, byte))).expect("a lock to be had");
            assert!(matches!(lock_for_writing(&ours).expect("it can be asked"), Locked::InUse), "byte {byte}");
            drop(other);
            assert!(matches!(lock_for_writing(&ours).expect("it can be asked"), Locked::Yes(_)), "byte {byte} is free again");
        }
        let (one, two) = (open(), open());
        assert!(matches!(lock_for_writing(&one).expect("it can be asked"), Locked::Yes(_)));
        assert!(matches!(lock_for_reading(&two).expect("it can be asked"), Locked::InUse));
        assert!(matches!(lock_for_writing(&two).expect("it can be asked"), Locked::InUse));
    }

    /// What others hold is noticed by taking it, too; and nothing of ours is lost by that.
    #[test]
    fn a_writer_can_look_by_taking() {
        let named = tempfile::NamedTempFile::new().expect("a temporary file");
        let open = || File::options().read(true).write(true).open(named.path()).expect("opens");
        for byte in [0, 100, 101, 102, 103, 200, 201, 202, 203] {
            let (other, ours) = (open(), open());
            assert!(matches!(lock_for_writing(&ours).expect("it can be asked"), Locked::Yes(_)));
            assert!(writes_alone(&ours).expect("it can be asked"));
            fcntl(&other, FcntlArg::F_OFD_SETLK(&lock(libc::F_RDLCK, byte))).expect("ours are shared");
            assert!(!writes_alone(&ours).expect("it can be asked"), "byte {byte}");
            // Given back by name: a child that another test starts may hold the file open for a moment.
            fcntl(&other, FcntlArg::F_OFD_SETLK(&lock(libc::F_UNLCK, byte))).expect("it is ours");
            assert!(writes_alone(&ours).expect("it can be asked"), "byte {byte} is free again");
            assert!(in_use(&open()).expect("it can be asked"), "ours are still there");
        }
        assert!(!in_use(&open()).expect("it can be asked"));
    }

    #[test]
    fn readers_share() {
        let named = tempfile::NamedTempFile::new().expect("a temporary file");
        let (one, two) = (File::open(named.path()).expect("opens"), File::open(named.path()).expect("opens"));
        assert!(matches!(lock_for_reading(&one).expect("it can be asked"), Locked::Yes(_)));
        assert!(matches!(lock_for_reading(&two).expect("it can be asked"), Locked::Yes(_)));
    }
}
