//! Whether members are independent: two names for the same storage are one vote, not two.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};

use crate::{
    member::{HostFile, Member, MemberName},
    sys::{
        btrfs,
        device::{Beneath, Sysfs},
        fiemap,
        mount::Mount,
    },
    vote::ByteRange,
};

/// Longest chain of devices over devices that is followed; the kernel itself allows few.
const DEPTH_MAX: usize = 16;
/// Shared extents looked at for each member; one common extent is enough to warn.
const EXTENTS_MAX: usize = 4096;

/// The same bytes would vote twice.
#[derive(Debug, thiserror::Error)]
#[error(
    "{first} and {second} are the same storage ({how}): the same bytes can't vote twice\nhint: leave one of them out: shared storage has one vote"
)]
pub struct DependenceError {
    /// One of them.
    pub first: MemberName,
    /// The other.
    pub second: MemberName,
    /// Why they are the same.
    pub how: String,
}

/// A thing that holds bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    File { dev: u64, ino: u64 },
    Device { rdev: u64 },
}

/// A member's bytes as they lie on a node: the part, where it is known.
#[derive(Clone, Copy, Debug)]
struct Place {
    node: Node,
    part: Option<ByteRange>,
}

/// Where bytes lie: on the thing itself, and on what that rests on, step by step.
struct Places {
    places: Vec<Place>,
    /// What the file system that holds the file lies on, step by step.
    hosts: Vec<Node>,
}

impl Places {
    fn of(meta: &fs::Metadata, size: u64, sysfs: &Sysfs) -> Self {
        let device = meta.file_type().is_block_device();
        let node = if device { Node::Device { rdev: meta.rdev() } } else { Node::File { dev: meta.dev(), ino: meta.ino() } };
        let hosts = if device { Vec::new() } else { hosts_of(meta.dev(), sysfs) };
        Self { hosts, ..Self::from(node, size, sysfs) }
    }

    /// A thing of `size` bytes, and what it rests on.
    fn from(node: Node, size: u64, sysfs: &Sysfs) -> Self {
        let mut places = vec![Place { node, part: Some(ByteRange::new(0, size)) }];
        let mut next = 0;
        while next < places.len() && places.len() < DEPTH_MAX {
            if let Node::Device { rdev } = places[next].node {
                let upper = places[next].part;
                places.extend(sysfs.beneath(rdev).into_iter().filter_map(|beneath| step(upper, beneath)));
            }
            next += 1;
        }
        Self { places, hosts: Vec::new() }
    }
}

/// What a file system with that device number lies on: the device, and what that rests on.
fn hosts_of(dev: u64, sysfs: &Sysfs) -> Vec<Node> {
    Places::from(Node::Device { rdev: dev }, u64::MAX, sysfs).places.into_iter().map(|place| place.node).collect()
}

/// From a device to what is beneath it.
fn step(upper: Option<ByteRange>, beneath: Beneath) -> Option<Place> {
    let moved = |start: u64, length: u64| {
        let upper = upper?;
        let end = upper.end.checked_add(start)?;
        let end = if length == 0 { end } else { end.min(start.checked_add(length)?) };
        let start = upper.start.checked_add(start)?;
        (start <= end).then_some(ByteRange { start, end })
    };
    Some(match beneath {
        Beneath::Part { rdev, start, length } => Place { node: Node::Device { rdev }, part: moved(start, length) },
        Beneath::Somewhere { rdev } => Place { node: Node::Device { rdev }, part: None },
        Beneath::Inode { dev, ino, rdev, start, length } => {
            let node = if rdev == 0 { Node::File { dev, ino } } else { Node::Device { rdev } };
            Place { node, part: moved(start, length) }
        }
        Beneath::File { path, start, length } => {
            let meta = fs::metadata(path).ok()?;
            let node = if meta.file_type().is_block_device() {
                Node::Device { rdev: meta.rdev() }
            } else {
                Node::File { dev: meta.dev(), ino: meta.ino() }
            };
            Place { node, part: moved(start, length) }
        }
    })
}

/// How two stand to each other.
enum Relation {
    Same(String),
    Neighbours(String),
}

fn relation(a: &Places, b: &Places) -> Option<Relation> {
    let overlap = overlap(a, b);
    if let Some(Relation::Same(_)) = overlap {
        return overlap;
    }
    for (one, other) in [(a, b), (b, a)] {
        if one.hosts.contains(&other.places[0].node) {
            return Some(Relation::Same("a file on the file system of the device".into()));
        }
    }
    overlap
}

/// The same by what they are, and what they rest on.
fn overlap(a: &Places, b: &Places) -> Option<Relation> {
    let mut neighbours = None;
    for (depth_a, place_a) in a.places.iter().enumerate() {
        for (depth_b, place_b) in b.places.iter().enumerate() {
            if place_a.node != place_b.node {
                continue;
            }
            let what = match (place_a.node, depth_a + depth_b) {
                (Node::File { .. }, 0) => "one file under two names",
                (Node::Device { .. }, 0) => "one device under two names",
                (Node::File { .. }, _) => "a device over a file",
                (Node::Device { .. }, _) => "a device over another",
            };
            match (place_a.part, place_b.part) {
                (Some(part_a), Some(part_b)) if part_a.and(part_b).is_some() => return Some(Relation::Same(what.into())),
                (Some(part_a), Some(part_b)) if part_a == part_b => return Some(Relation::Same(what.into())), // both empty
                (Some(_), Some(_)) => neighbours = Some("other parts of one device or file".to_owned()),
                _ if depth_a == 0 || depth_b == 0 => return Some(Relation::Same(what.into())),
                _ => neighbours = Some("they rest on one device".to_owned()),
            }
        }
    }
    neighbours.map(Relation::Neighbours)
}

/// How two stand to each other of which a server holds one at least: mounted twice, its file has two device numbers.
fn by_servers(a: &HostFile, b: &HostFile) -> Option<Relation> {
    let (there, other) = (a.metadata(), b.metadata());
    let served = a.network().is_some() || b.network().is_some();
    if !served || a.is_device() || b.is_device() {
        return None;
    }
    let unknown = Mount::default();
    let (mount_a, mount_b) = (a.mount().unwrap_or(&unknown), b.mount().unwrap_or(&unknown));
    let one_source = a.network().is_some() && b.network().is_some() && mount_a.source == mount_b.source && mount_a.source.contains(':');
    let times = |meta: &fs::Metadata| (meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec());
    let alike = there.ino() == other.ino() && there.len() == other.len() && times(there) == times(other);
    // Several servers may be reached by one address, through tunnels; and FUSE makes numbers up.
    let numbered = ![a.network(), b.network()].contains(&Some("FUSE"));
    if one_source && numbered && mount_a.root == mount_b.root && alike {
        return Some(Relation::Same(format!("one file of {}, mounted twice", mount_a.source)));
    }
    for (mount, file, local) in [(mount_a, a, other), (mount_b, b, there)] {
        let own = mount.own_path(file.path()).and_then(|path| fs::metadata(path).ok());
        let same = |own: &fs::Metadata| {
            (own.dev(), own.ino()) == (local.dev(), local.ino()) && there.len() == other.len() && there.mtime() == other.mtime()
        };
        if own.is_some_and(|own| same(&own)) {
            return Some(Relation::Same(format!("one file of this machine, reached through {} as well", mount.source)));
        }
    }
    // Servers that make numbers and times up have no fractions of a second.
    let exact = there.ctime_nsec() != 0;
    (alike && exact).then(|| {
        Relation::Neighbours("their inode numbers, sizes and times are equal to the nanosecond: likely one file, mounted twice".into())
    })
}

/// Whether two members that are to be locked are likely one file of one server: how that is known.
pub(super) fn likely_one(a: &HostFile, b: &HostFile) -> Option<String> {
    match by_servers(a, b)? {
        Relation::Same(how) | Relation::Neighbours(how) => Some(how),
    }
}

/// Refuses members that are the same storage.
///
/// # Errors
/// The first pair that is one storage under two names.
pub fn check_independence(members: &[&HostFile], sysfs: &Sysfs) -> Result<(), DependenceError> {
    let places: Vec<Places> = members.iter().map(|member| Places::of(member.metadata(), member.size(), sysfs)).collect();
    for (second, b) in places.iter().enumerate() {
        for (first, a) in places[..second].iter().enumerate() {
            let found = relation(a, b).or_else(|| by_servers(members[first], members[second]));
            if let Some(Relation::Same(how)) = found {
                return Err(DependenceError { first: members[first].name().clone(), second: members[second].name().clone(), how });
            }
        }
    }
    Ok(())
}

/// Tells in words which members share some of their storage, or of what lies under them.
#[must_use]
pub fn shared_storage(members: &[&dyn Member], sysfs: &Sysfs) -> Vec<String> {
    let places: Vec<Vec<(&HostFile, Places)>> = members
        .iter()
        .map(|member| member.files().into_iter().map(|file| (file, Places::of(file.metadata(), file.size(), sysfs))).collect())
        .collect();
    let mut warnings = Vec::new();
    for (second, b) in places.iter().enumerate() {
        for (first, a) in places[..second].iter().enumerate() {
            let both = a.first().zip(b.first());
            let own = both.and_then(|((file_a, a), (file_b, b))| relation(a, b).or_else(|| by_servers(file_a, file_b)));
            let how = match own {
                Some(Relation::Same(how) | Relation::Neighbours(how)) => Some(how),
                None => common_file(a, b),
            };
            let names = (members[first].name(), members[second].name());
            warnings.extend(how.map(|how| format!("{} and {} aren't independent: {how}", names.0, names.1)));
        }
    }
    let own: Vec<&HostFile> = members.iter().filter_map(|member| member.files().into_iter().next()).collect();
    warnings.extend(shared_extents(&own));
    warnings
}

/// A file that both rest on: a backing file, for one.
fn common_file(a: &[(&HostFile, Places)], b: &[(&HostFile, Places)]) -> Option<String> {
    let pairs = a.iter().flat_map(|a| b.iter().map(move |b| (a, b)));
    let same = |one: &Places, other: &Places| matches!(relation(one, other), Some(Relation::Same(_)));
    let (_, (file, _)) = pairs.into_iter().find(|((_, one), (_, other))| same(one, other))?;
    Some(format!("both rest on {}, whose bytes vote twice where they come from there", file.name()))
}

/// Pairs of files that share extents (reflinks): damage to one of those is damage to both.
fn shared_extents(members: &[&HostFile]) -> Vec<String> {
    let shared: Vec<Option<(u64, Vec<ByteRange>)>> = members
        .iter()
        .map(|member| {
            let file_system = if member.is_device() { None } else { file_system_id(member) }?;
            let shared = fiemap::shared(member.file(), EXTENTS_MAX).ok()?;
            Some((file_system, shared.into_iter().map(|range| ByteRange::new(range.start, range.end)).collect()))
        })
        .collect();
    let mut warnings = Vec::new();
    for second in 0..members.len() {
        for first in 0..second {
            if let (Some((system_a, a)), Some((system_b, b))) = (&shared[first], &shared[second]) {
                let bytes = if system_a == system_b { common_bytes(a, b) } else { 0 };
                if bytes > 0 {
                    warnings.push(format!(
                        "{} and {} aren't independent: they share at least {bytes} bytes on disk (a reflink copy?)",
                        members[first].name(),
                        members[second].name()
                    ));
                }
            }
        }
    }
    warnings
}

/// Bytes that both ascending lists hold.
fn common_bytes(a: &[ByteRange], b: &[ByteRange]) -> u64 {
    let (mut i, mut j, mut sum) = (0, 0, 0);
    while i < a.len() && j < b.len() {
        sum += a[i].and(b[j]).map_or(0, ByteRange::length);
        if a[i].end <= b[j].end { i += 1 } else { j += 1 }
    }
    sum
}

/// What tells file systems apart: btrfs gives each subvolume a device number of its own.
fn file_system_id(member: &HostFile) -> Option<u64> {
    use nix::sys::statfs::{BTRFS_SUPER_MAGIC, fstatfs};
    let facts = fstatfs(member.file()).ok()?;
    if facts.filesystem_type() == BTRFS_SUPER_MAGIC {
        return btrfs::id(member.file()).ok();
    }
    Some(member.metadata().dev())
}

/// Whether writing to the thing at `path` (a block device, or a file that is to be replaced) would hit a member: which one.
///
/// # Errors
/// Where the path can't be looked at.
pub fn device_conflict(path: &Path, members: &[&dyn Member], sysfs: &Sysfs) -> io::Result<Option<MemberName>> {
    let output = Places::of(&fs::metadata(path)?, u64::MAX, sysfs);
    Ok(first_with(members, sysfs, |member| relation(&output, member)))
}

/// Whether the file system that holds `folder` lies on a member, so that writing there would change that: which one.
///
/// # Errors
/// Where the folder can't be looked at.
pub fn file_system_conflict(folder: &Path, members: &[&dyn Member], sysfs: &Sysfs) -> io::Result<Option<MemberName>> {
    let folder = fs::File::open(folder)?;
    let mut devices = vec![folder.metadata()?.dev()];
    // btrfs has device numbers of its own, behind which nothing can be seen.
    devices.extend(btrfs::devices(&folder).iter().filter_map(|path| Some(fs::metadata(path).ok()?.rdev())));
    let hosts: Vec<Places> = devices.into_iter().map(|rdev| Places::from(Node::Device { rdev }, u64::MAX, sysfs)).collect();
    // Members may well lie on the same file system; but it must not lie on one of them.
    Ok(first_with(members, sysfs, |member| {
        hosts.iter().filter_map(|host| overlap(host, member)).find(|found| matches!(found, Relation::Same(_)))
    }))
}

/// The first member that is the same storage, by `related`.
fn first_with(members: &[&dyn Member], sysfs: &Sysfs, related: impl Fn(&Places) -> Option<Relation>) -> Option<MemberName> {
    let same = |file: &HostFile| {
        let places = Places::of(file.metadata(), file.size().max(1), sysfs);
        matches!(related(&places), Some(Relation::Same(_)))
    };
    let found = members.iter().find(|member| member.files().into_iter().any(same));
    found.map(|member| member.name().clone())
}

#[cfg(test)]
mod tests {
    use super::{ByteRange, Node, Place, Places, Relation, common_bytes, relation, step};
    use crate::sys::device::{Beneath, Sysfs};
    use std::{fs, os::unix::fs::symlink};

    fn places(node: Node, part: Option<(u64, u64)>, below: Vec<(Node, Option<(u64, u64)>)>) -> Places {
        let place = |(node, part): (Node, Option<(u64, u64)>)| Place { node, part: part.map(|(start, end)| ByteRange::new(start, end)) };
        Places { places: std::iter::once((node, part)).chain(below).map(place).collect(), hosts: Vec::new() }
    }

    #[test]
    fn knows_one_storage_under_two_names() {
        let (disk, other, file) = (Node::Device { rdev: 1 }, Node::Device { rdev: 2 }, Node::File { dev: 1, ino: 5 });
        let whole = || places(disk, Some((0, 1000)), vec![]);
        let first = || places(other, Some((0, 400)), vec![(disk, Some((0, 400)))]);
        let second = || places(Node::Device { rdev: 3 }, Some((0, 400)), vec![(disk, Some((400, 800)))]);
        let mapped = || places(Node::Device { rdev: 4 }, Some((0, 400)), vec![(disk, None)]);
        let same = |a: &Places, b: &Places| matches!(relation(a, b), Some(Relation::Same(_)));
        let near = |a: &Places, b: &Places| matches!(relation(a, b), Some(Relation::Neighbours(_)));
        assert!(same(&whole(), &first()), "a disk and its partition");
        assert!(near(&first(), &second()), "two partitions of one disk");
        assert!(same(&whole(), &mapped()), "a device-mapper node over a member");
        assert!(near(&first(), &mapped()), "two things on one disk, of which one can't be placed");
        assert!(relation(&whole(), &places(file, Some((0, 9)), vec![])).is_none(), "nothing in common");
        let hosted = Places { hosts: vec![disk], ..places(file, Some((0, 9)), vec![]) };
        assert!(same(&hosted, &whole()), "a file on the disk that is a member, too");
    }

    #[test]
    fn a_step_down_moves_the_part() {
        let upper = Some(ByteRange::new(0, 1000));
        let below = |start, length| step(upper, Beneath::Part { rdev: 7, start, length }).expect("a place").part;
        assert_eq!(below(512, 0), Some(ByteRange::new(512, 1512)));
        assert_eq!(below(512, 100), Some(ByteRange::new(512, 612)));
        assert_eq!(below(u64::MAX, 0), None);
    }

    /// A device-mapper stack as /sys shows it, made by hand: this kernel may have none.
    #[test]
    fn reads_stacks_from_sysfs() {
        let root = tempfile::tempdir().expect("a folder");
        let block = root.path().join("dev/block");
        for (number, slaves) in [("253:1", vec!["253:0"]), ("253:0", vec!["8:0"]), ("8:0", vec![])] {
            let folder = block.join(number);
            fs::create_dir_all(folder.join("slaves")).expect("folders");
            fs::write(folder.join("dev"), format!("{number}\n")).expect("a file");
            for slave in slaves {
                symlink(block.join(slave), folder.join("slaves").join(slave.replace(':', "-"))).expect("a link");
            }
        }
        let sysfs = Sysfs::at(root.path());
        let rdev = |major, minor| nix::sys::stat::makedev(major, minor);
        assert_eq!(sysfs.beneath(rdev(253, 1)), [Beneath::Somewhere { rdev: rdev(253, 0) }]);
        assert_eq!(sysfs.beneath(rdev(253, 0)), [Beneath::Somewhere { rdev: rdev(8, 0) }]);
        assert_eq!(sysfs.beneath(rdev(8, 0)), []);
    }

    #[test]
    fn common_bytes_are_counted() {
        let list = |ranges: &[(u64, u64)]| ranges.iter().map(|&(start, end)| ByteRange::new(start, end)).collect::<Vec<_>>();
        assert_eq!(common_bytes(&list(&[(0, 10), (20, 30)]), &list(&[(5, 25)])), 10);
        assert_eq!(common_bytes(&list(&[(0, 10)]), &list(&[(10, 20)])), 0);
    }
}
