//! What the versions of a divergence look like: read once more, since that is asked only of what is listed.

use crate::{
    digest::{DigestFile, Entry},
    evidence::Looks,
    member::{Extent, Member, escaped},
    report::DamageReport,
    vote::{ByteRange, Run, members_of},
};

/// Bytes of a divergence that are looked at, unless it is one byte or a short text all along.
pub const LOOKED_AT_BYTES: u64 = 64 << 10;

/// A version of a divergence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Who holds it, ascending.
    pub members: Vec<usize>,
    /// How it begins, up to 64 KiB; none where nobody can read it now.
    pub bytes: Option<Vec<u8>>,
}

/// The first bytes of `range` as `member` holds them; none where it can't read them now.
fn read(member: &dyn Member, range: ByteRange) -> Option<Vec<u8>> {
    let length = range.length().min(LOOKED_AT_BYTES);
    let mut bytes = vec![0; length as usize];
    // What is known to be zeros isn't read.
    let zeros = |extent| matches!(extent, Extent::Zero(end) if end >= range.start + length);
    let known = member.extent(range.start).is_ok_and(zeros);
    (known || member.read(range.start, &mut bytes, &mut None).is_ok()).then_some(bytes)
}

/// All versions, in their order, with what each says.
#[must_use]
pub fn versions(members: &[&dyn Member], run: &Run) -> Vec<Held> {
    let grouping = &run.vote.grouping;
    let held = |version: usize| {
        let holders: Vec<usize> = members_of(grouping.holders(version)).collect();
        let bytes = holders.iter().find_map(|&member| read(members[member], run.range));
        Held { members: holders, bytes }
    };
    run.vote.ordered_versions().into_iter().map(held).collect()
}

/// Whether a member holds a digest's chunk that `offset` lies in as the digest knows it; none where that doesn't know it, or it can't be read.
#[must_use]
pub fn holds_as_known(member: &dyn Member, digest: &DigestFile, offset: u64) -> Option<bool> {
    let geometry = digest.geometry();
    let chunk = offset / geometry.chunk_bytes;
    let known = (chunk < geometry.chunks()).then(|| digest.cursor().at(chunk).entry).filter(|entry| *entry != Entry::Unknown)?;
    let range = geometry.range(chunk);
    let mut bytes = vec![0; range.length() as usize];
    if member.size() < range.end {
        return Some(false);
    }
    member.read(range.start, &mut bytes, &mut None).is_ok().then(|| geometry.entry(chunk, &bytes) == known)
}

/// The losing versions of a divergence, and what they look like; none where nobody won, or where they can't be read now.
#[must_use]
pub fn losers(members: &[&dyn Member], run: &Run) -> Vec<DamageReport> {
    let outvoted = run.vote.winner().is_some() && run.vote.grouping.versions().nth(1).is_some();
    if !outvoted {
        return Vec::new();
    }
    let mut all = versions(members, run).into_iter();
    let Some(won) = all.next().and_then(|held| held.bytes) else { return Vec::new() };
    let judged = |held: Held| {
        let looks = Looks::of(&held.bytes?, &won);
        let rest = ByteRange::new(run.range.start + LOOKED_AT_BYTES.min(run.range.length()), run.range.end);
        let (looks, looked_at) = on_the_whole(members[*held.members.first()?], looks, rest);
        let looked_at_bytes = (looked_at < run.range.end).then_some(looked_at - run.range.start);
        Some(DamageReport { looked_at_bytes, ..described(held.members, &looks) })
    };
    all.filter_map(judged).collect()
}

/// Bytes of a long place that are looked at where it begins with one byte or a short text all along.
pub(super) const UNIFORM_BYTES_MAX: u64 = 64 << 20;

/// What a long version looks like whose beginning looks like that, and up to where it was looked at: what is filled at its beginning may not be so
/// behind it. `rest` is what lies behind the beginning.
fn on_the_whole(member: &dyn Member, looks: Looks, rest: ByteRange) -> (Looks, u64) {
    if !matches!(looks, Looks::Zeroed | Looks::Ones | Looks::Filled(_)) {
        return (looks, rest.start);
    }
    let (end, start) = (rest.end.min(rest.start.saturating_add(UNIFORM_BYTES_MAX)), rest.start - LOOKED_AT_BYTES.min(rest.start));
    for piece in ByteRange::new(rest.start, end).pieces(LOOKED_AT_BYTES) {
        match read(member, piece) {
            // Beside nothing only what it is filled with counts.
            Some(bytes) if Looks::of(&bytes, &[]) == looks.further_on(piece.start - start) => {}
            Some(_) => return (Looks::Other, rest.end),
            None => return (looks, piece.start),
        }
    }
    (looks, end)
}

/// What a version of `members` looks like, as reports have it.
#[must_use]
pub fn described(members: Vec<usize>, looks: &Looks) -> DamageReport {
    let list = |mask: u8| (0..8).filter(|bit| mask >> bit & 1 == 1).collect();
    let (bits_set, bits_cleared, bits, bytes) = match *looks {
        Looks::Flips { set, cleared, bits, bytes } => (Some(set), Some(cleared), list(bits), list(bytes)),
        _ => (None, None, Vec::new(), Vec::new()),
    };
    let filler = match looks {
        Looks::Filled(text) if text.len() > 1 && text.is_ascii() => Some(escaped(&String::from_utf8_lossy(text))),
        Looks::Filled(bytes) => Some(bytes.iter().fold("0x".to_owned(), |hex, byte| format!("{hex}{byte:02x}"))),
        _ => None,
    };
    let shifted_bytes = if let Looks::Shifted(by) = *looks { Some(by) } else { None };
    DamageReport { members, looks: looks.word(), bits_set, bits_cleared, bits, bytes, filler, shifted_bytes, ..DamageReport::default() }
}
