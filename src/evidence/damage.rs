//! What a losing version looks like beside the one that won. Pure.

/// Most bits that a sector's rot flips: what a writer changes differs in more, be it only for the checksum beside it.
const FLIPPED_BITS_MAX: u32 = 8;

/// Whether what lost looks like rot: a few flipped bits, or a sector of one byte all along (zeros and fillers are).
#[must_use]
pub fn looks_like_rot(lost: &[u8], won: &[u8]) -> bool {
    let all_alike = lost.first().is_some_and(|first| lost.iter().all(|byte| byte == first));
    all_alike || has_few_flips(lost, won)
}

/// Whether both, of one length, differ in a few bits alone. Looks no further than it must: what a guest wrote differs at once.
#[must_use]
pub fn has_few_flips(lost: &[u8], won: &[u8]) -> bool {
    let mut flips = 0;
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |word, &byte| word << 8 | u64::from(byte));
    for (lost, won) in lost.chunks(8).zip(won.chunks(8)) {
        flips += (word(lost) ^ word(won)).count_ones();
        if flips > FLIPPED_BITS_MAX {
            return false;
        }
    }
    lost.len() == won.len()
}

#[cfg(test)]
mod tests {
    use super::looks_like_rot;

    #[test]
    fn rot_is_told_from_writes() {
        let won: Vec<u8> = (0..512u32).map(|at| (at * 7) as u8).collect();
        let mut lost = won.clone();
        lost[77] ^= 0x81;
        assert!(looks_like_rot(&lost, &won), "two bits");
        assert!(looks_like_rot(&[0; 512], &won) && looks_like_rot(&[0xff; 512], &won));
        lost[100..110].fill(0xa5);
        assert!(!looks_like_rot(&lost, &won), "ten bytes of something else");
    }
}
