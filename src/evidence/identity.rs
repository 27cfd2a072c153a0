//! Whose copy something is: what structures call themselves. Pure.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// What a structure calls itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Id {
    /// Of what: `GPT`, `ext4`, `LUKS`, ...
    #[serde(deserialize_with = "super::kinds::known")]
    pub kind: super::kinds::Kind,
    /// Its bytes, as they lie on the disk.
    pub value: Vec<u8>,
    /// Whether a checksum over it holds; else a flipped bit would make another one of it.
    pub summed: bool,
}

impl Id {
    /// Whether both mean the same: a few flipped bits in one that has no checksum don't make it another one.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        if self.kind != other.kind || self.value.len() != other.value.len() {
            return false;
        }
        let bits: u32 = self.value.iter().zip(&other.value).map(|(a, b)| (a ^ b).count_ones()).sum();
        // Of 32 random bits as few differ once in a hundred million pairs; 1 of 4 bytes, 4 of 16.
        bits == 0 || (!(self.summed && other.summed) && bits as usize <= self.value.len() / 4)
    }

    /// As people write it: `ext4 1b4e28ba-2fa1-11d2-883f-0016d3cca427`.
    #[must_use]
    pub fn described(&self) -> String {
        let printable = self.value.iter().all(|byte| (0x21..0x7f).contains(byte));
        let text = match (&self.value[..], self.kind) {
            (bytes, _) if printable && bytes.len() >= 32 => String::from_utf8_lossy(bytes).into_owned(),
            // GUIDs: the first three fields are little-endian (UEFI specification 2.10, appendix A).
            (bytes, "GPT" | "partition") if bytes.len() == 16 => {
                let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
                grouped(&order.map(|at: usize| bytes[at]))
            }
            (bytes, _) if bytes.len() == 16 => grouped(bytes),
            // Serial numbers and signatures are read as little-endian numbers.
            (bytes, _) => hex(bytes.iter().rev()),
        };
        format!("{} {text}", self.kind)
    }
}

fn hex<'a>(bytes: impl Iterator<Item = &'a u8>) -> String {
    bytes.fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}"); // a String takes all
        hex
    })
}

/// Sixteen bytes in the groups of a UUID.
fn grouped(bytes: &[u8]) -> String {
    let hex = hex(bytes.iter());
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// Whether the two have nothing in common, though both say who they are, or the first one does.
#[must_use]
pub fn are_strangers(one: &[Id], others: &[&[Id]]) -> bool {
    !one.is_empty() && !others.iter().flat_map(|ids| ids.iter()).any(|other| one.iter().any(|id| id.is_like(other)))
}

#[cfg(test)]
mod tests {
    use super::{Id, are_strangers};

    fn id(value: &[u8], summed: bool) -> Id {
        Id { kind: "swap", value: value.to_vec(), summed }
    }

    #[test]
    fn a_flipped_bit_makes_no_stranger() {
        let (own, mut flipped) = ([7; 16], [7; 16]);
        flipped[3] ^= 4;
        assert!(id(&own, false).is_like(&id(&flipped, false)));
        assert!(!id(&own, true).is_like(&id(&flipped, true)), "where a checksum holds both were meant");
        assert!(!id(&own, false).is_like(&id(&[9; 16], false)));
        assert!(are_strangers(&[id(&[0xaa; 16], false)], &[&[id(&[0x55; 16], false)], &[]]));
        assert!(!are_strangers(&[], &[&[id(&own, false)]]), "who says nothing is no stranger");
        assert!(!are_strangers(&[id(&own, false), id(&[0; 16], true)], &[&[id(&flipped, false)]]), "one thing in common is enough");
    }

    #[test]
    fn ids_read_as_people_write_them() {
        let bytes: Vec<u8> = (0..16).collect();
        let shown = |kind, value: &[u8]| Id { kind, value: value.to_vec(), summed: true }.described();
        assert_eq!(shown("ext4", &bytes), "ext4 00010203-0405-0607-0809-0a0b0c0d0e0f");
        assert_eq!(shown("GPT", &bytes), "GPT 03020100-0504-0706-0809-0a0b0c0d0e0f");
        assert_eq!(shown("MBR", &[0x78, 0x56, 0x34, 0x12]), "MBR 12345678");
    }
}
