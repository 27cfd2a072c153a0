//! Texts of `quorum-img set`, that stand in `--help` and in the man pages alike.

/// What sets end with.
macro_rules! set_codes {
    () => {
        "

Exit status:
  0    all is well
  1    differences, all decided: repairable; or a member is away or stale
  2    a person must decide: some sectors are undecided, a guard stands, a member isn't who the record says
  3    not completed: bad usage, an I/O error, a part that somebody wrote to while it was checked
  4    not started: another run works on the set, or another program uses a member
  130  interrupted; what was done so far is remembered

See also:
  quorum-img-set(1), quorum-img-check(1), quorum-img-repair(1)"
    };
}

pub(super) const OVERVIEW: &str = "\
What a set remembers:
  Its record is NAME.qset, an SQLite database that only its owner may write to, on a disk of this machine. Beside it lies NAME.qset.d with a \
digest of each part of the image and the journals of repairs. Copies of the record are made with export; the database's views, qset and qset_*, \
are its public schema.
  Each member has a state. ok: it votes. suspect: it dissented, and votes. returning: it was away; it is compared, and votes again after one \
complete check without a difference. stale: it differs since it was away, or by more than damage does; it has no vote until it is resynced. \
syncing: its resync has begun. failed: it can't be read as what it is. Members that have no vote are counted all the same: a majority is one of \
all members.
  Where the vote itself may be wrong (guards newer, stranger, zeros, empty) nobody's state changes: the set is disputed until a person decides.

Marks:
  A member carries a mark in an extended attribute of its file, user.quorum-img: whose it is, and the set's epoch, which is raised with each change \
of states. A mark that is lost, that was copied with its file, that is another member's or another set's, or that is newer than the record, is \
refused; an older one takes the vote. Where there are no such attributes (devices, exports, FAT, NFS before 4.2) a member is known by its file and \
its contents alone, and status says so.

The set's digest:
  A check keeps hashes of what it found, part by part. They have a word as long as nobody can have written to a member that votes: its file's \
size and times are what they were, on ext4, XFS or btrfs, in the same boot of this machine. Then two copies heal each other, and a file whose \
bytes became others by themselves is told of: silent corruption. After that, after a repair, and of devices and exports, it is silent, and says so.

Running guests:
  A set is checked while nobody writes. Of a guest that runs snapshots are read: check --via a.img=/snap/a.img. The policy's before and after \
are run by /bin/sh around a check, to freeze, snapshot and thaw; they get the set's name as an argument and QUORUM_IMG_SET, QUORUM_IMG_RUN, \
QUORUM_IMG_COMMAND and QUORUM_IMG_WHEN. Where before fails nothing is read; after is run whatever happened, unless the program is killed.

Examples:
  Three copies become a set, and are checked for the first time:
    quorum-img set create vm.qset c.img d.img e.img
  How it stands:
    quorum-img set status vm.qset
  A part a night:
    quorum-img set check --time-limit 2h vm.qset
  What was found is repaired, and a member that was away for long gets what it missed:
    quorum-img set repair -y vm.qset
    quorum-img set resync -y vm.qset e.img

See also:
  quorum-img-check(1), quorum-img-repair(1), quorum-img-digest(1), setfattr(1), virsh(1)";

pub(super) const CREATE: &str = concat!(
    "\
Examples:
  Three copies, checked a GiB at a time:
    quorum-img set create vm.qset c.img d.img e.img
  They are known to be alike:
    quorum-img set create --assume-clean vm.qset c.img d.img e.img
  The record is lost, and the members carry their marks:
    quorum-img set create --adopt new.qset a.img b.img c.img",
    set_codes!()
);

pub(super) const STATUS: &str = concat!(
    "\
What the states of a set mean:
  ok: all members agreed when they were checked last. unchecked: not all of the image was ever checked. suspect: a member dissents. degraded: a \
member is away, stale or failed. undecided: there are places that no version won. contradicted: all members hold the same where the set's \
digest knows something else. inquorate: fewer members vote than a version needs. disputed: the vote itself may be wrong.

Examples:
  One set, and what is unwell in a folder of them:
    quorum-img set status vm.qset
    quorum-img set status -x .",
    set_codes!()
);

pub(super) const CHECK: &str = concat!(
    "\
How it goes:
  The image is cut into parts (the policy's part-size). A pass goes through all of them, the one first that was checked longest ago, over as many \
runs as it takes; each part is remembered as soon as it is done. A run that reaches --time-limit ends with the part at hand. A divergence that \
crosses the edge of a part is told as two.
  A part that somebody wrote to while it was checked is void: nothing is said of it, and the next run looks at it again.

Examples:
  Two hours a night, for a timer:
    quorum-img set check -q --time-limit 2h vm.qset
  All of it anew:
    quorum-img set check --restart vm.qset
  A guest that runs, by snapshots:
    quorum-img set check --via a.img=/mnt/snap/a.img --via b.img=/mnt/snap/b.img vm.qset",
    set_codes!()
);

pub(super) const REPAIR: &str = concat!(
    "\
Examples:
  What would be written, and then that:
    quorum-img set repair --dry-run vm.qset
    quorum-img set repair -y vm.qset",
    set_codes!()
);

pub(super) const RESYNC: &str = concat!(
    "\
Examples:
  A member that was away for a week:
    quorum-img set resync -y vm.qset e.img
  Of two copies, where one is known to be right:
    quorum-img set resync -y --trust c.img vm.qset e.img",
    set_codes!()
);

pub(super) const REPLACE: &str = concat!(
    "\
A new disk at the old one's place:
  Where the new copy has the very name of the old one, it isn't a replacement: quorum-img set mark says that it is the member now, and set resync fills \
it.

Examples:
  A new disk for an old one:
    quorum-img set replace -y vm.qset e.img new.img",
    set_codes!()
);

pub(super) const UNDO: &str = concat!(
    "\
Examples:
  What run 2 wrote is put back:
    quorum-img set undo -y vm.qset 2",
    set_codes!()
);

pub(super) const ADD: &str = concat!(
    "\
Examples:
  A fourth copy:
    quorum-img set add vm.qset f.img",
    set_codes!()
);

pub(super) const REMOVE: &str = concat!(
    "\
Examples:
  Two are enough:
    quorum-img set remove vm.qset e.img",
    set_codes!()
);

pub(super) const MARK: &str = concat!(
    "\
Examples:
  A member was brought back from a backup, without its mark:
    quorum-img set mark vm.qset e.img",
    set_codes!()
);

pub(super) const CLEAR: &str = concat!(
    "\
Examples:
  A person has settled it:
    quorum-img set clear vm.qset
  That member votes again, unproven:
    quorum-img set clear -y vm.qset e.img",
    set_codes!()
);

pub(super) const POLICY: &str = concat!(
    "\
Examples:
  How it is, and what is to be otherwise:
    quorum-img set policy vm.qset
    quorum-img set policy vm.qset part-size=268435456 'before=virsh domfsfreeze vm' 'after=virsh domfsthaw vm'",
    set_codes!()
);

pub(super) const HISTORY: &str = concat!(
    "\
Examples:
  The last five runs, with the places where members differed:
    quorum-img set history -n 5 --places vm.qset",
    set_codes!()
);

pub(super) const EXPORT: &str = concat!(
    "\
Examples:
  A copy of the record, and back:
    quorum-img set export vm.qset > vm.json
    quorum-img set create --import vm.json copy.qset",
    set_codes!()
);
