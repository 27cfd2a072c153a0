//! A stretch of the guest's disk as the image keeps it: what several images keep alike is inflated once.

use super::{
    header::Compression,
    image::{Image, Source, Stretch},
    inflate::inflate,
};
use crate::{
    member::{Encoded, EncodedPart, Form, Readable},
    sys::buffer::Buffer,
    vote::ByteRange,
};

impl Form {
    fn of(compression: Compression) -> Self {
        match compression {
            Compression::Zlib => Self::Deflate,
            Compression::Zstd => Self::Zstd,
        }
    }
}

/// See [`Readable::encoded`]; none is false as well.
pub(super) fn encode(image: &Image, range: ByteRange, bytes_max: usize, into: &mut Encoded, bounce: &mut Option<Buffer>) -> Option<bool> {
    into.clear();
    let mut compressed = false;
    let mut at = range.start;
    while at < range.end {
        let stretch = image.stretch(at, range.end).ok()?;
        let length = usize::try_from(stretch.end - at).ok()?;
        let (form, held) = match &stretch.source {
            Source::Zero => (Form::Zero, 0),
            Source::Stored { .. } => (Form::Stored, length),
            Source::Compressed { image: own, at: from, length: held, .. } => {
                // A part of a cluster is read from what is kept of it.
                if length as u64 != own.header.cluster_bytes() {
                    return None;
                }
                (Form::of(own.header.compression), usize::try_from(own.held(*from, *held)).ok()?)
            }
            Source::Damaged { .. } => return None,
        };
        // A stretch that is stored tells nothing that reading it wouldn't.
        compressed |= matches!(form, Form::Deflate | Form::Zstd);
        if !compressed && stretch.end == range.end {
            return None;
        }
        let part = EncodedPart { form, length, held, needed: held };
        if !into.push(part, bytes_max, |bytes| read(&stretch, bytes, bounce)) {
            return None;
        }
        at = stretch.end;
    }
    Some(compressed)
}

fn read(stretch: &Stretch, bytes: &mut [u8], bounce: &mut Option<Buffer>) -> bool {
    match &stretch.source {
        Source::Stored { file, at } => file.read(*at, bytes, bounce).is_ok(),
        Source::Compressed { image, at, .. } => image.file.read(*at, bytes, bounce).is_ok(),
        Source::Zero => true,
        Source::Damaged { .. } => false,
    }
}

/// See [`Readable::decode`].
pub(super) fn decode(encoded: &mut Encoded, mut bytes: &mut [u8]) -> bool {
    encoded.each(|part, held| {
        let Some((to, rest)) = std::mem::take(&mut bytes).split_at_mut_checked(part.length) else { return false };
        bytes = rest;
        let taken = match part.form {
            Form::Zero => {
                to.fill(0);
                Some(0)
            }
            Form::Stored => {
                to.copy_from_slice(held);
                Some(held.len())
            }
            Form::Deflate => inflate(Compression::Zlib, held, to),
            Form::Zstd => inflate(Compression::Zstd, held, to),
        };
        taken.inspect(|&taken| part.needed = taken).is_some()
    }) && bytes.is_empty()
}
