//! What a place of a file system belongs to: the file system itself, a file, or nobody. One file a kind; what they share is here.

use std::collections::BTreeSet;

/// Whose a place is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The file system's own, and what of it.
    Metadata(&'static str),
    /// A file's, or a folder's.
    File {
        /// Its inode; on NTFS the number of its record.
        inode: u64,
        /// Where it is from the file system's root, control characters escaped; none where no folder names it.
        path: Option<String>,
    },
    /// Nobody's: the file system calls it free.
    Free,
}

/// Pieces of maps and folders that are read before it is given up.
const READS_MAX: u32 = 1 << 23;
/// Folders that are gone through.
const FOLDERS_MAX: usize = 1 << 20;
/// Bytes of their names that are kept.
const NAMES_BYTES_MAX: usize = 32 << 20;
/// Folders above one another that make a path; what is deeper nobody can name at once (Linux' `PATH_MAX` is 4096 bytes).
pub(super) const DEPTH_MAX: usize = 2048;

/// How long a look through a file system may take: until `stopped` says so, or too much was read.
pub(super) struct Patience<'a> {
    stopped: &'a dyn Fn() -> bool,
    reads: u32,
}

impl<'a> Patience<'a> {
    pub(super) fn until(stopped: &'a dyn Fn() -> bool) -> Self {
        Self { stopped, reads: 0 }
    }

    /// Whether it is to end, before anything more is looked at.
    pub(super) fn is_over(&self) -> bool {
        self.reads > READS_MAX || (self.stopped)()
    }

    /// Counts one more read; false where it isn't to be done any more.
    pub(super) fn one_more(&mut self) -> bool {
        self.reads += 1;
        !self.is_over()
    }
}

/// What a folder names.
pub(super) struct Named {
    pub(super) inode: u64,
    pub(super) is_folder: bool,
    /// Control characters escaped.
    pub(super) name: String,
}

/// What is shown the names of a folder, one after another, until it says false.
pub(super) type Visitor<'a> = &'a mut dyn FnMut(Named) -> bool;

/// A folder that was seen: its inode, the place in the list of the one that names it, and its name.
struct Seen {
    inode: u64,
    parent: usize,
    name: String,
}

/// The first path that leads to an inode from the folder `root`; `entries` shows what a folder names, and tells none where the look is
/// to end.
pub(super) fn path_to(wanted: u64, root: u64, entries: &mut dyn FnMut(u64, Visitor) -> Option<()>) -> Option<String> {
    let mut folders = vec![Seen { inode: root, parent: 0, name: String::new() }];
    let mut known = BTreeSet::from([root]);
    let (mut at, mut kept_bytes, mut last) = (0, 0, (wanted == root).then(String::new));
    while last.is_none() && at < folders.len() {
        let folder = folders[at].inode;
        entries(folder, &mut |named| {
            if named.inode == wanted {
                last = Some(named.name);
                return false;
            }
            if named.is_folder && folders.len() < FOLDERS_MAX && kept_bytes < NAMES_BYTES_MAX && known.insert(named.inode) {
                kept_bytes += named.name.len();
                folders.push(Seen { inode: named.inode, parent: at, name: named.name });
            }
            true
        })?;
        at += 1;
    }
    let mut names = vec![last?];
    let mut above = at.saturating_sub(1);
    while above != 0 && names.len() < DEPTH_MAX {
        names.push(std::mem::take(&mut folders[above].name));
        above = folders[above].parent;
    }
    (above == 0).then(|| joined(names))
}

/// A path by its names, the last one first.
pub(super) fn joined(mut names: Vec<String>) -> String {
    names.reverse();
    format!("/{}", names.join("/"))
}

#[cfg(test)]
mod tests {
    use super::{Named, path_to};

    /// A folder that names itself, or one above, isn't gone through twice.
    #[test]
    fn paths_end_even_where_folders_name_one_another() {
        let mut entries = |folder: u64, show: super::Visitor| {
            let names: &[(u64, bool, &str)] = match folder {
                2 => &[(3, true, "a"), (2, true, "itself"), (9, false, "top")],
                3 => &[(2, true, "up"), (4, true, "b")],
                4 => &[(3, true, "round"), (5, false, "file")],
                _ => &[],
            };
            names.iter().all(|&(inode, is_folder, name)| show(Named { inode, is_folder, name: name.to_owned() }));
            Some(())
        };
        for (wanted, path) in [(2, Some("/")), (9, Some("/top")), (3, Some("/a")), (4, Some("/a/b")), (5, Some("/a/b/file")), (6, None)] {
            assert_eq!(path_to(wanted, 2, &mut entries).as_deref(), path, "{wanted}");
        }
        assert_eq!(path_to(5, 2, &mut |_, _| None), None, "the time is over");
    }

    /// A chain of folders that a hostile image makes as long as it likes takes no time to speak of, and has no path.
    #[test]
    fn endless_depths_have_no_path() {
        let mut chain = |folder: u64, show: super::Visitor| {
            show(Named { inode: folder + 1, is_folder: true, name: "x".repeat(100) });
            Some(())
        };
        assert!(path_to(1000, 2, &mut chain).is_some());
        assert_eq!(path_to(200_000, 2, &mut chain), None);
    }
}
