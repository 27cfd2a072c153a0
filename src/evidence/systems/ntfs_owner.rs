//! What a cluster of an NTFS volume belongs to.

use super::{
    super::{
        ReadAt,
        fields::{le16, le64},
    },
    ntfs::{ATTRIBUTE_LIST, DATA, FILE_NAME, Ntfs, Record, named_in},
    owner::{DEPTH_MAX, Owner, Patience, joined},
};
use crate::member::escaped;

/// Bytes of the table of files that are read in one go.
const TABLE_BYTES: usize = 1 << 20;
/// The record of the root folder, and the first one that isn't the volume's own.
const ROOT: u64 = 5;
const FIRST_USER: u64 = 16;
/// The record of the map of clusters in use.
const BITMAP: u64 = 6;
/// A name for programs of old, beside the one that people see.
const NAMESPACE_DOS: u8 = 2;

/// Whose the byte at `offset` is, of the volume at `start`.
pub(super) fn owner(from: &(impl ReadAt + ?Sized), start: u64, offset: u64, patience: Patience<'_>) -> Option<Owner> {
    let mut volume = Ntfs::at(from, start, patience)?;
    let within = offset.checked_sub(start)?;
    let cluster = within / volume.cluster_bytes;
    if cluster >= volume.clusters {
        let (at, length) = volume.last_sector;
        return (at..at.saturating_add(length)).contains(&within).then_some(Owner::Metadata("the copy of its boot sector"));
    }
    if is_free(&mut volume, cluster) == Some(true) {
        return Some(Owner::Free);
    }
    let number = holder(&mut volume, cluster)?;
    Some(match own_file(number) {
        Some(what) => Owner::Metadata(what),
        None => Owner::File { inode: number, path: path_of(&mut volume, number) },
    })
}

/// What the volume keeps in its own files.
fn own_file(number: u64) -> Option<&'static str> {
    Some(match number {
        ROOT => return None,
        0 => "its table of files ($MFT)",
        1 => "the copy of its table of files ($MFTMirr)",
        2 => "its journal ($LogFile)",
        4 => "its kinds of attributes ($AttrDef)",
        BITMAP => "its map of clusters in use ($Bitmap)",
        7 => "its boot sector ($Boot)",
        8 => "its bad clusters ($BadClus)",
        9 => "its permissions ($Secure)",
        10 => "its table of capital letters ($UpCase)",
        _ if number < FIRST_USER => "a file of its own",
        _ => return None,
    })
}

/// Whether a cluster is in use by nobody.
fn is_free(volume: &mut Ntfs<'_, impl ReadAt + ?Sized>, cluster: u64) -> Option<bool> {
    let record = volume.record(BITMAP)?;
    let data = record.attributes().find(|attribute| attribute.kind == DATA)?;
    let at = cluster / 8;
    let byte = match data.resident() {
        Some(bits) => *bits.get(usize::try_from(at).ok()?)?,
        None => volume.stretch(&data.runs(), at, 1)?[0],
    };
    Some(byte >> (cluster % 8) & 1 == 0)
}

/// The record whose attributes lead to a cluster; what is continued in others counts for the first.
fn holder(volume: &mut Ntfs<'_, impl ReadAt + ?Sized>, cluster: u64) -> Option<u64> {
    let bytes = volume.record_bytes;
    let mut number = 0;
    while number < volume.records() {
        if volume.patience.is_over() {
            return None;
        }
        let count = ((TABLE_BYTES / bytes) as u64).min(volume.records() - number);
        let at = number * bytes as u64;
        // Where not all of them can be read, each is read by itself.
        let together = volume.of_table(at, count as usize * bytes);
        for index in 0..count {
            let record = match &together {
                Some(all) => Record::of(all[index as usize * bytes..][..bytes].to_vec()),
                None => volume.record(number + index),
            };
            let Some(record) = record else { continue };
            let leads_there = |run: super::ntfs::Run| (run.cluster..run.cluster.saturating_add(run.count)).contains(&cluster);
            if record.attributes().any(|attribute| attribute.runs().into_iter().any(leads_there)) {
                return Some(record.base().unwrap_or(number + index));
            }
        }
        number += count;
    }
    None
}

/// A name, with the reference of the folder that it stands in: 48 bits of its number, 16 of how often that was used.
struct Name {
    folder: u64,
    namespace: u8,
    text: String,
}

/// The path from the root.
fn path_of(volume: &mut Ntfs<'_, impl ReadAt + ?Sized>, number: u64) -> Option<String> {
    let (mut at, mut names) = (number, Vec::new());
    let mut sequence = None;
    while at != ROOT {
        let record = volume.record(at).filter(|record| names.len() < DEPTH_MAX && record.base().is_none())?;
        if sequence.is_some_and(|sequence| sequence != record.sequence()) {
            return None; // another folder has that record by now
        }
        let name = name_of(volume, at, &record)?;
        names.push(name.text);
        (at, sequence) = (name.folder & 0xffff_ffff_ffff, Some((name.folder >> 48) as u16));
    }
    Some(joined(names))
}

/// The name that people see, in the record or in those that continue it.
fn name_of(volume: &mut Ntfs<'_, impl ReadAt + ?Sized>, number: u64, record: &Record) -> Option<Name> {
    let best = |names: Vec<Name>| names.into_iter().min_by_key(|name| name.namespace == NAMESPACE_DOS);
    let own = best(names_in(record));
    if own.as_ref().is_some_and(|name| name.namespace != NAMESPACE_DOS) {
        return own;
    }
    let list = record.attributes().find(|attribute| attribute.kind == ATTRIBUTE_LIST).and_then(|list| volume.value(&list));
    for other in named_in(&list.unwrap_or_default(), FILE_NAME).into_iter().filter(|&other| other != number) {
        if volume.patience.is_over() {
            return own;
        }
        let record = volume.record(other).filter(|record| record.base() == Some(number));
        let there = record.and_then(|record| best(names_in(&record)));
        if there.as_ref().is_some_and(|name| name.namespace != NAMESPACE_DOS) {
            return there;
        }
    }
    own
}

fn names_in(record: &Record) -> Vec<Name> {
    let names = record.attributes().filter(|attribute| attribute.kind == FILE_NAME && !attribute.is_named);
    let name = |bytes: &[u8]| {
        let length = usize::from(*bytes.get(0x40)?);
        let text = bytes.get(0x42..0x42 + length * 2)?;
        let units: Vec<u16> = text.chunks_exact(2).map(|unit| le16(unit, 0)).collect();
        Some(Name { folder: le64(bytes, 0), namespace: bytes[0x41], text: escaped(&String::from_utf16_lossy(&units)) })
    };
    names.filter_map(|attribute| attribute.resident().and_then(name)).collect()
}
