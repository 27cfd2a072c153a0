//! Which clusters a guest's bytes may be overwritten in, as they lie.

use super::{
    entry::{self, COPIED, Part, SUBCLUSTERS},
    image::DataFile,
    tables::{AtHand, Number},
    voter::Qcow2Member,
};
use crate::member::{ReadError, Unsound};

/// Bits 9 to 63 of a refcount table's entry.
const BLOCK: u64 = !0x1ff;

impl Qcow2Member {
    /// See [`member::Image::owned`](crate::member::Image::owned).
    pub(super) fn owned_at(&self, offset: u64) -> Result<(Option<u64>, u64), Unsound> {
        let image = &self.image;
        let layout = image.layout;
        let cluster_bytes = layout.cluster_bytes();
        let unit = if layout.extended_l2 { cluster_bytes / SUBCLUSTERS } else { cluster_bytes };
        let end = (offset - offset % unit + unit).min(image.size);
        let not_owned = Ok((None, end));
        if !matches!(image.data, DataFile::Own) {
            return not_owned;
        }
        let mut at_hand = AtHand::default();
        let l1_entry = self.number(image.l1.0 + offset / layout.table_span() * 8, &mut at_hand)?;
        let table = match entry::l2_table(l1_entry, layout)? {
            Some(table) if l1_entry & COPIED != 0 => table,
            _ => return not_owned,
        };
        let place = table + offset % layout.table_span() / cluster_bytes * layout.entry_bytes();
        let l2_entry = self.number(place, &mut at_hand)?;
        let bitmap = if layout.extended_l2 { self.number(place + 8, &mut at_hand)? } else { 0 };
        let guest = offset - offset % cluster_bytes;
        match entry::part(l2_entry, bitmap, offset % cluster_bytes / unit, guest, layout) {
            Part::Stored { cluster } if l2_entry & COPIED != 0 => match self.count(cluster / cluster_bytes)? {
                1 => Ok((Some(cluster + offset % cluster_bytes), end)),
                count => Err(format!("the cluster at {cluster:#x} is said to have one user, and its refcount is {count}").into()),
            },
            Part::Bad(flaw) => Err(flaw.into()),
            _ => not_owned,
        }
    }

    /// How often the host cluster of that number is used, by the reference counts ("Host cluster management").
    pub(super) fn count(&self, cluster: u64) -> Result<u64, Unsound> {
        let header = &self.image.header;
        let bits = 1u64 << header.refcount_order;
        let per_block = header.cluster_bytes() * 8 / bits;
        let index = cluster / per_block;
        if index >= u64::from(header.refcount_table_clusters) * header.cluster_bytes() / 8 {
            return Ok(0);
        }
        let mut at_hand = AtHand::default();
        let block =
            self.number(header.refcount_table_offset.checked_add(index * 8).ok_or("the refcount table lies nowhere")?, &mut at_hand)?;
        let block = block & BLOCK;
        if block == 0 {
            return Ok(0);
        }
        if !block.is_multiple_of(header.cluster_bytes()) {
            return Err(format!("entry {index} of its refcount table leads to a place that is no cluster's start").into());
        }
        let bit = cluster % per_block * bits;
        let byte = bit / 8;
        let number = self.number(block + byte / 8 * 8, &mut at_hand)?;
        // Counts of less than a byte begin at its lowest bit (block/qcow2-refcount.c, `get_refcount_ro0`).
        Ok(if bits < 8 {
            number >> ((7 - byte % 8) * 8) >> (bit % 8) & ((1 << bits) - 1)
        } else {
            let shifted = number << (byte % 8 * 8);
            shifted >> (64 - bits)
        })
    }

    pub(super) fn number(&self, offset: u64, at_hand: &mut AtHand) -> Result<u64, Unsound> {
        match self.image.tables.number(&self.image.file, offset, at_hand) {
            Ok(Number::Is(number)) => Ok(number),
            Ok(Number::Missing) => Err(format!("its tables lead to offset {offset:#x}, beyond the end of the file").into()),
            Ok(Number::Unreadable) | Err(ReadError::Medium(_) | ReadError::Ended) => {
                Err(format!("its tables can't be read at offset {offset:#x}").into())
            }
            Err(ReadError::Member(error)) => Err(error.to_string().into()),
        }
    }
}
