//! Texts that stand in `--help` and in the man pages alike. A line that ends with a colon and stands at the margin is a heading.

pub(super) const OVERVIEW: &str = "\
Exit status:
  0    all is well: every sector unanimous, or the result is whole
  1    differences, all decided by the vote: repairable; or work is left that an option would do
  2    a person must decide: some sectors are undecided or could not be healed, or a guard stands
  3    not completed: bad usage, an I/O error, a bad image
  4    not started: a member is in use by another program
  130  interrupted; what was found so far is reported as partial

See also:
  qemu-img(1), cmp(1), ddrescue(1)";

/// What members may be; for every command that takes some.
macro_rules! members {
    () => {
        "\
What members may be:
  Each is a regular file, a block device, or an NBD address: nbd://HOST[:PORT]/EXPORT, nbd+unix:///EXPORT?socket=PATH, nbds://... \
with TLS. NBD needs the library libnbd; nothing else does.
  A file is a raw or a qcow2 image. -f says so for all of them, raw:PATH and qcow2:PATH for one; else it is guessed by the first bytes. \
All that are guessed must be guessed alike, the report says where it was a guess, and nothing is written by a guess of qcow2.
  Members of any kind vote with each other by what a guest sees. -f raw on qcow2 files votes on the files themselves, byte for byte: \
right for replicas that were copied as files, metadata included.
  Files that a qcow2 image names are opened only with --allow-references (its own folder and below) or --allow-references=any. Relative \
names start from the image's folder.
  Of a damaged qcow2 image only that is lost to which the damaged table or cluster leads; the report tells which, and the others outvote \
it. A header that can't be read makes a failed member. Where data lies beyond the end of the file QEMU shows zeros; here it is missing.
  Encrypted images, and formats like vmdk, vdi and vhdx, come in through qemu-nbd: qemu-nbd -r -k /run/vm.sock -f vmdk disk.vmdk, and \
then nbd+unix:///?socket=/run/vm.sock.
  A quorum as QEMU's users describe it, json:{\"driver\":\"quorum\",...} or with --image-opts, is taken apart into its members and \
threshold."
    };
}

pub(super) const CHECK: &str = concat!(
    members!(),
    "

What differs is read twice:
  The second time past the page cache (the first 64 MiB of differences), before it is believed. A sector that answers differently then is \
unstable: it has no ballot, and a repair in place overwrites it by the others' votes as it does what lost.

Examples:
  Check three replicas:
    quorum-img check a.img b.img c.img
  What guests see, whatever holds it:
    quorum-img check raw:a.img qcow2:b.qcow2 nbd://server/vm1
  Past the page cache, at 100 MiB a second, for a cron job:
    quorum-img check -q -T none -r 100M --timeout 5m --report last.json a.img b.img c.img
  Every divergence, for a program:
    quorum-img check --output events a.img b.img c.img
  Two copies that have lost the same sectors, a digest, and a backup that never votes: what it could give:
    quorum-img check --donor d.img a.img b.img disk.qdg
  The first half tonight, the second tomorrow, or on another machine; quorum-img report --merge makes one report of both:
    quorum-img check --shard 0/2 --report part0.json a.img b.img c.img
    quorum-img check --shard 1/2 --report part1.json a.img b.img c.img

Exit status:
  0    every sector unanimous, all members of one length
  1    differences, all decided: repairable
  2    a person must decide: some sectors are undecided, or the virtual size is, or a guard stands before a repair
  3    not completed: bad usage, a bad image, a member changed meanwhile
  4    not started: another program writes to a member
  130  interrupted (INT, TERM, HUP); what was found is reported as partial

See also:
  quorum-img-show(1), quorum-img-repair(1), quorum-img-info(1), qemu-img(1), qemu-nbd(8), cmp(1)"
);

pub(super) const SHOW: &str = concat!(
    members!(),
    "

What is shown:
  Versions have letters; A is the one that won, or the one that most hold. A byte that isn't A's has a star behind it. Of a long place \
only lines in which the versions differ are shown, --lines of them; up to 64 KiB of it are looked at. What a version looks like is \
consistent with a kind of damage, and no proof of it. JSON has the bytes in hexadecimal.

Examples:
  A place that check told of:
    quorum-img show 0x1b400 a.img b.img c.img
  All that nobody won, from a report, and whose files they are in:
    quorum-img show --owners --from last.json a.img b.img c.img

Exit status:
  0    all members agree there
  1    they differ, and the vote decides it
  2    nobody has won
  3    not completed: bad usage, a bad image, a place behind the end
  4    not started: another program writes to a member
  130  interrupted (INT, TERM, HUP)

See also:
  quorum-img-check(1), quorum-img-repair(1), cmp(1), xxd(1)"
);

pub(super) const DIGEST: &str = concat!(
    members!(),
    "

What a digest is good for:
  As a witness it is given among the members of check and repair: where copies differ, the version that it knows has one more ballot, so that two \
copies and a digest decide what three copies do. Keep it where the copies aren't. It knows the image as it was when it was made: of copies that \
were modified since it tells, and nothing is written by it (old-witness). Made from one member alone it is that member's memory, and adds \
nothing to what that holds now.
  Digests alone vote, too: make one of each copy where it lies, bring them together, and check names the chunks that differ.

Examples:
  Of three copies that agree, for later:
    quorum-img digest -o disk.qdg a.img b.img c.img
  Two copies and that, later:
    quorum-img check a.img b.img disk.qdg
  Compare copies where they lie:
    quorum-img digest -o a.qdg a.img
  The hash of the whole:
    quorum-img digest --root disk.qdg
  In parts, for instance on several machines:
    quorum-img digest --shard 0/2 -o part0.qdg a.img b.img c.img

Exit status:
  0    all of it is known
  2    a part of it isn't: nobody won there, or it can't be read, or a shard is missing
  3    not completed: bad usage, a bad image, members that don't agree on a size
  4    not started: another program writes to a member
  130  interrupted (INT, TERM, HUP); nothing is kept

See also:
  quorum-img-check(1), quorum-img-repair(1), b3sum(1)"
);

pub(super) const REPORT: &str = "\
Examples:
  Yesterday's scrub, as it was shown:
    quorum-img report last.json
  A page to send around:
    quorum-img report last.json --html last.html
  The same with what the copies hold at the first places:
    quorum-img report last.json --html last.html --hex a.img b.img c.img
  One report of a check that was made in two parts:
    quorum-img report --merge --report whole.json part0.json part1.json

Exit status:
  0    it was shown, whatever it says; with --merge what the check of the whole would have ended with
  3    it is no report, or can't be written; a part is missing, or isn't of the same check

See also:
  quorum-img-check(1), quorum-img-report(5)";

pub(super) const REPAIR: &str = concat!(
    members!(),
    "

What is not overwritten unasked:
  Beside the votes each member is asked who it is and how old it is, by what its file systems say where a checksum holds, and how much \
it holds. Where one of these stands nothing is written, with exit code 2, until its word is said with --force; quorum-img check and \
--dry-run say so beforehand. Those of the first line stand before a new image as well; of the second it is told.
  newer, zeros, empty, cuts, shared, minority, old-witness: a member would lose content and is newer than all who outvote it; content would become \
zeros; members without any content outvote one that has some; content behind the voted end would be cut off; members share storage; the \
threshold is below the majority; a member isn't what it was when a digest was made by whose word it would lose.
  stale, stranger, device-metadata: a member loses more than --max-damage percent of its content; it calls itself another disk than \
those who outvote it do; what makes it a leg of an array would become another leg's.
  --trust is the word for what others lose to that member: newer, zeros and stale.

What is rewritten in place:
  Of a qcow2 member the clusters that are its own are rewritten where they lie; holes, and clusters that are compressed, zero, in a \
backing file or shared with a snapshot, get new ones. The journal keeps the bytes of the file. Its virtual size isn't changed.
  Before anything is written to any member an image is refused that is dirty or corrupt, has metadata that contradicts itself, has its \
data in another file, or would need new clusters with zstd or extended L2 entries; persistent bitmaps ask for --force bitmaps.
  An export is rewritten where its server allows writing; the journal needs a place then (--journal).

Examples:
  Write the image that the majority holds:
    quorum-img repair -o fixed.img a.img b.img c.img
  A compressed qcow2 image of it:
    quorum-img repair -O qcow2 -c -o fixed.qcow2 a.img b.img c.img
  What guests see of qcow2 copies, with their backing files, in place:
    quorum-img repair --in-place -f qcow2 --allow-references a.qcow2 b.qcow2 c.qcow2
  Two copies differ and a third is lost; b is known to be good:
    quorum-img repair --trust b.img -o fixed.img a.img b.img
  A person decides for one sector, the vote for the rest:
    quorum-img repair --pick '0x1b400:512=#1' -o fixed.img a.img b.img d.img
  What would be rewritten in place?
    quorum-img repair --in-place --dry-run a.img b.img c.img
  Rewrite the minority copies, and take it back:
    quorum-img repair --in-place a.img b.img c.img
    quorum-img undo a.img.quorum-journal
  Devices, with the journal on another disk:
    quorum-img repair --in-place --journal /var/lib/vm1.journal /dev/vg1/vm1 /dev/vg2/vm1 /dev/vg3/vm1
  Scan today, repair tonight:
    quorum-img check --report report.json a.img b.img c.img
    quorum-img repair --from report.json --in-place a.img b.img c.img

Exit status:
  0    the output is whole; in place: nothing to do, or all of it done
  1    in place: work is left that an option would do (--dry-run, a surplus without --truncate, --no-write)
  2    some sectors stayed undecided: there is no output, unless --undecided says what to write there; in place: what was
       decided is written, and the rest, or what could not be healed, is listed. Nothing is written where the virtual size
       is undecided, or a guard stands; --output json, events and --report say so, too
  3    not completed: bad usage, an I/O error, a bad image, a member changed meanwhile; there is no output
  4    not started: another program uses a member
  130  interrupted (INT, TERM, HUP); there is no output; in place: what was written stands in the journal

See also:
  quorum-img-check(1), quorum-img-undo(1), quorum-img-info(1), qemu-img(1), qemu-nbd(8), ddrescue(1)"
);

pub(super) const UNDO: &str = "\
Examples:
  What would be put back?
    quorum-img undo --dry-run a.img.quorum-journal
  Put it back:
    quorum-img undo a.img.quorum-journal
  A member moved since:
    quorum-img undo --map /old/b.img=/new/b.img a.img.quorum-journal

Exit status:
  0    all was put back, or could be (--dry-run)
  3    refused, or not completed: a damaged journal, a member that isn't as the repair left it, an I/O error
  4    not started: a member is in use by another program
  130  interrupted (INT, TERM, HUP); run it again

See also:
  quorum-img-repair(1), quorum-img-info(1)";

pub(super) const INFO: &str = "\
Examples:
  What are these, and which was written last?
    quorum-img info a.img b.img /dev/vg/c
  A qcow2 image's version, features, backing file and snapshots; what a server says of an export:
    quorum-img info a.qcow2 nbd+unix:///?socket=/run/vm.sock
  What does this journal hold, and was its repair completed?
    quorum-img info a.img.quorum-journal

Exit status:
  0  all could be looked at
  3  one could not
  4  a journal is being written to by a repair or an undo

See also:
  quorum-img-check(1), qemu-img(1), blkid(8), lsblk(8)";

pub(super) const COMPLETIONS: &str = "\
Examples:
  For all users of bash:
    quorum-img completions bash > /etc/bash_completion.d/quorum-img
  For yourself, in zsh:
    quorum-img completions zsh > ~/.zfunc/_quorum-img

Exit status:
  0  they were printed
  3  there is no such shell

See also:
  quorum-img(1), bash(1), zsh(1), fish(1)";
