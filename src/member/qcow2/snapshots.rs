//! The table of internal snapshots (QEMU, docs/interop/qcow2.rst, "Snapshot table entry").

use super::header::{Header, u32_at, u64_at};
use crate::member::{RawMember, Readable};

/// Bytes of an entry before its extra data and names.
const ENTRY_BYTES: usize = 40;
/// QEMU's bound on an entry's extra data (block/qcow2.h, `QCOW_MAX_SNAPSHOT_EXTRA_DATA`).
const EXTRA_BYTES_MAX: usize = 1024;
/// QEMU's bound on a snapshot's L1 table, in entries.
const L1_ENTRIES_MAX: u32 = 4 << 20;

/// One internal snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its number, as text.
    pub id: Vec<u8>,
    /// Its name.
    pub name: Vec<u8>,
    /// When it was taken, in seconds since 1970.
    pub seconds: u32,
    /// What a guest saw, in bytes; none where the entry doesn't say: the image's own size then.
    pub size: Option<u64>,
    /// Bytes of a virtual machine's state that were saved with it.
    pub vm_state: u64,
    /// Where its L1 table lies, and its entries.
    pub l1: (u64, u32),
    /// Where its entry in the snapshot table ends, in bytes.
    pub end: u64,
}

/// Reads the table as far as it can be read, and says what is wrong with the rest.
pub(super) fn read_snapshots(file: &RawMember, header: &Header) -> (Vec<Snapshot>, Option<String>) {
    let mut snapshots = Vec::new();
    let mut at = header.snapshots_offset;
    for number in 0..header.snapshots {
        match read_snapshot(file, at, header.cluster_bytes()) {
            Some((snapshot, next)) => {
                snapshots.push(snapshot);
                at = next;
            }
            None => return (snapshots, Some(format!("entry {number} of its snapshot table, at offset {at:#x}, can't be read"))),
        }
    }
    (snapshots, None)
}

fn read_snapshot(file: &RawMember, at: u64, cluster_bytes: u64) -> Option<(Snapshot, u64)> {
    let read = |at: u64, length: usize| {
        let mut bytes = vec![0; length];
        let end = at.checked_add(length as u64)?;
        (end <= file.size() && file.read(at, &mut bytes, &mut None).is_ok()).then_some(bytes)
    };
    let entry = read(at, ENTRY_BYTES)?;
    let lengths = u32_at(&entry, 12);
    let (id_bytes, name_bytes) = ((lengths >> 16) as usize, (lengths & 0xffff) as usize);
    let extra_bytes = u32_at(&entry, 36) as usize;
    let l1 = (u64_at(&entry, 0), u32_at(&entry, 8));
    if extra_bytes > EXTRA_BYTES_MAX || !l1.0.is_multiple_of(cluster_bytes) || l1.1 > L1_ENTRIES_MAX {
        return None;
    }
    let rest_bytes = extra_bytes + id_bytes + name_bytes;
    let rest = read(at + ENTRY_BYTES as u64, rest_bytes)?;
    let (extra, names) = rest.split_at(extra_bytes);
    let (id, name) = names.split_at(id_bytes);
    let size = (extra_bytes >= 16).then(|| u64_at(extra, 8));
    let vm_state = if extra_bytes >= 8 { u64_at(extra, 0) } else { u64::from(u32_at(&entry, 32)) };
    if size.is_some_and(|size| i64::try_from(size).is_err()) {
        return None;
    }
    let end = at + ((ENTRY_BYTES + rest_bytes) as u64).next_multiple_of(8);
    let size = size.map(|size| size - size % 512);
    let snapshot = Snapshot { id: id.to_vec(), name: name.to_vec(), seconds: u32_at(&entry, 16), size, vm_state, l1, end };
    Some((snapshot, end))
}

/// The snapshot that is called `wanted`, or else that has it for its number, as qemu-img finds it.
pub(super) fn find_snapshot<'a>(snapshots: &'a [Snapshot], wanted: &[u8]) -> Option<&'a Snapshot> {
    snapshots.iter().find(|snapshot| snapshot.name == wanted).or_else(|| snapshots.iter().find(|snapshot| snapshot.id == wanted))
}
