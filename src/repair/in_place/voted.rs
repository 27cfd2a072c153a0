//! The voted bytes of what is worked on at a time.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    io,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use crate::{
    scan::Output,
    vote::{ByteRange, is_zero},
};

/// Takes voted bytes of the wanted ranges from all threads, and ends the scan where they become too many. Zeros take no memory.
pub(super) struct Collector<'a> {
    /// Ascending, apart from each other.
    wanted: &'a [ByteRange],
    pieces: Mutex<BTreeMap<u64, Vec<u8>>>,
    held: AtomicUsize,
    bytes_max: usize,
    overflowed: AtomicBool,
}

impl<'a> Collector<'a> {
    pub(super) fn new(wanted: &'a [ByteRange], bytes_max: usize) -> Self {
        Self { wanted, pieces: Mutex::default(), held: AtomicUsize::new(0), bytes_max, overflowed: AtomicBool::new(false) }
    }

    /// Whether there were too many.
    pub(super) fn overflowed(&self) -> bool {
        self.overflowed.load(Relaxed)
    }

    pub(super) fn finish(self) -> Voted {
        Voted { pieces: self.pieces.into_inner().expect("no thread panics with it").into_iter().collect() }
    }
}

impl Collector<'_> {
    fn keep(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if is_zero(bytes) {
            return Ok(());
        }
        if self.held.fetch_add(bytes.len(), Relaxed) + bytes.len() > self.bytes_max {
            self.overflowed.store(true, Relaxed);
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.pieces.lock().expect("no thread panics with it").insert(offset, bytes.to_vec());
        Ok(())
    }
}

impl Output for Collector<'_> {
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let chunk = ByteRange::new(offset, offset + bytes.len() as u64);
        let from = self.wanted.partition_point(|wanted| wanted.end <= offset);
        let wanted = self.wanted[from..].iter().map_while(|wanted| wanted.and(chunk));
        wanted.into_iter().try_for_each(|part| self.keep(part.start, &bytes[(part.start - offset) as usize..(part.end - offset) as usize]))
    }

    fn zeros(&self, _range: ByteRange) -> io::Result<()> {
        Ok(())
    }

    fn wants_all_zeros(&self) -> bool {
        false
    }
}

/// Voted bytes; what isn't held is zero.
#[derive(Debug, Default)]
pub(super) struct Voted {
    /// Ascending by offset, apart from each other.
    pieces: Vec<(u64, Vec<u8>)>,
}

impl Voted {
    /// Bytes of memory that it takes.
    pub(super) fn held(&self) -> usize {
        self.pieces.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// The parts of `range` that hold something else than zeros, and perhaps some zeros.
    pub(super) fn pieces_in(&self, range: ByteRange) -> impl Iterator<Item = ByteRange> + '_ {
        let from = self.pieces.partition_point(|(start, bytes)| start + bytes.len() as u64 <= range.start);
        self.pieces[from..].iter().map_while(move |(start, bytes)| ByteRange::new(*start, start + bytes.len() as u64).and(range))
    }

    /// The bytes of `range`.
    pub(super) fn bytes(&self, range: ByteRange) -> Cow<'_, [u8]> {
        let from = self.pieces.partition_point(|(start, bytes)| start + bytes.len() as u64 <= range.start);
        if let Some((start, bytes)) = self.pieces.get(from)
            && *start <= range.start
            && range.end <= start + bytes.len() as u64
        {
            let at = (range.start - start) as usize;
            return Cow::Borrowed(&bytes[at..at + range.length() as usize]);
        }
        let mut all = vec![0; range.length() as usize];
        for (start, bytes) in &self.pieces[from..] {
            let Some(both) = ByteRange::new(*start, start + bytes.len() as u64).and(range) else { break };
            let (to, at) = ((both.start - range.start) as usize, (both.start - start) as usize);
            let length = both.length() as usize;
            all[to..to + length].copy_from_slice(&bytes[at..at + length]);
        }
        Cow::Owned(all)
    }
}

#[cfg(test)]
mod tests {
    use super::{ByteRange, Collector, Output};

    #[test]
    fn bytes_come_back_from_pieces_and_gaps() {
        let wanted = [ByteRange::new(5, 22), ByteRange::new(22, 50)];
        let collector = Collector::new(&wanted, 100);
        for (offset, bytes) in [(30, &[3; 10][..]), (10, &[1; 10]), (20, &[0; 10]), (60, &[4; 10])] {
            collector.write(offset, bytes).expect("there is room");
        }
        let voted = collector.finish();
        assert_eq!(voted.held(), 20, "zeros take nothing, nor does what isn't wanted");
        for (start, end) in [(0, 50), (10, 20), (12, 15), (18, 33), (20, 30), (39, 41), (45, 50)] {
            let expected: Vec<u8> =
                (start..end).map(|at| if (10..20).contains(&at) { 1 } else { u8::from((30..40).contains(&at)) * 3 }).collect();
            assert_eq!(&*voted.bytes(ByteRange::new(start, end)), &expected[..], "{start}..{end}");
        }
    }

    #[test]
    fn too_much_is_an_error() {
        let wanted = [ByteRange::new(0, 100)];
        let collector = Collector::new(&wanted, 15);
        collector.write(0, &[1; 10]).expect("there is room");
        assert!(!collector.overflowed());
        collector.write(10, &[1; 10]).expect_err("there is none");
        assert!(collector.overflowed());
    }
}
