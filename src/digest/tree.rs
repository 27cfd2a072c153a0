//! What a chunk's value is, and how the values of all chunks become the one that `b3sum` prints. Pure.

use blake3::hazmat::{HasherExt as _, Mode, merge_subtrees_non_root, merge_subtrees_root};
use xxhash_rust::xxh3::Xxh3Default;

use crate::vote::{ByteRange, is_zero};

/// Smallest chunk in bytes; the default.
pub const CHUNK_BYTES_MIN: u64 = 64 << 10;
/// Largest chunk in bytes: a thread holds a chunk of each member in memory, of 64 members within the bound.
pub const CHUNK_BYTES_MAX: u64 = 1 << 20;

/// What chunks are hashed by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HashKind {
    /// BLAKE3's subtree values (BLAKE3's paper, section 2.1): they prove bytes, and merge to the root.
    #[default]
    Blake3,
    /// XXH3-128: names damage quickly, proves nothing.
    Xxh3,
    /// One byte, so that tests can make collisions.
    #[cfg(test)]
    Weak,
}

impl HashKind {
    /// As the command line and reports name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Blake3 => "blake3",
            Self::Xxh3 => "xxh3",
            #[cfg(test)]
            Self::Weak => "weak",
        }
    }

    /// Whether bytes may be written because they have its value.
    #[must_use]
    pub fn proves(self) -> bool {
        match self {
            Self::Blake3 => true,
            Self::Xxh3 => false,
            #[cfg(test)]
            Self::Weak => true,
        }
    }

    /// Bytes of a value.
    #[must_use]
    pub fn value_bytes(self) -> usize {
        if self == Self::Blake3 { 32 } else { 16 }
    }
}

/// A chunk's value; what is shorter is filled up with zeros.
pub type Value = [u8; 32];

/// A value in hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What a digest says of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It holds bytes of this value, not all of them zero.
    Value(Value),
    /// It holds nothing but zeros.
    Zero,
    /// Nobody knew what it holds.
    Unknown,
}

/// How an image is cut into chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Geometry {
    /// What they are hashed by.
    pub hash: HashKind,
    /// Bytes of a chunk: a power of two from [`CHUNK_BYTES_MIN`] to [`CHUNK_BYTES_MAX`]. The image's last one may be shorter.
    pub chunk_bytes: u64,
    /// Bytes of the image.
    pub size: u64,
}

impl Geometry {
    /// How many chunks there are.
    #[must_use]
    pub fn chunks(&self) -> u64 {
        self.size.div_ceil(self.chunk_bytes)
    }

    /// Where a chunk lies.
    #[must_use]
    pub fn range(&self, chunk: u64) -> ByteRange {
        let start = chunk.saturating_mul(self.chunk_bytes).min(self.size);
        ByteRange::new(start, start.saturating_add(self.chunk_bytes).min(self.size))
    }

    /// Where so many chunks lie.
    #[must_use]
    pub fn span(&self, first: u64, count: u64) -> ByteRange {
        ByteRange::new(self.range(first).start, self.range(first.saturating_add(count.max(1)) - 1).end)
    }

    /// Begins to hash a chunk.
    #[must_use]
    pub fn hasher(&self, chunk: u64) -> ChunkHasher {
        match self.hash {
            HashKind::Blake3 => {
                let mut hasher = Box::new(blake3::Hasher::new());
                hasher.set_input_offset(chunk.saturating_mul(self.chunk_bytes));
                ChunkHasher(State::Blake3 { hasher, alone: self.chunks() == 1 })
            }
            HashKind::Xxh3 => ChunkHasher(State::Xxh3(Box::new(Xxh3Default::new()))),
            #[cfg(test)]
            HashKind::Weak => ChunkHasher(State::Weak(0)),
        }
    }

    /// What there is to say of a chunk that holds these bytes.
    #[must_use]
    pub fn entry(&self, chunk: u64, bytes: &[u8]) -> Entry {
        if is_zero(bytes) {
            return Entry::Zero;
        }
        let mut hasher = self.hasher(chunk);
        hasher.update(bytes);
        Entry::Value(hasher.finish())
    }
}

/// The hash of a chunk in the making; a copy of it can go on by itself.
#[derive(Clone)]
pub struct ChunkHasher(State);

#[derive(Clone)]
enum State {
    Blake3 {
        hasher: Box<blake3::Hasher>,
        /// The only chunk's value is the root itself.
        alone: bool,
    },
    Xxh3(Box<Xxh3Default>),
    #[cfg(test)]
    Weak(u8),
}

impl ChunkHasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Blake3 { hasher, .. } => {
                hasher.update(bytes);
            }
            State::Xxh3(hasher) => hasher.update(bytes),
            #[cfg(test)]
            State::Weak(sum) => *sum = bytes.iter().fold(*sum, |sum, byte| sum.wrapping_mul(3).wrapping_add(*byte)) & 7,
        }
    }

    /// The chunk's value.
    #[must_use]
    pub fn finish(&self) -> Value {
        match &self.0 {
            State::Blake3 { hasher, alone: true } => *hasher.finalize().as_bytes(),
            State::Blake3 { hasher, alone: false } => hasher.finalize_non_root(),
            State::Xxh3(hasher) => {
                let mut value = [0; 32];
                value[..16].copy_from_slice(&hasher.digest128().to_le_bytes());
                value
            }
            #[cfg(test)]
            State::Weak(sum) => {
                let mut value = [0; 32];
                value[0] = *sum;
                value
            }
        }
    }
}

/// Merges the values of chunks, which come in order, to the hash of the whole image: what `b3sum` prints of its bytes.
pub struct Root {
    geometry: Geometry,
    /// Values of whole subtrees, with how many chunks each is of: the sizes of those before are larger powers of two.
    stack: Vec<(Value, u64)>,
    taken: u64,
}

impl Root {
    /// Of nothing yet.
    ///
    /// # Panics
    /// Where the values are of another hash than BLAKE3: those don't merge.
    #[must_use]
    pub fn new(geometry: Geometry) -> Self {
        assert!(geometry.hash == HashKind::Blake3, "only BLAKE3's values merge");
        Self { geometry, stack: Vec::new(), taken: 0 }
    }

    /// Takes the next chunk's value.
    pub fn push(&mut self, value: Value) {
        // Only what isn't the last can be known to be a left one: what stands there is merged when more comes.
        while let [.., (left, a), (right, b)] = self.stack[..]
            && a == b
        {
            self.stack.truncate(self.stack.len() - 2);
            self.stack.push((merge_subtrees_non_root(&left, &right, Mode::Hash), a + b));
        }
        self.stack.push((value, 1));
        self.taken += 1;
    }

    /// The value of a chunk of zeros: it depends on the place, so it takes as long as that of data.
    #[must_use]
    pub fn zeros(&self, chunk: u64, zeros: &[u8]) -> Value {
        let mut hasher = self.geometry.hasher(chunk);
        hasher.update(&zeros[..self.geometry.range(chunk).length() as usize]);
        hasher.finish()
    }

    /// The hash of all.
    ///
    /// # Panics
    /// Where not every chunk's value was taken.
    #[must_use]
    pub fn finish(mut self) -> Value {
        assert!(self.taken == self.geometry.chunks(), "{} of {} values", self.taken, self.geometry.chunks());
        let Some((mut right, _)) = self.stack.pop() else { return *blake3::hash(&[]).as_bytes() };
        while let Some((left, _)) = self.stack.pop() {
            right = if self.stack.is_empty() {
                *merge_subtrees_root(&left, &right, Mode::Hash).as_bytes()
            } else {
                merge_subtrees_non_root(&left, &right, Mode::Hash)
            };
        }
        right
    }
}

#[cfg(test)]
mod tests {
    use super::{CHUNK_BYTES_MIN, Entry, Geometry, HashKind, Root};
    use proptest::prelude::*;

    fn bytes(size: usize, seed: u64) -> Vec<u8> {
        let mut state = seed | 1;
        let next = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        };
        (0..size).map(next).collect()
    }

    fn merged(image: &[u8], chunk_bytes: u64) -> [u8; 32] {
        let geometry = Geometry { hash: HashKind::Blake3, chunk_bytes, size: image.len() as u64 };
        let zeros = vec![0; chunk_bytes as usize];
        let mut root = Root::new(geometry);
        for (chunk, bytes) in (0..).zip(image.chunks(chunk_bytes as usize)) {
            let value = match geometry.entry(chunk, bytes) {
                Entry::Value(value) => value,
                _ => root.zeros(chunk, &zeros),
            };
            root.push(value);
        }
        root.finish()
    }

    /// D6, D7: the values of chunks merge to the hash of the whole, whatever its length.
    #[test]
    fn values_merge_to_the_hash_of_the_whole() {
        let chunk = CHUNK_BYTES_MIN as usize;
        for size in
            [0, 1, 1024, chunk - 1, chunk, chunk + 1, 2 * chunk, 2 * chunk + 1, 3 * chunk, 5 * chunk - 7, 8 * chunk, 11 * chunk + 512]
        {
            let image = bytes(size, 7);
            assert_eq!(merged(&image, CHUNK_BYTES_MIN), *blake3::hash(&image).as_bytes(), "{size} bytes");
            assert_eq!(merged(&image, 4 * CHUNK_BYTES_MIN), *blake3::hash(&image).as_bytes(), "{size} bytes in larger chunks");
        }
        let zeros = vec![0; 3 * chunk + 5];
        assert_eq!(merged(&zeros, CHUNK_BYTES_MIN), *blake3::hash(&zeros).as_bytes(), "zeros");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        #[test]
        fn any_length_merges(size in 0usize..1_500_000, seed in any::<u64>(), larger in 0u32..3, hole in any::<prop::sample::Index>()) {
            let mut image = bytes(size, seed);
            let from = hole.index(size + 1);
            let to = (from + 150_000).min(size);
            image[from..to].fill(0);
            prop_assert_eq!(merged(&image, CHUNK_BYTES_MIN << larger), *blake3::hash(&image).as_bytes());
        }
    }

    /// D8, D9: zeros have no value, and XXH3's doesn't know the place.
    #[test]
    fn zeros_and_xxh3() {
        let geometry = Geometry { hash: HashKind::Xxh3, chunk_bytes: CHUNK_BYTES_MIN, size: 1 << 20 };
        let chunk = bytes(CHUNK_BYTES_MIN as usize, 4);
        assert_eq!(geometry.entry(0, &chunk), geometry.entry(7, &chunk));
        let expected = xxhash_rust::xxh3::xxh3_128(&chunk).to_le_bytes();
        assert!(matches!(geometry.entry(0, &chunk), Entry::Value(value) if value[..16] == expected && value[16..] == [0; 16]));
        for hash in [HashKind::Xxh3, HashKind::Blake3] {
            assert_eq!(Geometry { hash, ..geometry }.entry(3, &vec![0; 4096]), Entry::Zero);
        }
    }

    #[test]
    fn a_value_depends_on_the_place_and_a_copied_hasher_goes_on_alone() {
        let geometry = Geometry { hash: HashKind::Blake3, chunk_bytes: CHUNK_BYTES_MIN, size: 1 << 20 };
        let chunk = bytes(CHUNK_BYTES_MIN as usize, 3);
        assert_ne!(geometry.entry(0, &chunk), geometry.entry(1, &chunk));
        let mut hasher = geometry.hasher(1);
        hasher.update(&chunk[..1000]);
        let mut copy = hasher.clone();
        copy.update(&chunk[1000..]);
        hasher.update(b"something else");
        assert_eq!(Entry::Value(copy.finish()), geometry.entry(1, &chunk));
    }
}
