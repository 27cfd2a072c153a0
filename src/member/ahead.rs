//! What is going to be read soon, read already: many reads are in flight, in the order of the member, while processors compare.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use crate::{
    sys::{
        buffer::{ALIGNMENT, Buffer},
        ring::Done,
    },
    vote::ByteRange,
};

/// Bytes of one read at most: as many as a disk takes for one request.
const BLOCK_BYTES: u64 = 4 << 20;
/// Blocks that are on their way or wait to be taken. How many bytes they are is for those to say who ask for them.
pub(super) const BLOCKS_MAX: usize = 64;
/// Calls to [`Ahead::start`] after which a block that nobody took isn't waited for any more.
const CALLS_KEPT: u64 = 64;
/// Buffers that are kept for the next blocks.
const SPARE_MAX: usize = 4;

/// How reads are got under way.
pub(super) trait Transport: Send {
    /// How many more reads it takes.
    fn room(&self) -> usize;

    /// Starts reads, each from an offset on, in bytes, of so many bytes, to a buffer that has room for them; the token names it.
    fn start(&mut self, reads: Vec<(u64, usize, Buffer, u64)>);

    /// Waits for one that is done, in any order; none where none is on its way.
    fn wait(&mut self) -> Option<Done>;
}

/// Reads ahead of one member.
pub(super) struct Ahead<T>(Mutex<State<T>>);

struct State<T> {
    transport: T,
    /// By where they start, in bytes.
    blocks: BTreeMap<u64, Block>,
    spare: Vec<Buffer>,
    calls: u64,
}

struct Block {
    length: usize,
    /// None as long as it is on its way.
    buffer: Option<Buffer>,
    /// Where in it begins what nobody has taken yet: nothing is given twice, so that reading again is reading again.
    untaken: usize,
    /// The call that began it.
    call: u64,
}

impl<T: Transport> Ahead<T> {
    /// Nothing is on its way yet.
    pub(super) fn by(transport: T) -> Self {
        Self(Mutex::new(State { transport, blocks: BTreeMap::new(), spare: Vec::new(), calls: 0 }))
    }

    /// Starts reading `range`, as far as there is room.
    pub(super) fn start(&self, range: ByteRange) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).start(range);
    }

    /// Fills `bytes` with what lies at `offset`, where all of that was read ahead, and nobody took it yet.
    pub(super) fn take(&self, offset: u64, bytes: &mut [u8]) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take(offset, bytes)
    }

    /// Forgets all of it: it may be old by the time that somebody asks.
    pub(super) fn forget(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(done) = state.transport.wait() {
            state.keep(done.buffer);
        }
        state.blocks.clear();
        state.spare.clear();
    }
}

impl<T: Transport> State<T> {
    fn start(&mut self, range: ByteRange) {
        self.calls += 1;
        if self.blocks.len() + range.length().div_ceil(BLOCK_BYTES) as usize > BLOCKS_MAX {
            let old = self.calls.saturating_sub(CALLS_KEPT);
            self.blocks.retain(|_, block| block.buffer.is_none() || block.call > old);
        }
        let room = (BLOCKS_MAX - self.blocks.len().min(BLOCKS_MAX)).min(self.transport.room());
        let Self { transport, blocks, spare, calls } = self;
        let reads = range.pieces(BLOCK_BYTES).take(room).filter_map(|piece| {
            let length = piece.length() as usize;
            let known = blocks.range(..piece.end).next_back().is_some_and(|(&at, block)| at + block.length as u64 > piece.start);
            if known {
                return None;
            }
            blocks.insert(piece.start, Block { length, buffer: None, untaken: 0, call: *calls });
            // At the file's end what is asked for must be whole units all the same.
            let wanted = length.next_multiple_of(ALIGNMENT);
            let fits = spare.iter().position(|buffer| (wanted..=2 * wanted).contains(&buffer.len()));
            let buffer = fits.map_or_else(|| Buffer::new(wanted), |index| spare.swap_remove(index));
            Some((piece.start, wanted, buffer, piece.start))
        });
        let reads: Vec<_> = reads.collect();
        transport.start(reads);
    }

    fn take(&mut self, offset: u64, bytes: &mut [u8]) -> bool {
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let Some((&start, _)) = self.blocks.range(..=at).next_back() else { return false };
            if !self.arrived(start) {
                return false;
            }
            let Some(block) = self.blocks.get_mut(&start) else { return false };
            let inside = (at - start) as usize;
            let Some(buffer) = block.buffer.as_ref().filter(|_| (block.untaken..block.length).contains(&inside)) else { return false };
            let count = (block.length - inside).min(bytes.len() - done);
            bytes[done..done + count].copy_from_slice(&buffer[inside..inside + count]);
            block.untaken = inside + count;
            done += count;
            if block.untaken == block.length
                && let Some(buffer) = self.blocks.remove(&start).and_then(|block| block.buffer)
            {
                self.keep(buffer);
            }
        }
        true
    }

    /// Waits for a block; false where it couldn't be read as a whole: whoever reads it finds out why.
    fn arrived(&mut self, start: u64) -> bool {
        while self.blocks.get(&start).is_some_and(|block| block.buffer.is_none()) {
            let Some(done) = self.transport.wait() else {
                self.blocks.remove(&start);
                return false;
            };
            let whole = self.blocks.get_mut(&done.token).filter(|block| done.read.as_ref().is_ok_and(|&read| read >= block.length));
            if let Some(block) = whole {
                block.buffer = Some(done.buffer);
            } else {
                self.blocks.remove(&done.token);
                self.keep(done.buffer);
            }
        }
        self.blocks.contains_key(&start)
    }

    fn keep(&mut self, buffer: Buffer) {
        if self.spare.len() == SPARE_MAX {
            self.spare.remove(0);
        }
        self.spare.push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Write};

    use super::{Ahead, ByteRange};
    use crate::member::raw::Direct;

    const MIB: u64 = 1 << 20;

    /// None where the kernel lets nobody do so; the test of rings says that aloud.
    fn ahead(file: &File) -> Option<Ahead<Direct>> {
        Direct::of(file).map(Ahead::by)
    }

    fn file(length: usize) -> (File, Vec<u8>) {
        let mut file = tempfile::tempfile().expect("a temporary file");
        let bytes: Vec<u8> = (0..length as u32).map(|n| (n / 3 % 251) as u8).collect();
        file.write_all(&bytes).expect("it can be written");
        (file, bytes)
    }

    #[test]
    fn what_was_read_ahead_is_given_once() {
        let (file, bytes) = file(13 * MIB as usize + 1000);
        let Some(ahead) = ahead(&file) else { return };
        ahead.start(ByteRange::new(64 << 10, bytes.len() as u64));
        let mut part = vec![0; 300_000];
        for start in (65536..bytes.len() - part.len()).step_by(part.len()) {
            assert!(ahead.take(start as u64, &mut part), "{start}");
            assert!(part == bytes[start..start + part.len()], "{start}");
            assert!(!ahead.take(start as u64, &mut part), "{start} again");
        }
        assert!(!ahead.take(0, &mut part), "that wasn't asked for");
        let mut end = vec![0; 1000];
        assert!(ahead.take(bytes.len() as u64 - 1000, &mut end) && end == bytes[bytes.len() - 1000..]);
        assert!(!ahead.take(bytes.len() as u64 - 10, &mut end), "behind the end");
    }

    #[test]
    fn what_is_forgotten_or_was_cut_is_not_given() {
        let (file, bytes) = file(9 * MIB as usize);
        let Some(ahead) = ahead(&file) else { return };
        let mut part = vec![0; 4096];
        ahead.start(ByteRange::new(0, bytes.len() as u64));
        ahead.forget();
        assert!(!ahead.take(0, &mut part));
        file.set_len(8 * MIB + 4096).expect("it can shrink");
        ahead.start(ByteRange::new(0, bytes.len() as u64));
        assert!(ahead.take(MIB, &mut part) && part == bytes[MIB as usize..][..4096]);
        assert!(!ahead.take(8 * MIB, &mut part), "that block came too short");
    }

    /// More than there is room for, and blocks that nobody takes: the oldest make room in the end.
    #[test]
    fn its_memory_is_bounded() {
        let (file, bytes) = file(2 * MIB as usize);
        let Some(ahead) = ahead(&file) else { return };
        file.set_len(1000 * MIB).expect("it can grow");
        let mut part = vec![0; 4096];
        for start in 0..900 {
            ahead.start(ByteRange::new(start * MIB, (start + 1) * MIB));
            assert!(ahead.0.lock().expect("no panics").blocks.len() <= super::BLOCKS_MAX);
            if start == 63 {
                assert!(ahead.take(MIB, &mut part) && part == bytes[MIB as usize..][..4096]);
            }
            // All have arrived, as in a longer run.
            let mut state = ahead.0.lock().expect("no panics");
            let started: Vec<u64> = state.blocks.keys().copied().collect();
            assert!(started.into_iter().all(|block| state.arrived(block)));
        }
        assert!(ahead.take(899 * MIB, &mut part), "the last one found room");
    }
}
