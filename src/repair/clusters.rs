//! From writes to a guest's disk to writes to the file of its qcow2 image.

use imago::{DenyImplicitOpenGate, FormatAccess, FormatDriverBuilder, qcow2::Qcow2};

use super::{journal::ENTRY_RANGE_MAX, ops::Op, voted::Voted};
use crate::{
    member::{Member, qcow2::Qcow2Member},
    sys::overlay::Overlay,
    vote::ByteRange,
};

/// Bytes of writes that are held before they are carried out.
const HELD_BYTES_MAX: usize = 16 << 20;
/// Bytes of L2 tables that the allocator may keep in memory meanwhile: whole clusters.
const TABLES_BYTES_MAX: u64 = 32 << 20;
/// Where the header has its autoclear bits (docs/interop/qcow2.rst, "Header").
const AUTOCLEAR: u64 = 88;
const SECTOR: u64 = 512;

/// One image that is rewritten.
pub(super) struct Clusters<'a> {
    member: &'a Qcow2Member,
    index: usize,
    /// Whether the bits that who doesn't know them must clear were cleared.
    cleared: bool,
}

/// Writes of one image, apart by how they are done.
#[derive(Default)]
pub(super) struct Parted {
    /// To the file, where the bytes lie already.
    pub(super) direct: Vec<Op>,
    /// To the guest's disk, where new clusters are needed.
    pub(super) allocating: Vec<Op>,
    /// What can't be healed.
    pub(super) not_healed: Vec<ByteRange>,
}

impl<'a> Clusters<'a> {
    pub(super) fn new(member: &'a Qcow2Member, index: usize) -> Self {
        Self { member, index, cleared: member.header().autoclear == 0 }
    }

    /// Whether new clusters can be had at all; nothing is written.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn probe(member: &Qcow2Member) -> Result<(), String> {
        Clusters::new(member, 0).allocator().map(|_| ())
    }

    /// Parts writes to the guest's disk; `block_bytes` is what the medium writes as a whole.
    ///
    /// # Errors
    /// Where the tables can't be followed.
    pub(super) fn part(&self, ops: Vec<Op>, block_bytes: u64) -> Result<Parted, String> {
        let mut parted = Parted::default();
        for op in ops {
            let mut at = op.range.start;
            while at < op.range.end.min(self.member.size()) {
                let (host, end) = self.member.owned(at).map_err(|unsound| unsound.to_string())?;
                let piece = ByteRange::new(at, end.min(op.range.end));
                let piece_of = op.piece(piece);
                let whole = |host: u64| {
                    host.is_multiple_of(block_bytes) && (piece.length().is_multiple_of(block_bytes) || piece.end == op.range.end)
                };
                match host {
                    // Only whole blocks of the medium can be healed.
                    Some(host) if !piece_of.heals.is_empty() && !whole(host) => parted.not_healed.extend(piece_of.asked),
                    Some(host) => match parted.direct.last_mut() {
                        Some(last) if last.takes(&piece_of, host) => last.join(&piece_of, host),
                        _ => parted.direct.push(piece_of.moved_to(host)),
                    },
                    None => parted.allocating.push(piece_of),
                }
                at = piece.end;
            }
        }
        Ok(parted)
    }

    /// Gives the first of `ops` (ascending) new clusters, until enough writes are held; returns what must be written to the file for
    /// that, and what can't be done. What is done is taken out of `ops`.
    ///
    /// # Errors
    /// What the allocator says.
    pub(super) fn allocate(&mut self, ops: &mut Vec<Op>, voted: &Voted) -> Result<(Vec<Op>, Vec<ByteRange>), String> {
        let cluster_bytes = self.member.header().cluster_bytes();
        let (image, overlay) = self.allocator()?;
        let mut not_healed = Vec::new();
        let (mut done, mut tables, mut last_table) = (0, 0, None);
        while done < ops.len() && overlay.held() < HELD_BYTES_MAX && tables * cluster_bytes <= TABLES_BYTES_MAX {
            let cluster = ops[done].range.start / cluster_bytes;
            let count = ops[done..].iter().take_while(|op| op.range.start / cluster_bytes == cluster).count();
            let parts = &ops[done..done + count];
            let range = ByteRange::new(cluster * cluster_bytes, ((cluster + 1) * cluster_bytes).min(self.member.size()));
            match self.composed(range, parts, voted) {
                Some(bytes) => image
                    .write(&bytes[..], range.start)
                    .map_err(|error| format!("new clusters can't be had: {error}; repair -o makes a new image of it"))?,
                None => not_healed.extend(parts.iter().map(|op| op.range)),
            }
            done += count;
            let table = Some(cluster / (cluster_bytes / 8));
            tables += u64::from(table != last_table);
            last_table = table;
        }
        ops.drain(..done);
        Ok((self.file_writes(&image, &overlay)?, not_healed))
    }

    /// A whole cluster: the voted parts, and around them what the guest sees there.
    fn composed(&self, range: ByteRange, parts: &[Op], voted: &Voted) -> Option<Vec<u8>> {
        let mut bytes = vec![0; range.length() as usize];
        if self.member.read(range.start, &mut bytes, &mut None).is_err() {
            let voted_on = |at: u64| parts.iter().any(|op| op.range.start <= at && at + SECTOR.min(range.end - at) <= op.range.end);
            for at in (range.start..range.end).step_by(SECTOR as usize).filter(|&at| !voted_on(at)) {
                let place = (at - range.start) as usize;
                let end = (place + SECTOR as usize).min(bytes.len());
                let sector = &mut bytes[place..end];
                let mut read = || self.member.read(at, sector, &mut None);
                read().or_else(|_| read()).ok()?;
            }
        }
        for op in parts {
            let place = (op.range.start - range.start) as usize;
            bytes[place..place + op.range.length() as usize].copy_from_slice(&op.bytes(voted));
        }
        Some(bytes)
    }

    /// What gives out new clusters; it writes to the overlay only. It keeps tables in memory, so it doesn't live long.
    fn allocator(&mut self) -> Result<(FormatAccess<Overlay>, Overlay), String> {
        let failed = |error: std::io::Error| format!("its tables can't be written to: {error}");
        let overlay = Overlay::new(self.member.file().file().try_clone().map_err(failed)?).map_err(failed)?;
        // Whole clusters are written, so nothing under it is read.
        let image = Qcow2::<Overlay>::builder(overlay.clone()).write(true).backing(None).data_file(None);
        let image = image.open(DenyImplicitOpenGate::default()).map_err(failed)?;
        self.cleared = true; // imago does that at once
        Ok((FormatAccess::new(image), overlay))
    }

    /// What the allocator has written, as writes to the file.
    fn file_writes(&self, image: &FormatAccess<Overlay>, overlay: &Overlay) -> Result<Vec<Op>, String> {
        let failed = |error: std::io::Error| format!("its tables can't be written to: {error}");
        image.flush().map_err(failed)?;
        let writes = overlay.take_writes().map_err(failed)?;
        debug_assert!(writes.iter().all(|(_, bytes)| bytes.len() as u64 <= ENTRY_RANGE_MAX));
        Ok(writes.into_iter().map(|(at, bytes)| Op::to_file(self.index, at, bytes)).collect())
    }

    /// The header with the bits cleared that who writes and doesn't know their features must clear; once.
    pub(super) fn clear_bits(&mut self) -> Option<Op> {
        if self.cleared {
            return None;
        }
        let mut bytes = vec![0; SECTOR as usize];
        self.member.file().read(0, &mut bytes, &mut None).ok()?;
        bytes[AUTOCLEAR as usize..AUTOCLEAR as usize + 8].fill(0);
        self.cleared = true;
        Some(Op::to_file(self.index, 0, bytes))
    }

    /// The file holds what was handed out: it is read anew.
    pub(super) fn written(&self, length: u64) {
        self.member.forget(length);
    }
}
