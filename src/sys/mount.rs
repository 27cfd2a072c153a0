//! What lies under a file: a disk of this machine, or a server that may be slow, gone, or of another mind.

use std::{
    fs::{self, File},
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use nix::sys::statfs::fstatfs;

/// Magic numbers of file systems whose bytes come from elsewhere (statfs(2), linux/magic.h, and the sources of those that stand in neither).
const NETWORK: [(i64, &str); 10] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xfe53_4d42, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x0bd0_0bd0, "Lustre"),
    (0x7461_636f, "OCFS2"),
    (FUSE, "FUSE"),
];
const FUSE: i64 = 0x6573_5546;

/// What kind of network file system `file` lies on; none where it is one of this machine. FUSE counts, whatever serves it, unless that is a
/// block device.
#[must_use]
pub fn network(file: &File) -> Option<&'static str> {
    let magic = i64::from(u32::try_from(fstatfs(file).ok()?.filesystem_type().0 & 0xffff_ffff).ok()?);
    let &(magic, name) = NETWORK.iter().find(|(number, _)| *number == magic)?;
    let local = magic == FUSE && Mount::of(file).is_some_and(|mount| mount.kind == "fuseblk");
    (!local).then_some(name)
}

/// What this machine calls itself; empty where it doesn't say.
#[must_use]
pub fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").map_or_else(|_| String::new(), |name| name.trim().to_owned())
}

/// The mount by which a file was reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mount {
    /// Its type, `nfs4` for instance.
    pub kind: String,
    /// What is mounted: `server:/export` for NFS.
    pub source: String,
    /// Which folder of it is.
    pub root: String,
    /// Where.
    pub point: PathBuf,
    /// Its options, the file system's among them.
    pub options: Vec<String>,
}

impl Mount {
    /// The mount by which `file` was opened; none where that can't be told.
    #[must_use]
    pub fn of(file: &File) -> Option<Self> {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).ok()?;
        let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().to_owned();
        let mounts = fs::read("/proc/self/mountinfo").ok()?;
        String::from_utf8_lossy(&mounts).lines().find(|line| line.split(' ').next() == Some(&id)).and_then(Self::parse)
    }

    /// A line of mountinfo (`proc_pid_mountinfo(5)`).
    fn parse(line: &str) -> Option<Self> {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (root, point, own) = (mount.next()?, mount.next()?, mount.next()?);
        let mut file_system = file_system.split(' ');
        let (kind, source) = (file_system.next()?.to_owned(), file_system.next()?);
        let options = own.split(',').chain(file_system.next().unwrap_or_default().split(','));
        let options = options.filter(|option| !option.is_empty()).map(str::to_owned).collect();
        Some(Self { kind, source: unescaped(source), root: unescaped(root), point: unescaped(point).into(), options })
    }

    /// Where a file that was reached at `path` lies on this machine, where that is its own server: by NFS or sshfs from `localhost`, or from
    /// its own name.
    #[must_use]
    pub fn own_path(&self, path: &Path) -> Option<PathBuf> {
        let (host, folder) = self.source.split_once(":/")?;
        let host = host.rsplit('@').next()?.trim_matches(['[', ']']);
        let itself = || host_name() == host;
        let here = ["localhost", "::1"].contains(&host) || host.starts_with("127.") || itself();
        let within = here.then(|| path.canonicalize().ok()).flatten()?;
        let folder = Path::new("/").join(folder).join(self.root.trim_start_matches('/'));
        Some(folder.join(within.strip_prefix(&self.point).ok()?))
    }

    /// Whether locks on its files stay on this machine: NFS' `nolock`, and `local_lock=` of more than flock (nfs(5)).
    #[must_use]
    pub fn keeps_locks_here(&self) -> bool {
        let stays = |option: &String| matches!(option.as_str(), "nolock" | "local_lock=all" | "local_lock=posix" | "nobrl");
        // sshfs passes no locks on.
        self.kind == "fuse.sshfs" || self.options.iter().any(stays)
    }
}

/// Blanks and the like stand there as three octal digits.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                plain.push(byte);
                plain.extend(&part.as_bytes()[3..]);
            }
            None => plain.extend([b"\\", part.as_bytes()].concat()),
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// Asks whoever holds the file what it is now: a server, too, whatever this machine remembers (statx(2), `AT_STATX_FORCE_SYNC`).
///
/// # Errors
/// What the system says.
pub fn ask(file: &File) -> io::Result<()> {
    // SAFETY: all zeros is a statx, which is plain data.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_FORCE_SYNC;
    // SAFETY: the name is an empty C string, and `found` has room for what is written.
    let result = unsafe { libc::statx(file.as_raw_fd(), c"".as_ptr(), flags, libc::STATX_BASIC_STATS, &raw mut found) };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        // Forbidden, or not known here: the usual way may ask less.
        Some(libc::ENOSYS | libc::EPERM | libc::EINVAL) => file.metadata().map(drop),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::{Mount, ask, network};

    #[test]
    fn a_line_of_mountinfo_is_understood() {
        let line = r"36 35 0:44 /a\040b /mnt rw,noatime shared:1 master:2 - nfs4 s1:/srv/x rw,vers=4.2,hard,local_lock=none";
        let mount = Mount::parse(line).expect("a mount");
        assert_eq!((&*mount.kind, &*mount.source, &*mount.root), ("nfs4", "s1:/srv/x", "/a b"));
        assert!(mount.options.iter().any(|option| option == "noatime") && mount.options.iter().any(|option| option == "hard"));
        assert_eq!(mount.point, std::path::Path::new("/mnt"));
        assert!(!mount.keeps_locks_here());
        let local = Mount::parse("1 2 0:4 / /m rw - nfs s:/x rw,nolock,local_lock=all").expect("a mount");
        assert!(local.keeps_locks_here());
        assert_eq!(Mount::parse("no mount"), None);
    }

    #[test]
    fn a_temporary_file_is_of_this_machine() {
        let file = tempfile::tempfile().expect("a temporary file");
        assert!(Mount::of(&file).is_some_and(|mount| !mount.kind.is_empty()));
        assert_eq!(network(&file), None);
        ask(&file).expect("it can be asked");
    }
}
