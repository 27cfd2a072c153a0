//! What damages look like, place by place and member by member.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::{Deserialize, Serialize};

use super::word::Word;
use super::{human_size, words};

/// A losing version of a divergence: what it is consistent with, never a proof of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[serde(default)]
pub struct DamageReport {
    /// Who holds it, ascending.
    pub members: Vec<usize>,
    /// `zeroed`, `ones`, `filled`, `bit-flips`, `shifted`, `same-sum`, `over-zeros`, `noise`, `misplaced`, `other`.
    #[serde(deserialize_with = "super::word::known")]
    pub looks: Word,
    /// How many bytes of it were looked at, where that isn't all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub looked_at_bytes: Option<u64>,
    /// Bits that went from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bits_set: Option<u32>,
    /// Bits that went from 1 to 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bits_cleared: Option<u32>,
    /// Which bits of a byte flipped, 0 being the lowest.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bits: Vec<u32>,
    /// In which bytes of eight, the first being 0.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bytes: Vec<u32>,
    /// What it is filled with: text, or hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filler: Option<String>,
    /// How many bytes further the others' bytes stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shifted_bytes: Option<i64>,
    /// How many bytes further on the image holds these very bytes, where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub misplaced_bytes: Option<i64>,
}

impl DamageReport {
    /// Whether the bytes may belong elsewhere: nothing else is known of them.
    #[must_use]
    pub fn may_be_misplaced(&self) -> bool {
        matches!(self.looks, "other" | "noise" | "same-sum")
    }

    /// Notes that it belongs so many bytes further on.
    pub fn is_misplaced(&mut self, further: i64) {
        self.looks = "misplaced";
        self.misplaced_bytes = Some(further);
    }

    /// Whether it says something only beside another version.
    #[must_use]
    pub fn is_relative(&self) -> bool {
        !matches!(self.looks, "zeroed" | "ones" | "filled")
    }

    /// What it looks like, in a few words.
    #[must_use]
    pub fn in_words(&self) -> String {
        let part = self.looked_at_bytes.map_or_else(String::new, |bytes| format!(" (its first {})", human_size(bytes)));
        self.looks_in_words() + &part
    }

    fn looks_in_words(&self) -> String {
        match self.looks {
            "zeroed" => "zeros".to_owned(),
            "ones" => "ones: all bits set".to_owned(),
            "filled" => format!("filled with {}", self.filler.as_deref().unwrap_or("something")),
            "bit-flips" => {
                let (set, cleared) = (self.bits_set.unwrap_or(0).into(), self.bits_cleared.unwrap_or(0).into());
                flips(set, cleared, &self.bits, &self.bytes, "")
            }
            "noise" => "noise: bytes without any order".to_owned(),
            "over-zeros" => "data, where those who won hold zeros".to_owned(),
            "misplaced" => {
                let by = self.misplaced_bytes.unwrap_or(0);
                let way = if by < 0 { "before" } else { "behind" };
                format!("misplaced: what belongs {} {way} it", human_size(by.unsigned_abs()))
            }
            "shifted" => {
                let by = self.shifted_bytes.unwrap_or(0);
                format!(
                    "shifted: the same bytes, {} {}",
                    words::counted(by.unsigned_abs(), "byte"),
                    if by < 0 { "earlier" } else { "further" }
                )
            }
            "same-sum" => "other bytes with the same 16-bit sum, which TCP's checksum can't tell apart".to_owned(),
            _ => "other bytes".to_owned(),
        }
    }
}

/// "3 flipped bits in 3 places, all 1 to 0, all in bit 5": so many went from 0 to 1 and from 1 to 0, in these bits of a byte and these bytes of
/// eight.
fn flips(set: u64, cleared: u64, bits: &[u32], bytes: &[u32], places: &str) -> String {
    let all = if set + cleared == 1 { "" } else { "all " };
    let way = match (set, cleared) {
        (0, _) => format!("{all}1 to 0"),
        (_, 0) => format!("{all}0 to 1"),
        _ => "in both directions".to_owned(),
    };
    let mut lane = if let [bit] = bits { format!(", {all}in bit {bit}") } else { String::new() };
    // One alone lies somewhere; several in one lane of eight bytes speak of memory or a bus.
    if let ([byte], 2..) = (bytes, set + cleared) {
        let _ = write!(lane, ", all in byte {byte} of eight"); // a String takes all
    }
    format!("{}{places}, {way}{lane}", words::counted(set + cleared, "flipped bit"))
}

/// The losing versions of a divergence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Damaged {
    /// Its length in bytes.
    pub length: u64,
    /// What they look like.
    pub versions: Vec<DamageReport>,
}

/// The divergences whose losing versions were looked at, by their offsets.
pub type Damages = BTreeMap<u64, Damaged>;

/// What was counted of one kind of damage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct DamageTotal {
    /// As in [`DamageReport`].
    #[serde(deserialize_with = "super::word::known")]
    pub looks: Word,
    /// Divergences.
    pub places: u64,
    /// Bytes in them.
    pub bytes: u64,
}

/// What was seen of one member's damages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnosis {
    /// Divergences of each look, and bytes in them.
    looks: BTreeMap<&'static str, (u64, u64)>,
    /// Flipped bits.
    set: u64,
    cleared: u64,
    bits: u8,
    bytes: u8,
    /// What it was filled with, where that was one thing.
    filler: Option<String>,
    /// Divergences that weren't looked at, and those that weren't as a whole.
    more: u64,
    partly: u64,
}

impl Diagnosis {
    /// Takes a damage of `length` bytes.
    pub fn add(&mut self, damage: &DamageReport, length: u64) {
        let (count, bytes) = self.looks.entry(damage.looks).or_default();
        (*count, *bytes) = (*count + 1, *bytes + length);
        self.partly += u64::from(damage.looked_at_bytes.is_some());
        self.set += u64::from(damage.bits_set.unwrap_or(0));
        self.cleared += u64::from(damage.bits_cleared.unwrap_or(0));
        self.bits |= damage.bits.iter().fold(0, |mask, bit| mask | 1 << bit);
        self.bytes |= damage.bytes.iter().fold(0, |mask, byte| mask | 1 << byte);
        if let Some(filler) = &damage.filler {
            let other = self.filler.as_ref().is_some_and(|there| there != filler);
            self.filler = Some(if other { "several things".to_owned() } else { filler.clone() });
        }
    }

    /// Notes a divergence that wasn't looked at.
    pub fn add_unseen(&mut self) {
        self.more += 1;
    }

    /// What was counted, kind by kind.
    #[must_use]
    pub fn totals(&self) -> Vec<DamageTotal> {
        self.looks.iter().map(|(&looks, &(places, bytes))| DamageTotal { looks, places, bytes }).collect()
    }

    /// What a tired person reads of it; none where nothing was seen.
    #[must_use]
    pub fn in_words(&self) -> Option<String> {
        let told: Vec<String> = self.looks.iter().map(|(looks, &(count, bytes))| self.told(looks, count, bytes)).collect();
        if told.is_empty() {
            return None;
        }
        let more = if self.more > 0 { format!("; {} weren't looked at", words::counted(self.more, "more place")) } else { String::new() };
        let partly = match self.partly {
            0 => "",
            _ => "; long places were judged by how they begin",
        };
        Some(format!("{}{partly}{more}", told.join("; ")))
    }

    fn told(&self, looks: &str, count: u64, bytes: u64) -> String {
        let places = |what: &str| match count {
            1 => format!("one place of {} {what}", human_size(bytes)),
            _ => format!("{count} places, {} in all, {what}", human_size(bytes)),
        };
        match looks {
            "zeroed" => places("of zeros"),
            "ones" => places("of ones"),
            "filled" => places(&format!("filled with {}", self.filler.as_deref().unwrap_or("something"))),
            "bit-flips" => {
                let list = |mask: u8| (0..8).filter(|bit| mask >> bit & 1 == 1).collect::<Vec<u32>>();
                flips(self.set, self.cleared, &list(self.bits), &list(self.bytes), &format!(" in {}", words::counted(count, "place")))
            }
            "shifted" => places("with the others' bytes, shifted"),
            "noise" => places("of noise: bytes without any order"),
            "over-zeros" => places("of data where those who won hold zeros"),
            "misplaced" => places("with what belongs elsewhere in the image"),
            "same-sum" if count > 1 => {
                places("whose 16-bit sums are the others': consistent with damage on the way that TCP's checksum can't see")
            }
            _ => places("of other bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DamageReport, Diagnosis};

    fn damage(looks: &'static str) -> DamageReport {
        DamageReport { members: vec![1], looks, ..DamageReport::default() }
    }

    fn words(damages: &[(DamageReport, u64)]) -> String {
        let mut diagnosis = Diagnosis::default();
        for (damage, length) in damages {
            diagnosis.add(damage, *length);
        }
        diagnosis.in_words().expect("something was seen")
    }

    #[test]
    fn a_tired_person_understands_it() {
        assert_eq!(Diagnosis::default().in_words(), None);
        assert_eq!(words(&[(damage("zeroed"), 65536)]), "one place of 64 KiB of zeros");
        let flip = |bit| DamageReport { bits_cleared: Some(1), bits_set: Some(0), bits: vec![bit], ..damage("bit-flips") };
        assert_eq!(words(&[(flip(5), 512), (flip(5), 512), (flip(5), 512)]), "3 flipped bits in 3 places, all 1 to 0, all in bit 5");
        assert_eq!(words(&[(flip(2), 512)]), "1 flipped bit in 1 place, 1 to 0, in bit 2");
        let lane = |bit| DamageReport { bytes: vec![3], ..flip(bit) };
        assert_eq!(words(&[(lane(5), 512), (lane(2), 512)]), "2 flipped bits in 2 places, all 1 to 0, all in byte 3 of eight");
        assert_eq!(words(&[(damage("same-sum"), 512)]), "one place of 512 B of other bytes", "once is chance");
        assert!(words(&[(damage("same-sum"), 512), (damage("same-sum"), 512)]).contains("TCP"));
        let filled = DamageReport { filler: Some("0xf6".into()), ..damage("filled") };
        assert_eq!(words(&[(filled.clone(), 512), (filled, 1024)]), "2 places, 1.5 KiB in all, filled with 0xf6");
    }
}
