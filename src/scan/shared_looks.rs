//! What a divergence looks like that two parts share, by what each part says of its half. Pure.

use super::diagnosis::{LOOKED_AT_BYTES, UNIFORM_BYTES_MAX};
use crate::report::DamageReport;

/// What versions look like of whose place so many bytes were looked at as `first` says, and behind it others as `second` says: as if it
/// had been looked at as a whole. Where the beginning is short, and the halves look differently, that can't be told: other bytes.
pub(super) fn join_looks(first: &[DamageReport], first_bytes: u64, second: &[DamageReport], second_bytes: u64) -> Vec<DamageReport> {
    let all_bytes = first_bytes.saturating_add(second_bytes);
    let joined = |ours: &DamageReport| {
        let theirs = second.iter().find(|theirs| theirs.members == ours.members);
        if is_uniform(ours) {
            uniform(ours, first_bytes, theirs, second_bytes)
        } else {
            by_its_beginning(ours, first_bytes, theirs, all_bytes)
        }
    };
    first.iter().map(joined).collect()
}

/// Whether it is one byte or a short text all along.
fn is_uniform(damage: &DamageReport) -> bool {
    matches!(damage.looks, "zeroed" | "ones" | "filled")
}

/// Of what isn't uniform only the first bytes are looked at.
fn looked_at(all_bytes: u64) -> Option<u64> {
    (all_bytes > LOOKED_AT_BYTES).then_some(LOOKED_AT_BYTES)
}

fn other(ours: &DamageReport, looked_at_bytes: Option<u64>) -> DamageReport {
    DamageReport { members: ours.members.clone(), looks: "other", looked_at_bytes, ..DamageReport::default() }
}

fn by_its_beginning(ours: &DamageReport, first_bytes: u64, theirs: Option<&DamageReport>, all_bytes: u64) -> DamageReport {
    let looked_at_bytes = looked_at(all_bytes);
    let short = first_bytes < LOOKED_AT_BYTES;
    match theirs {
        _ if !short => DamageReport { looked_at_bytes, ..ours.clone() },
        // Of a whole place only so much is looked at; what flips behind that can't be taken off again.
        Some(theirs) if ours.looks == "bit-flips" && theirs.looks == "bit-flips" && all_bytes <= LOOKED_AT_BYTES => {
            let added = |a: Option<u32>, b: Option<u32>| a.zip(b).map(|(a, b)| a.saturating_add(b));
            let all = |a: &[u32], b: &[u32]| {
                let mut all = [a, b].concat();
                all.sort_unstable();
                all.dedup();
                all
            };
            DamageReport {
                bits_set: added(ours.bits_set, theirs.bits_set),
                bits_cleared: added(ours.bits_cleared, theirs.bits_cleared),
                bits: all(&ours.bits, &theirs.bits),
                bytes: all(&ours.bytes, &theirs.bytes),
                looked_at_bytes,
                ..ours.clone()
            }
        }
        Some(theirs) if ours.looks != "bit-flips" && ours.looks == theirs.looks && ours.shifted_bytes == theirs.shifted_bytes => {
            DamageReport { looked_at_bytes, ..ours.clone() }
        }
        _ => other(ours, looked_at_bytes),
    }
}

fn uniform(ours: &DamageReport, first_bytes: u64, theirs: Option<&DamageReport>, second_bytes: u64) -> DamageReport {
    if ours.looked_at_bytes.is_some() {
        return ours.clone(); // it wasn't looked further
    }
    let all_bytes = first_bytes.saturating_add(second_bytes);
    let same = theirs.filter(|theirs| theirs.looks == ours.looks && is_continued(ours, theirs, first_bytes));
    match same {
        Some(theirs) => {
            let seen = first_bytes.saturating_add(theirs.looked_at_bytes.unwrap_or(second_bytes));
            let seen = seen.min(LOOKED_AT_BYTES + UNIFORM_BYTES_MAX);
            DamageReport { looked_at_bytes: (seen < all_bytes).then_some(seen), ..ours.clone() }
        }
        // A long second half that was looked at as a whole, and is other bytes, began as the first one and went on otherwise.
        None if first_bytes < LOOKED_AT_BYTES
            && theirs.is_none_or(|theirs| is_uniform(theirs) || theirs.looked_at_bytes.is_some() || second_bytes <= LOOKED_AT_BYTES) =>
        {
            other(ours, looked_at(all_bytes))
        }
        None => other(ours, None),
    }
}

/// Whether the second half is filled with the same, from where the first one left off.
fn is_continued(ours: &DamageReport, theirs: &DamageReport, first_bytes: u64) -> bool {
    let (Some(own), Some(their)) = (&ours.filler, &theirs.filler) else { return ours.filler == theirs.filler };
    // Text has a character for each byte, hexadecimal two.
    let (own, their, unit) = match (own.strip_prefix("0x"), their.strip_prefix("0x")) {
        (Some(own), Some(their)) => (own, their, 2),
        _ => (&own[..], &their[..], 1),
    };
    let period = (own.len() / unit) as u64;
    let at = if period == 0 { 0 } else { (first_bytes % period) as usize * unit };
    own.is_ascii() && their.len() == own.len() && format!("{}{}", &own[at..], &own[..at]) == their
}

#[cfg(test)]
mod tests {
    use super::join_looks;
    use crate::report::DamageReport;

    const KIB: u64 = 1024;

    fn looks(looks: &'static str) -> DamageReport {
        DamageReport { members: vec![1], looks, ..DamageReport::default() }
    }

    #[test]
    fn halves_look_as_the_whole_does() {
        let joined = |a: DamageReport, a_bytes, b: DamageReport, b_bytes| join_looks(&[a], a_bytes, &[b], b_bytes).remove(0);
        assert_eq!(joined(looks("zeroed"), 4 * KIB, looks("zeroed"), 4 * KIB), looks("zeroed"));
        assert_eq!(joined(looks("zeroed"), 4 * KIB, looks("other"), 4 * KIB), looks("other"));
        let long = DamageReport { looked_at_bytes: Some(64 * KIB), ..looks("noise") };
        assert_eq!(joined(long.clone(), 1024 * KIB, looks("zeroed"), KIB), long, "its beginning was looked at");
        assert_eq!(joined(looks("noise"), 64 * KIB, looks("zeroed"), KIB), long);
        let flips = |set, bit| DamageReport { bits_set: Some(set), bits_cleared: Some(0), bits: vec![bit], ..looks("bit-flips") };
        let both = joined(flips(1, 3), KIB, flips(2, 5), KIB);
        assert_eq!((both.bits_set, &both.bits[..]), (Some(3), &[3, 5][..]));
        assert_eq!(joined(flips(1, 3), KIB, flips(2, 5), 128 * KIB).looks, "other", "nobody knows which of them are near");
        let filled = |text: &str| DamageReport { filler: Some(text.into()), ..looks("filled") };
        assert_eq!(joined(filled("abcde"), 512, filled("cdeab"), 512), filled("abcde"), "512 is 2 more than a multiple of 5");
        assert_eq!(joined(filled("0xf6a1"), 511, filled("0xa1f6"), 512), filled("0xf6a1"));
        assert_eq!(joined(filled("abcde"), 512, filled("abcde"), 512).looks, "other");
        assert_eq!(joined(looks("zeroed"), KIB, looks("ones"), 128 * KIB).looked_at_bytes, Some(64 * KIB));
        let capped = DamageReport { looked_at_bytes: Some(64 * KIB * KIB), ..looks("zeroed") };
        let joined_long = joined(looks("zeroed"), 32 * KIB * KIB, capped, 128 * KIB * KIB);
        assert_eq!(joined_long.looked_at_bytes, Some(64 * KIB * KIB + 64 * KIB), "no more than a whole one");
    }
}
