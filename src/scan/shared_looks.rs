//! What a divergence looks like that two parts share, by what each part says of it. Pure.

use super::diagnosis::{LOOKED_AT_BYTES, UNIFORM_BYTES_MAX};
use crate::report::DamageReport;

/// What versions look like of whose place so many bytes lie in one part, and so many in the next: as if it had been looked at as a whole.
///
/// `first` tells of its first 64 KiB, be it that they reach into the next part.
pub(super) fn join_looks(first: &[DamageReport], first_bytes: u64, second: &[DamageReport], second_bytes: u64) -> Vec<DamageReport> {
    let all_bytes = first_bytes.saturating_add(second_bytes);
    let joined = |ours: &DamageReport| {
        let theirs = second.iter().find(|theirs| theirs.members == ours.members);
        if is_uniform(ours) {
            uniform(ours, first_bytes, theirs, second_bytes)
        } else {
            DamageReport { looked_at_bytes: (all_bytes > LOOKED_AT_BYTES).then_some(LOOKED_AT_BYTES), ..ours.clone() }
        }
    };
    first.iter().map(joined).collect()
}

/// Whether it is one byte or a short text all along.
fn is_uniform(damage: &DamageReport) -> bool {
    matches!(damage.looks, "zeroed" | "ones" | "filled")
}

fn uniform(ours: &DamageReport, first_bytes: u64, theirs: Option<&DamageReport>, second_bytes: u64) -> DamageReport {
    let all_bytes = first_bytes.saturating_add(second_bytes);
    if ours.looked_at_bytes.is_some() || all_bytes <= LOOKED_AT_BYTES {
        return ours.clone(); // it wasn't looked further
    }
    let same = theirs.filter(|theirs| theirs.looks == ours.looks && is_continued(ours, theirs, first_bytes));
    match same {
        Some(theirs) => {
            let seen = first_bytes.saturating_add(theirs.looked_at_bytes.unwrap_or(second_bytes));
            let seen = seen.min(LOOKED_AT_BYTES + UNIFORM_BYTES_MAX);
            DamageReport { looked_at_bytes: (seen < all_bytes).then_some(seen), ..ours.clone() }
        }
        // It went on otherwise.
        None => DamageReport { members: ours.members.clone(), looks: "other", ..DamageReport::default() },
    }
}

/// Whether the second half is filled with the same, from where the first one left off.
fn is_continued(ours: &DamageReport, theirs: &DamageReport, first_bytes: u64) -> bool {
    let (Some(own), Some(their)) = (&ours.filler, &theirs.filler) else { return ours.filler == theirs.filler };
    // Of our own marker each sector begins anew.
    if own == their && own.starts_with("QUORUM-IMG: ") {
        return true;
    }
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
        assert_eq!(joined(looks("other"), 4 * KIB, looks("zeroed"), 4 * KIB), looks("other"), "the first one knows of both");
        let long = DamageReport { looked_at_bytes: Some(64 * KIB), ..looks("noise") };
        assert_eq!(joined(long.clone(), 1024 * KIB, looks("zeroed"), KIB), long, "its beginning was looked at");
        assert_eq!(joined(looks("noise"), 64 * KIB, looks("zeroed"), KIB), long);
        assert_eq!(joined(looks("zeroed"), 4 * KIB, looks("other"), 128 * KIB), looks("other"), "it went on otherwise");
        let filled = |text: &str| DamageReport { filler: Some(text.into()), ..looks("filled") };
        assert_eq!(joined(filled("abcde"), 512, filled("cdeab"), 128 * KIB), filled("abcde"), "512 is 2 more than a multiple of 5");
        assert_eq!(joined(filled("0xf6a1"), 511, filled("0xa1f6"), 128 * KIB), filled("0xf6a1"));
        assert_eq!(joined(filled("abcde"), 512, filled("abcde"), 128 * KIB).looks, "other");
        let capped = DamageReport { looked_at_bytes: Some(64 * KIB * KIB), ..looks("zeroed") };
        let joined_long = joined(looks("zeroed"), 32 * KIB * KIB, capped, 128 * KIB * KIB);
        assert_eq!(joined_long.looked_at_bytes, Some(64 * KIB * KIB + 64 * KIB), "no more than a whole one");
    }
}
