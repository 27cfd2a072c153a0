//! The data: sets of three images, made when a race needs them and deleted when none does any more.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, ErrorKind, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::machine::{self, Outcome};

/// One image each.
pub type Trio = [PathBuf; 3];

/// The unit of damage.
pub const SECTOR_BYTES: u64 = 512;
/// How many sectors of a damaged set are bad, all images together.
pub const BAD_SECTORS: u64 = 1000;
/// Large writes: the page cache then holds large folios, the best case for whoever maps.
const WRITE_BYTES: usize = 8 << 20;
/// How much longer than a full image a sparse one is.
const SPARSE_TIMES: u64 = 4;
/// In a sparse image one extent of data ...
const EXTENT_BYTES: u64 = 1 << 20;
/// ... stands somewhere in each stretch of this length: 10 % data.
const STRETCH_BYTES: u64 = 10 << 20;

/// The sets there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Three alike, full of pseudo-random data, by large writes.
    LargeWrites,
    /// The same bytes by `cp`: smaller folios (where the file system clones, those of its read-ahead).
    Copied,
    /// The same bytes in writes of 4 KiB, as a guest writes them: each page has a folio of its own.
    SmallWrites,
    /// As `LargeWrites`, other bytes, the first image alone.
    Other,
    /// As `LargeWrites`, with bad sectors, never two at one offset.
    Damaged,
    /// As `LargeWrites`, for a race that damages and repairs the third itself.
    InPlace,
    /// As `LargeWrites`, written by qemu-img: page caches lay that out in their own way.
    Converted,
    /// The same as qcow2 images.
    Qcow2,
    /// Half as long, of data that shrinks to 55 %, as compressed qcow2 images.
    Zlib,
    /// Likewise by zstd.
    Zstd,
    /// Four times as long, 10 % of it data.
    Sparse,
    /// Full, with as much data as `Sparse` has.
    SparseAsFull,
}

impl Kind {
    /// The folder's name.
    fn name(self) -> &'static str {
        match self {
            Self::LargeWrites => "race-large-writes",
            Self::Copied => "race-cp",
            Self::SmallWrites => "race-small-writes",
            Self::Other => "race-other",
            Self::Damaged => "race-damaged",
            Self::InPlace => "race-in-place",
            Self::Converted => "race-converted",
            Self::Qcow2 => "race-qcow2",
            Self::Zlib => "race-qcow2-zlib",
            Self::Zstd => "race-qcow2-zstd",
            Self::Sparse => "race-sparse",
            Self::SparseAsFull => "race-sparse-as-full",
        }
    }
}

/// The sets on the disk. They are deleted with this, unless they are to be kept.
pub struct Sets {
    dir: PathBuf,
    size_bytes: u64,
    keep: bool,
    built: Vec<Kind>,
}

impl Sets {
    /// None yet, in an existing folder.
    pub fn new(dir: PathBuf, size_bytes: u64, keep: bool) -> Self {
        Self { dir, size_bytes, keep, built: Vec::new() }
    }

    /// The folder of all the sets.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The images of a set.
    pub fn trio(&self, kind: Kind) -> Trio {
        trio_in(&self.dir.join(kind.name()))
    }

    /// Makes a set, unless it is there. What an earlier race left under its name is overwritten: its pages are not as ours.
    pub fn build(&mut self, kind: Kind) -> Outcome<()> {
        if self.built.contains(&kind) {
            return Ok(());
        }
        eprintln!("[making {}]", kind.name());
        self.built.push(kind); // before it is complete: half a set must be deleted too
        let folder = self.dir.join(kind.name());
        fs::create_dir_all(&folder)?;
        for path in trio_in(&folder) {
            remove_if_there(&path)?;
        }
        match kind {
            Kind::LargeWrites | Kind::InPlace => write_full(&folder, self.size_bytes, 0),
            Kind::Damaged => write_full(&folder, self.size_bytes, BAD_SECTORS),
            Kind::SparseAsFull => write_full(&folder, self.stretches() * EXTENT_BYTES, 0),
            Kind::Sparse => self.write_sparse(&folder),
            Kind::Converted => self.convert(&folder, &["-O", "raw"]),
            Kind::Qcow2 => self.convert(&folder, &["-O", "qcow2"]),
            Kind::Zlib => self.compress(&folder, "zlib"),
            Kind::Zstd => self.compress(&folder, "zstd"),
            Kind::SmallWrites => {
                let [original, ..] = self.trio(Kind::LargeWrites);
                trio_in(&folder).iter().try_for_each(|path| copy_in_blocks(&original, path, self.size_bytes, 4096))
            }
            Kind::Other => {
                let [first, ..] = trio_in(&folder);
                write_other(&first, self.size_bytes)?;
                // As old as the others: it is the content that differs.
                let [original, ..] = self.trio(Kind::LargeWrites);
                let time = File::open(original)?.metadata()?.modified()?;
                Ok(File::options().write(true).open(&first)?.set_modified(time)?)
            }
            Kind::Copied => {
                let [original, ..] = self.trio(Kind::LargeWrites);
                for path in trio_in(&folder) {
                    machine::go_on()?;
                    machine::run("cp", [&original, &path])?;
                    File::open(&path)?.sync_all()?;
                }
                Ok(())
            }
        }
    }

    /// The images of large writes, converted by qemu-img.
    fn convert(&self, folder: &Path, options: &[&str]) -> Outcome<()> {
        let [original, ..] = self.trio(Kind::LargeWrites);
        for path in trio_in(folder) {
            machine::go_on()?;
            let arguments = ["convert", "-f", "raw"].iter().chain(options).map(OsStr::new);
            machine::run("qemu-img", arguments.chain([original.as_os_str(), path.as_os_str()]))?;
        }
        Ok(())
    }

    /// Compressed images of data that can be compressed.
    fn compress(&self, folder: &Path, by: &str) -> Outcome<()> {
        let source = folder.join("source.raw");
        remove_if_there(&source)?;
        write_compressible(&source, self.size_bytes / 2)?;
        let [first, others @ ..] = trio_in(folder);
        let by = format!("compression_type={by}");
        machine::run(
            "qemu-img",
            ["convert", "-c", "-f", "raw", "-O", "qcow2", "-o", &by]
                .map(OsStr::new)
                .into_iter()
                .chain([source.as_os_str(), first.as_os_str()]),
        )?;
        remove_if_there(&source)?;
        for other in others {
            machine::run("cp", [&first, &other])?;
        }
        Ok(())
    }

    /// Deletes the sets that aren't named; where they are to be kept, they leave at least the page cache to the others.
    pub fn keep_only(&mut self, needed: &[Kind]) -> Outcome<()> {
        for kind in self.built.clone() {
            if self.keep && !needed.contains(&kind) {
                machine::drop_cached(&self.trio(kind).into_iter().filter(|path| path.exists()).collect::<Vec<_>>())?;
            } else if !needed.contains(&kind) {
                self.delete(kind)?;
            }
        }
        Ok(())
    }

    /// Deletes the files that we made, and no other.
    fn delete(&mut self, kind: Kind) -> io::Result<()> {
        for path in self.trio(kind) {
            remove_if_there(&path)?;
        }
        self.built.retain(|&built| built != kind);
        fs::remove_dir(self.dir.join(kind.name()))
    }

    /// How many extents a sparse image has.
    fn stretches(&self) -> u64 {
        (self.size_bytes * SPARSE_TIMES / STRETCH_BYTES).max(1)
    }

    /// Three sparse images, alike.
    fn write_sparse(&self, folder: &Path) -> Outcome<()> {
        let files = create(folder)?;
        let mut random = Random::new();
        let mut extent = vec![0; EXTENT_BYTES as usize];
        for stretch in 0..self.stretches() {
            machine::go_on()?;
            // 4 KiB: a finer start would make file systems write the rest of the block as data.
            let offset = stretch * STRETCH_BYTES + (random.next() % (STRETCH_BYTES - EXTENT_BYTES)) / 4096 * 4096;
            random.fill(&mut extent);
            for file in &files {
                file.write_all_at(&extent, offset)?;
            }
        }
        for file in &files {
            file.set_len((self.size_bytes * SPARSE_TIMES).max(self.stretches() * STRETCH_BYTES))?;
            file.sync_all()?;
        }
        Ok(())
    }
}

impl Drop for Sets {
    fn drop(&mut self) {
        if self.keep {
            eprintln!("[the data stays in {}]", self.dir.display());
            return;
        }
        for kind in self.built.clone() {
            if let Err(error) = self.delete(kind) {
                eprintln!("race: {}: {error}", self.dir.join(kind.name()).display());
            }
        }
    }
}

/// The three images' names in a folder.
pub fn trio_in(folder: &Path) -> Trio {
    ["a.img", "b.img", "c.img"].map(|name| folder.join(name))
}

/// Deletes a file; that it isn't there is no error.
pub fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Three new files.
fn create(folder: &Path) -> io::Result<Vec<File>> {
    trio_in(folder).iter().map(File::create_new).collect()
}

/// Where so many bad sectors are in an image of that length: spread evenly, ascending.
pub fn bad_offsets(size_bytes: u64, bad_sectors: u64) -> Vec<u64> {
    let mut places = Random::new();
    // One bad sector a stretch, so no two meet.
    let stretch = (size_bytes / SECTOR_BYTES).checked_div(bad_sectors).unwrap_or(0);
    (0..bad_sectors).map(|index| (index * stretch + places.next() % stretch) * SECTOR_BYTES).collect()
}

/// Three full images, alike but for so many bad sectors, which fall to the images in turn.
pub fn write_full(folder: &Path, size_bytes: u64, bad_sectors: u64) -> Outcome<()> {
    let files = create(folder)?;
    let mut random = Random::new();
    let bad = bad_offsets(size_bytes, bad_sectors);
    let mut clean = vec![0; WRITE_BYTES];
    let mut copy = Vec::new();
    for offset in (0..size_bytes).step_by(WRITE_BYTES) {
        machine::go_on()?;
        clean.truncate((size_bytes - offset) as usize);
        random.fill(&mut clean);
        let end = offset + clean.len() as u64;
        let within = bad.partition_point(|&at| at < offset)..bad.partition_point(|&at| at < end);
        for (number, file) in files.iter().enumerate() {
            copy.clone_from(&clean);
            for index in within.clone().filter(|index| index % files.len() == number) {
                let start = (bad[index] - offset) as usize;
                copy[start..start + SECTOR_BYTES as usize].iter_mut().for_each(|byte| *byte = !*byte);
            }
            file.write_all_at(&copy, offset)?;
        }
    }
    files.iter().try_for_each(File::sync_all)?;
    Ok(())
}

/// Copies so many bytes, in large writes.
pub fn copy_part(from: &Path, to: &Path, bytes: u64) -> Outcome<()> {
    copy_in_blocks(from, to, bytes, WRITE_BYTES)
}

/// The same in writes of so many bytes.
fn copy_in_blocks(from: &Path, to: &Path, bytes: u64, block: usize) -> Outcome<()> {
    let (from, to) = (File::open(from)?, File::create(to)?);
    let mut buffer = vec![0; WRITE_BYTES];
    for offset in (0..bytes).step_by(WRITE_BYTES) {
        machine::go_on()?;
        buffer.truncate((bytes - offset).min(WRITE_BYTES as u64) as usize);
        from.read_exact_at(&mut buffer, offset)?;
        for (part, at) in buffer.chunks(block).zip((offset..).step_by(block)) {
            to.write_all_at(part, at)?;
        }
    }
    Ok(to.sync_all()?)
}

/// Bytes of which no sector is as in [`write_full`].
fn write_other(path: &Path, size_bytes: u64) -> Outcome<()> {
    write_filled(path, size_bytes, |random, bytes| {
        random.fill(bytes);
        for byte in bytes {
            *byte = !*byte;
        }
    })
}

/// Data of which each 4 KiB are noise by a half, and repeat themselves otherwise.
fn write_compressible(path: &Path, size_bytes: u64) -> Outcome<()> {
    write_filled(path, size_bytes, |random, bytes| {
        for block in bytes.chunks_mut(4096) {
            let (noise, rest) = block.split_at_mut(block.len() / 2);
            random.fill(noise);
            let word = random.next().to_le_bytes();
            rest.iter_mut().enumerate().for_each(|(index, byte)| *byte = word[index / 64 % 8] ^ (index % 64) as u8);
        }
    })
}

/// A new file, in large writes whose bytes `content` makes one after the other.
fn write_filled(path: &Path, size_bytes: u64, mut content: impl FnMut(&mut Random, &mut [u8])) -> Outcome<()> {
    let file = File::create_new(path)?;
    let (mut random, mut bytes) = (Random::new(), vec![0; WRITE_BYTES]);
    for offset in (0..size_bytes).step_by(WRITE_BYTES) {
        machine::go_on()?;
        bytes.truncate((size_bytes - offset) as usize);
        content(&mut random, &mut bytes);
        file.write_all_at(&bytes, offset)?;
    }
    Ok(file.sync_all()?)
}

/// Whether a file holds what [`write_full`] writes without damage.
pub fn holds_clean(path: &Path, size_bytes: u64) -> Outcome<bool> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() != size_bytes {
        return Ok(false);
    }
    let mut random = Random::new();
    let (mut clean, mut found) = (vec![0; WRITE_BYTES], vec![0; WRITE_BYTES]);
    for offset in (0..size_bytes).step_by(WRITE_BYTES) {
        let count = WRITE_BYTES.min((size_bytes - offset) as usize);
        random.fill(&mut clean[..count]);
        file.read_exact(&mut found[..count])?;
        if clean[..count] != found[..count] {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Marsaglia's xorshift: no file system can compress it or find it twice, and it costs less than writing it.
struct Random(u64);

impl Random {
    /// Always the same numbers: races must be comparable.
    fn new() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }

    /// The next number.
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Fills a buffer, whose length is a multiple of 8.
    fn fill(&mut self, buffer: &mut [u8]) {
        for word in buffer.chunks_exact_mut(8) {
            word.copy_from_slice(&self.next().to_le_bytes());
        }
    }
}
