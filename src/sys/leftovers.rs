//! Files that a killed run left behind, where the file system can't do without names: each tells whose it is.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use super::{
    locks::{self, Claim},
    mount,
    random::random_bytes,
};

const PREFIX: &str = ".quorum-img-";
const SUFFIX: &str = ".tmp";

/// The process that makes a file: a number means something in its namespace only, and until the machine starts anew.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Maker {
    host: String,
    boot: String,
    namespace: String,
    process: u32,
    /// When it began, in the kernel's ticks: numbers are given again.
    began: u64,
}

impl Maker {
    /// This process.
    fn this() -> &'static Self {
        static THIS: OnceLock<Maker> = OnceLock::new();
        THIS.get_or_init(|| {
            let text = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
            let plain = |text: String| text.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '.').take(60).collect::<String>();
            let namespace = fs::read_link("/proc/self/ns/pid").map(|link| link.to_string_lossy().into_owned()).unwrap_or_default();
            let process = std::process::id();
            Self {
                host: plain(text("/proc/sys/kernel/hostname")),
                boot: plain(text("/proc/sys/kernel/random/boot_id")).chars().take(16).collect(),
                namespace: namespace.chars().filter(char::is_ascii_digit).collect(),
                process,
                began: began(process).unwrap_or(0),
            }
        })
    }

    /// From a file's name.
    fn of(name: &OsStr) -> Option<Self> {
        let inside = name.to_str()?.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
        let mut parts = inside.split('-').map(str::to_owned);
        let (host, boot, namespace) = (parts.next()?, parts.next()?, parts.next()?);
        let (process, began) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Self { host, boot, namespace, process, began })
    }

    /// Whether it is gone for certain: known only of this machine's processes; `shared`: other machines may write there, too, and one may have
    /// the same name.
    fn is_gone(&self, shared: bool) -> bool {
        let this = Self::this();
        let here = !self.host.is_empty() && self.host == this.host;
        let same_boot = !self.boot.is_empty() && self.boot == this.boot;
        // The machine has another number since it was started anew, and in a container processes of others can't be seen.
        here && ((!same_boot && !shared) || (same_boot && self.namespace == this.namespace && began(self.process) != Some(self.began)))
    }
}

/// When a process began; none where it is gone (`proc_pid_stat(5)`, field 22).
fn began(process: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field is a name with whatever in it, in brackets.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// A name for a file in the making.
///
/// # Errors
/// Where there are no random bytes to be had.
pub(super) fn name_in_the_making() -> io::Result<OsString> {
    let Maker { host, boot, namespace, process, began } = Maker::this();
    let random = u64::from_le_bytes(random_bytes()?);
    Ok(format!("{PREFIX}{host}-{boot}-{namespace}-{process}-{began}-{random:016x}{SUFFIX}").into())
}

/// A file that lies in a folder, and that somebody else is making, or began to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// Where.
    pub path: PathBuf,
    /// Who makes it, in words.
    pub maker: String,
}

/// Removes from `folder` what processes of this machine that are gone left there; returns what was removed, and what may belong to others.
#[must_use]
pub fn sweep(folder: &Path) -> (Vec<PathBuf>, Vec<Leftover>) {
    let (mut removed, mut others) = (Vec::new(), Vec::new());
    let is_one = |name: &OsStr| name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX));
    let shared = fs::File::open(folder).is_ok_and(|folder| mount::network(&folder).is_some());
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| is_one(&entry.file_name()) && entry.file_type().is_ok_and(|kind| kind.is_file())) {
        let path = entry.path();
        let maker = Maker::of(&entry.file_name());
        if maker.as_ref() == Some(Maker::this()) {
            continue;
        }
        if maker.as_ref().is_some_and(|maker| maker.is_gone(shared)) && nobody_holds(&path) && fs::remove_file(&path).is_ok() {
            removed.push(path);
        } else {
            let maker = maker.map_or_else(|| "an unknown run".to_owned(), |maker| format!("process {} on {}", maker.process, maker.host));
            others.push(Leftover { path, maker });
        }
    }
    (removed, others)
}

/// Whoever makes a file holds all of it.
fn nobody_holds(path: &Path) -> bool {
    let file = fs::OpenOptions::new().read(true).write(true).open(path);
    file.is_ok_and(|file| matches!(locks::claim(&file, true), Ok(Claim::Ours)))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{Maker, name_in_the_making, sweep};

    fn named(maker: &Maker) -> String {
        let Maker { host, boot, namespace, process, began } = maker;
        format!(".quorum-img-{host}-{boot}-{namespace}-{process}-{began}-0123456789abcdef.tmp")
    }

    #[test]
    fn only_what_is_surely_left_behind_is_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let this = Maker::this().clone();
        assert_eq!(Maker::of(&name_in_the_making().expect("a name")), Some(this.clone()));
        let gone = Maker { process: u32::MAX - 7, ..this.clone() };
        let reused = Maker { began: this.began + 1, ..this.clone() };
        let before_boot = Maker { boot: "0000000000000000".into(), ..this.clone() };
        let elsewhere = Maker { host: "another".into(), ..gone.clone() };
        let in_container = Maker { namespace: "1".into(), ..gone.clone() };
        let names = [&gone, &reused, &before_boot, &elsewhere, &in_container, &this].map(named);
        let others = ["image.tmp", ".quorum-img-0123456789abcdef.tmp", ".quorum-img-x.img"];
        for name in names.iter().map(String::as_str).chain(others) {
            fs::write(folder.path().join(name), b"half").expect("a file");
        }
        let (removed, told) = sweep(folder.path());
        let is_in = |name: &str| folder.path().join(name).exists();
        assert!(!is_in(&names[0]) && !is_in(&names[1]) && !is_in(&names[2]) && removed.len() == 3, "{removed:?}");
        assert!(names[3..].iter().all(|name| is_in(name)) && others.iter().all(|name| is_in(name)));
        let mut told: Vec<_> = told.iter().map(|other| other.maker.clone()).collect();
        told.sort_unstable();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told.contains(&format!("process {} on another", gone.process)) && told.contains(&"an unknown run".to_owned()));
        assert_eq!(sweep(Path::new("/nowhere")), (Vec::new(), Vec::new()));
    }

    /// One that is still held belongs to somebody, whatever its name says.
    #[test]
    fn what_is_held_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let gone = Maker { process: u32::MAX - 7, ..Maker::this().clone() };
        let path = folder.path().join(named(&gone));
        let file = fs::File::options().read(true).write(true).create_new(true).open(&path).expect("a file");
        assert_eq!(super::locks::claim(&file, true).expect("it can be asked"), super::Claim::Ours);
        assert!(sweep(folder.path()).0.is_empty() && path.exists());
        drop(file);
        assert_eq!(sweep(folder.path()).0, [path]);
    }
}
