//! Reads back what was written, past the page cache where that works.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use super::{ops::Op, voted::Voted};
use crate::{
    scan::Watch,
    sys::{
        buffer::{ALIGNMENT, Buffer},
        ring::Ring,
        storage::{Origin, Storage},
    },
    vote::ByteRange,
};

/// Longest read in bytes: one write at least.
const READ_BYTES_MAX: u64 = 1 << 20;
/// Bytes between two writes that are rather read than stepped over: where one read follows the other, and where many are in flight.
const GAP_BYTES_MAX: u64 = 64 << 10;
const GAP_BYTES_MAX_AT_ONCE: u64 = 16 << 10;
/// Reads in flight, and the memory in bytes from which on no more are started.
const IN_FLIGHT_MAX: u32 = 64;
const IN_FLIGHT_BYTES_MAX: usize = 16 << 20;

/// Writes that are read in one go: neighbours on one member.
struct Group {
    first: usize,
    last: usize,
    range: ByteRange,
}

/// The writes of `list` (by member, ascending) that read back differently, by their index, ascending, with what was found.
pub(super) fn differences(
    list: &[Op],
    voted: &Voted,
    stores: &[Option<&dyn Storage>],
    threads: usize,
    watch: &dyn Watch,
) -> Vec<(usize, String)> {
    for (member, store) in stores.iter().enumerate() {
        if let Some(store) = store
            && store.origin() == Origin::Cache
            && list.iter().any(|op| op.member == member)
        {
            store.forget_cached();
        }
    }
    let groups = match Ring::new(IN_FLIGHT_MAX) {
        Ok(ring) => doubtful(ring, list, voted, stores, watch),
        Err(_) => grouped(list, |_| GAP_BYTES_MAX),
    };
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    let work = || {
        let mut bytes = Buffer::new(READ_BYTES_MAX as usize + ALIGNMENT);
        while let Some(group) = groups.get(next.fetch_add(1, Relaxed)) {
            let Some(store) = stores[list[group.first].member] else { continue };
            let wrong = check(group, list, voted, store, &mut bytes, watch);
            if !wrong.is_empty() {
                found.lock().expect("no thread panics with it").extend(wrong);
            }
        }
    };
    std::thread::scope(|scope| {
        (1..threads.min(groups.len())).for_each(|_| drop(scope.spawn(work)));
        work();
    });
    let mut found = found.into_inner().expect("no thread panics with it");
    found.sort_by_key(|&(index, _)| index);
    found
}

/// Reads back with many reads in flight what can be read so, and returns the rest: what of it isn't as it was written has to be looked at more
/// closely.
fn doubtful(mut ring: Ring, list: &[Op], voted: &Voted, stores: &[Option<&dyn Storage>], watch: &dyn Watch) -> Vec<Group> {
    let direct = |member: usize| stores[member].and_then(Storage::direct_file);
    let groups = grouped(list, |member| if direct(member).is_some() { GAP_BYTES_MAX_AT_ONCE } else { GAP_BYTES_MAX });
    let blocks = |group: &Group| group.range.widened(ALIGNMENT as u64, u64::MAX);
    let reads = groups.iter().zip(0..).filter_map(|(group, number)| {
        let (file, range) = (direct(list[group.first].member)?, blocks(group));
        watch.spend(range.length());
        Some((number, file, range.start..range.end))
    });
    let mut proven = vec![false; groups.len()];
    ring.read_each(reads, IN_FLIGHT_BYTES_MAX, |number, bytes| {
        let group = &groups[number as usize];
        let start = blocks(group).start;
        let written = |op: &Op| bytes.get((op.range.start - start) as usize..(op.range.end - start) as usize) == Some(&op.bytes(voted)[..]);
        proven[number as usize] = list[group.first..=group.last].iter().all(written);
    });
    groups.into_iter().zip(proven).filter_map(|(group, proven)| (!proven).then_some(group)).collect()
}

fn grouped(list: &[Op], gap_bytes_max: impl Fn(usize) -> u64) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (index, op) in list.iter().enumerate() {
        match groups.last_mut() {
            Some(group)
                if list[group.last].member == op.member
                    && op.range.start - group.range.end <= gap_bytes_max(op.member)
                    && op.range.end - group.range.start <= READ_BYTES_MAX =>
            {
                (group.last, group.range.end) = (index, op.range.end);
            }
            _ => groups.push(Group { first: index, last: index, range: op.range }),
        }
    }
    groups
}

fn check(group: &Group, list: &[Op], voted: &Voted, store: &dyn Storage, bytes: &mut Buffer, watch: &dyn Watch) -> Vec<(usize, String)> {
    let alone = group.first == group.last;
    // Whole blocks suit direct reading; but what is alone must not be held guilty of its neighbours.
    let block = if alone { 1 } else { ALIGNMENT as u64 };
    let start = group.range.start - group.range.start % block;
    let wanted = (group.range.end - start).next_multiple_of(block).min(bytes.len() as u64) as usize;
    watch.spend(wanted as u64);
    let read = store.read_medium(start, &mut bytes[..wanted]);
    let mut wrong = Vec::new();
    for index in group.first..=group.last {
        let op = &list[index];
        let at = (op.range.start - start) as usize;
        let end = at + op.range.length() as usize;
        match &read {
            Ok(held) if *held >= end && bytes[at..end] == *op.bytes(voted) => {}
            Ok(_) => wrong.push((index, format!("it reads back differently than it was written at offset {:#x}", op.range.start))),
            Err(error) if alone => wrong.push((index, format!("reading back at offset {:#x}: {error}", op.range.start))),
            // Whose fault it is shows one by one.
            Err(_) => wrong.extend(check(
                &Group { first: index, last: index, range: op.range },
                list,
                voted,
                store,
                &mut Buffer::new(bytes.len()),
                watch,
            )),
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::{super::voted::Collector, *};
    use crate::sys::disk_file::DiskFile;

    /// Near ones are read together, and only those are told of that aren't as they were written, or end before.
    #[test]
    fn only_what_reads_back_otherwise_is_told() {
        let file = tempfile::tempfile().expect("a temporary file");
        let disk = DiskFile::new(file).expect("it can be looked at");
        let bytes = |n: u64| vec![n as u8 | 1; 512 + (n as usize % 3) * 7000];
        let list: Vec<Op> = (0..300).map(|n| Op::to_file(0, n * n * 90 + n * 16_000, bytes(n))).collect();
        for op in &list {
            disk.write(op.range.start, op.own.as_ref().expect("its own bytes")).expect("it can be written");
        }
        let end = list[299].range.end;
        disk.set_length(end - 1).expect("it can be cut");
        for at in [list[7].range.start, list[150].range.end - 1, list[151].range.start + 200] {
            disk.write(at, &[0]).expect("it can be written");
        }
        disk.write(list[20].range.start - 1, &[0]).expect("what lies beside it is no matter");
        disk.sync().expect("it can be synced");
        let voted = Collector::new(&[], 0).finish();
        for threads in [1, 3] {
            let found = differences(&list, &voted, &[Some(&disk)], threads, &());
            assert_eq!(found.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [7, 150, 151, 299]);
            assert!(found.iter().all(|(_, what)| what.contains("reads back differently")), "{found:?}");
        }
    }
}
