//! A qcow2 image as a member.

use std::{path::Path, time::SystemTime};

use super::{
    damages::Damages,
    encoded::{decode, encode},
    facts::image_facts,
    header::Header,
    image::{Damage, Image, Source, Stretch},
    snapshots::read_snapshots,
};
use crate::{
    member::{
        self, Encoded, Extent, Facts, HostFile, ImageError, Member, MemberName, RawMember, ReadError, Readable, Rewritable, Structure,
        Unsound,
    },
    sys::{
        buffer::Buffer,
        mapping::{Piece, Window, page_bytes},
        storage::{Origin, Storage},
    },
    vote::ByteRange,
};

/// Stretches that are asked for ahead of one window.
const PREFETCHED_MAX: usize = 64;

/// How its files are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    AsEver,
    /// Past the page cache, and past what was kept.
    Anew,
}

/// A qcow2 image with what is under it.
pub struct Qcow2Member {
    name: MemberName,
    pub(super) image: Image,
    /// The name of the snapshot that it shows.
    snapshot: Option<String>,
    damages: Damages,
}

impl Qcow2Member {
    /// Takes an opened image, which shows its active state or a snapshot of that name.
    pub(super) fn new(image: Image, snapshot: Option<String>) -> Self {
        Self { name: image.file.name().clone(), image, snapshot, damages: Damages::default() }
    }

    /// What its header says.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.image.header
    }

    fn note(&self, image: &Image, damage: &Damage, range: ByteRange) {
        let own = std::ptr::eq(image, &raw const self.image);
        self.damages.note(ImageError {
            table: damage.table,
            file: (!own).then(|| image.file.name().clone()),
            entry_offset: damage.entry_offset,
            range,
            what: damage.what.to_string(),
        });
    }

    /// Notes what is wrong, with all that it costs, and says that the place can't be read.
    fn lost(&self, image: &Image, damage: &Damage, range: ByteRange) -> ReadError {
        let start = range.start - range.start % image.header.cluster_bytes();
        let whole = self.image.stretch(start, self.image.size).ok();
        let same = |stretch: &Stretch| matches!(&stretch.source, Source::Damaged { damage: found, .. } if found == damage);
        let range = whole.filter(same).map_or(range, |stretch| stretch.range(start));
        self.note(image, damage, range);
        ReadError::Medium(std::io::Error::other(damage.what.to_string()))
    }

    fn read_by(&self, way: Way, offset: u64, bytes: &mut [u8], bounce: &mut Option<Buffer>) -> Result<(), ReadError> {
        let end = offset.checked_add(bytes.len() as u64).filter(|&end| end <= self.image.size).ok_or(ReadError::Ended)?;
        let mut at = offset;
        while at < end {
            let stretch = self.image.stretch(at, end)?;
            let place = (at - offset) as usize..(stretch.end - offset) as usize;
            self.read_stretch(&stretch, way, at, &mut bytes[place], bounce)?;
            at = stretch.end;
        }
        Ok(())
    }

    fn read_stretch(
        &self,
        stretch: &Stretch,
        way: Way,
        offset: u64,
        bytes: &mut [u8],
        bounce: &mut Option<Buffer>,
    ) -> Result<(), ReadError> {
        match &stretch.source {
            Source::Zero => bytes.fill(0),
            Source::Stored { file, at } => match way {
                Way::AsEver => file.read(*at, bytes, bounce)?,
                Way::Anew => file.read_anew(*at, bytes, bounce)?,
            },
            Source::Compressed { image, at, length, guest, .. } if way == Way::Anew => {
                let mut cluster = vec![0; image.header.cluster_bytes() as usize];
                if !image.inflate_anew(*at, *length, &mut cluster, bounce)? {
                    return Err(ReadError::Medium(std::io::Error::other("the compressed cluster doesn't inflate to a whole one")));
                }
                let inside = (offset - guest) as usize;
                bytes.copy_from_slice(&cluster[inside..inside + bytes.len()]);
            }
            Source::Damaged { image, damage } => return Err(self.lost(image, damage, stretch.range(offset))),
            Source::Compressed { image, at, length, guest, entry_offset } => {
                let cluster_bytes = image.header.cluster_bytes();
                let filled = if bytes.len() as u64 == cluster_bytes {
                    image.inflate_to(*at, *length, bytes, bounce)?
                } else if let Some(cluster) = image.inflated(*at, *length, bounce)? {
                    let inside = (offset - guest) as usize;
                    bytes.copy_from_slice(&cluster[inside..inside + bytes.len()]);
                    true
                } else {
                    false
                };
                if !filled {
                    let what = "the compressed cluster doesn't inflate to a whole one".into();
                    let damage = Damage { table: "data", entry_offset: Some(*entry_offset), what };
                    let range = ByteRange::new(*guest, guest.saturating_add(cluster_bytes).min(self.image.size));
                    return Err(self.lost(image, &damage, range));
                }
            }
        }
        Ok(())
    }

    /// The stretches of `range` as pieces of files, where each lies at whole pages.
    fn pieces(&self, range: ByteRange) -> Option<Vec<Piece<'_>>> {
        let page = page_bytes();
        let mut pieces = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let stretch = self.image.stretch(at, range.end).ok()?;
            match stretch.source {
                Source::Zero => {}
                Source::Stored { file, at: host } => {
                    let aligned = at.is_multiple_of(page) && host.is_multiple_of(page);
                    if !aligned || !file.mappable() || pieces.len() == Window::PIECES_MAX {
                        return None;
                    }
                    let place = (at - range.start) as usize;
                    pieces.push(Piece { place, file: file.host().file(), offset: host, length: (stretch.end - at) as usize });
                }
                Source::Compressed { .. } | Source::Damaged { .. } => return None,
            }
            at = stretch.end;
            if at < range.end && !at.is_multiple_of(page) {
                return None;
            }
        }
        Some(pieces)
    }
}

impl Readable for Qcow2Member {
    fn size(&self) -> u64 {
        self.image.size
    }

    fn extent(&self, offset: u64) -> Result<Extent, ReadError> {
        let stretch = self.image.stretch(offset, self.image.size)?;
        Ok(if matches!(stretch.source, Source::Zero) { Extent::Zero(stretch.end) } else { Extent::Data(stretch.end) })
    }

    fn read(&self, offset: u64, bytes: &mut [u8], bounce: &mut Option<Buffer>) -> Result<(), ReadError> {
        self.read_by(Way::AsEver, offset, bytes, bounce)
    }

    /// Its tables are believed as they were read: they are checked by what they say.
    fn read_anew(&self, offset: u64, bytes: &mut [u8], bounce: &mut Option<Buffer>) -> Result<(), ReadError> {
        self.read_by(Way::Anew, offset, bytes, bounce)
    }

    fn encoded(&self, range: ByteRange, bytes_max: usize, into: &mut Encoded, bounce: &mut Option<Buffer>) -> bool {
        encode(&self.image, range, bytes_max, into, bounce).unwrap_or(false)
    }

    fn decode(&self, encoded: &mut Encoded, bytes: &mut [u8]) -> bool {
        decode(encoded, bytes)
    }

    fn window(&self, range: ByteRange) -> Option<Window> {
        let pieces = self.pieces(range)?;
        Window::of_pieces(&pieces, usize::try_from(range.length()).ok()?).ok()
    }

    fn mappable(&self) -> bool {
        self.image.files().iter().all(|file| file.mappable())
    }

    fn is_cached(&self, range: ByteRange) -> bool {
        let mut at = range.start;
        while at < range.end {
            let Ok(stretch) = self.image.stretch(at, range.end) else { return false };
            match stretch.source {
                Source::Stored { file, at: host } if file.is_cached(ByteRange::new(host, host + (stretch.end - at))) => {}
                Source::Zero => {}
                Source::Stored { .. } | Source::Compressed { .. } | Source::Damaged { .. } => return false,
            }
            at = stretch.end;
        }
        true
    }

    fn prefetch(&self, range: ByteRange) {
        let end = range.end.min(self.image.size);
        let mut at = range.start;
        for _ in 0..PREFETCHED_MAX {
            if at >= end {
                break;
            }
            let Ok(stretch) = self.image.stretch(at, end) else { break };
            if let Source::Stored { file, at: host } = stretch.source {
                file.prefetch(ByteRange::new(host, host + (stretch.end - at)));
            }
            at = stretch.end;
        }
    }

    fn read_unit(&self) -> u64 {
        self.image.files().iter().map(|file| file.read_unit()).max().unwrap_or(u64::from(crate::vote::SECTOR_MIN))
    }

    fn scratch_bytes(&self) -> usize {
        self.image.scratch_bytes()
    }

    fn is_served(&self) -> bool {
        self.image.files().iter().any(|file| file.is_served())
    }

    fn origin(&self) -> Origin {
        self.image.files().iter().map(|file| file.origin()).min().unwrap_or(Origin::Cache)
    }
}

impl Rewritable for Qcow2Member {
    fn store(&self) -> Option<&dyn Storage> {
        self.image.file.store()
    }

    fn refuses_writes(&self) -> Option<String> {
        self.image.file.refuses_writes()
    }

    fn image(&self) -> Option<&dyn member::Image> {
        Some(self)
    }
}

impl Member for Qcow2Member {
    fn name(&self) -> &MemberName {
        &self.name
    }

    fn format(&self) -> &'static str {
        "qcow2"
    }

    /// Of all files that it consists of, the last one counts; none where one of them, a device, doesn't tell.
    fn modified(&self) -> Option<SystemTime> {
        self.image.files().iter().map(|file| file.modified()).collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    fn unvoted(&self) -> Option<String> {
        let (snapshots, _) = read_snapshots(&self.image.file, &self.image.header);
        let with_state = snapshots.iter().filter(|snapshot| snapshot.vm_state > 0).count();
        let count = self.image.header.snapshots;
        let state = match with_state {
            0 => String::new(),
            1 => ", one of them with a virtual machine's state,".to_owned(),
            more => format!(", {more} of them with a virtual machine's state,"),
        };
        let (snapshots, have) = if count == 1 { ("snapshot", "has") } else { ("snapshots", "have") };
        let told = format!(
            "its {count} internal {snapshots}{state} {have} no vote: {} neither compared nor repaired",
            if count == 1 { "it is" } else { "they are" }
        );
        (count > 0).then_some(told)
    }

    fn structure(&self, stopped: &dyn Fn() -> bool) -> Structure {
        let header = self.header();
        let path = self.image.file.host().path();
        // What stands before a colon is a protocol to QEMU.
        let path = if path.to_string_lossy().contains(':') && path.is_relative() { Path::new(".").join(path) } else { path.to_owned() };
        let mended_by = format!("qemu-img check -r all -f qcow2 {}", MemberName::from(path.as_path()).quoted());
        let mut found = Structure { errors: header.flaws.clone(), mended_by, ..Structure::default() };
        if header.corrupt {
            found.errors.push("its corrupt bit is set: QEMU opens it for reading only".into());
        }
        // What wasn't closed cleanly is counted anew when it is next opened; and a flaw of the header leads astray.
        if header.dirty || !found.errors.is_empty() {
            return found;
        }
        match self.lost_clusters(stopped) {
            Ok(0) => {}
            // Bitmaps' clusters are met by nobody here.
            Ok(lost) if header.autoclear == 0 => found.notes.push(format!("{lost} clusters of its file are counted and not used (leaked)")),
            Err(Unsound::Damaged(what)) if !stopped() => found.errors.push(what),
            Ok(_) | Err(_) => {}
        }
        found
    }

    fn snapshot(&self) -> Option<&str> {
        self.snapshot.as_deref()
    }

    fn files(&self) -> Vec<&HostFile> {
        self.image.files().into_iter().map(RawMember::host).collect()
    }

    fn is_encoded(&self) -> bool {
        true
    }

    fn image_errors(&self) -> (Vec<ImageError>, u64) {
        self.damages.told()
    }

    fn facts(&self) -> Vec<Facts> {
        let mut facts = self.image.file.facts();
        facts.push(image_facts(&self.image));
        facts
    }

    fn changed(&self) -> Option<String> {
        let own = self.image.file.changed();
        own.or_else(|| {
            let mut others = self.image.files().into_iter().skip(1);
            others.find_map(|file| Some(format!("{}, under it: {}", file.name(), file.changed()?)))
        })
    }
}
