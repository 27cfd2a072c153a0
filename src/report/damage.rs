//! What damages look like, place by place and member by member.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{human_size, words};

/// A losing version of a divergence: what it is consistent with, never a proof of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct DamageReport {
    /// Who holds it, ascending.
    pub members: Vec<usize>,
    /// `zeroed`, `ones`, `filled`, `bit-flips`, `shifted`, `same-sum`, `other`.
    pub looks: &'static str,
    /// Bits that went from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bits_set: Option<u32>,
    /// Bits that went from 1 to 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bits_cleared: Option<u32>,
    /// Which bits of a byte flipped, 0 being the lowest.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bits: Vec<u32>,
    /// What it is filled with: text, or hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filler: Option<String>,
    /// How many bytes further the others' bytes stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shifted_bytes: Option<i64>,
}

/// The losing versions of the divergences that were looked at, by their offsets.
pub type Damages = BTreeMap<u64, Vec<DamageReport>>;

/// What was seen of one member's damages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnosis {
    /// Divergences of each look, and bytes in them.
    looks: BTreeMap<&'static str, (u64, u64)>,
    /// Flipped bits.
    set: u64,
    cleared: u64,
    bits: u8,
    /// What it was filled with, where that was one thing.
    filler: Option<String>,
    /// Divergences that weren't looked at.
    more: u64,
}

impl Diagnosis {
    /// Takes a damage of `length` bytes.
    pub fn add(&mut self, damage: &DamageReport, length: u64) {
        let (count, bytes) = self.looks.entry(damage.looks).or_default();
        (*count, *bytes) = (*count + 1, *bytes + length);
        self.set += u64::from(damage.bits_set.unwrap_or(0));
        self.cleared += u64::from(damage.bits_cleared.unwrap_or(0));
        self.bits |= damage.bits.iter().fold(0, |mask, bit| mask | 1 << bit);
        if let Some(filler) = &damage.filler {
            let other = self.filler.as_ref().is_some_and(|there| there != filler);
            self.filler = Some(if other { "several things".to_owned() } else { filler.clone() });
        }
    }

    /// Notes a divergence that wasn't looked at.
    pub fn add_unseen(&mut self) {
        self.more += 1;
    }

    /// What a tired person reads of it; none where nothing was seen.
    #[must_use]
    pub fn in_words(&self) -> Option<String> {
        let told: Vec<String> = self.looks.iter().map(|(looks, &(count, bytes))| self.told(looks, count, bytes)).collect();
        if told.is_empty() {
            return None;
        }
        let more = if self.more > 0 { format!("; {} weren't looked at", words::counted(self.more, "more place")) } else { String::new() };
        Some(format!("{}{more}", told.join("; ")))
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
            "bit-flips" => self.flips(count),
            "shifted" => places("with the others' bytes, shifted"),
            "same-sum" if count > 1 => {
                places("whose 16-bit sums are the others': consistent with damage on the way that TCP's checksum can't see")
            }
            _ => places("of other bytes"),
        }
    }

    fn flips(&self, count: u64) -> String {
        let bits = self.set + self.cleared;
        let way = match (self.set, self.cleared) {
            (0, _) => "1 to 0",
            (_, 0) => "0 to 1",
            _ => "in both directions",
        };
        let all = if bits == 1 { "" } else { "all " };
        let way = if self.set > 0 && self.cleared > 0 { way.to_owned() } else { format!("{all}{way}") };
        let lane = if self.bits.is_power_of_two() { format!(", {all}in bit {}", self.bits.trailing_zeros()) } else { String::new() };
        format!("{} in {}, {way}{lane}", words::counted(bits, "flipped bit"), words::counted(count, "place"))
    }
}

#[cfg(test)]
mod tests {
    use super::{DamageReport, Diagnosis};

    fn damage(looks: &'static str) -> DamageReport {
        DamageReport { members: vec![1], looks, bits_set: None, bits_cleared: None, bits: Vec::new(), filler: None, shifted_bytes: None }
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
        assert_eq!(words(&[(damage("same-sum"), 512)]), "one place of 512 B of other bytes", "once is chance");
        assert!(words(&[(damage("same-sum"), 512), (damage("same-sum"), 512)]).contains("TCP"));
        let filled = DamageReport { filler: Some("0xf6".into()), ..damage("filled") };
        assert_eq!(words(&[(filled.clone(), 512), (filled, 1024)]), "2 places, 1.5 KiB in all, filled with 0xf6");
    }
}
