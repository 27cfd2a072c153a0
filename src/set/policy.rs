//! How a set is checked and repaired: what is set once, and holds for every run. No word of a guard is among it.

use std::time::Duration;

use crate::vote::{SECTOR_MAX, SECTOR_MIN};

/// Parts of an image at most: each has a digest of its own.
pub const PARTS_MAX: u64 = 4096;
/// The smallest part in bytes; parts are whole multiples of it.
pub const PART_BYTES_MIN: u64 = 1 << 20;
/// The longest time that is waited: a year.
const SECONDS_MAX: u64 = 31_536_000;
/// The usual part in bytes.
pub const PART_BYTES: u64 = 1 << 30;

/// The policy of a set.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Ballots that a version needs; a majority where it isn't set.
    pub threshold: Option<usize>,
    /// The unit of the vote in bytes.
    pub sector: u32,
    /// How much of its content a member may lose, in percent.
    pub max_damage: f64,
    /// Bytes that are checked at a time.
    pub part_bytes: u64,
    /// Whether members are read past this machine's page cache.
    pub direct: bool,
    /// How long a server is waited for.
    pub timeout: Option<Duration>,
    /// What is run before members are opened, by a shell.
    pub before: Option<String>,
    /// What is run afterwards, whatever happened.
    pub after: Option<String>,
    /// How long either may take.
    pub command_timeout: Duration,
    /// Journals of repairs that are kept.
    pub keep_journals: usize,
    /// Days that they are.
    pub keep_days: u32,
    /// Bytes that all of them may take.
    pub keep_bytes: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            threshold: None,
            sector: SECTOR_MIN,
            max_damage: 10.0,
            part_bytes: PART_BYTES,
            direct: false,
            timeout: Some(Duration::from_mins(5)),
            before: None,
            after: None,
            command_timeout: Duration::from_mins(5),
            keep_journals: 20,
            keep_days: 90,
            keep_bytes: 64 << 30,
        }
    }
}

/// The keys of a policy, each with what it means.
pub const KEYS: [(&str, &str); 12] = [
    ("threshold", "least ballots that a version needs, or `majority`"),
    ("sector-size", "unit of the vote in bytes"),
    ("max-damage", "how much of its content a member may lose and still be taken for damaged, in percent"),
    ("part-size", "bytes that are checked at a time: what is remembered of a run that is cut off"),
    ("cache", "`none` reads past this machine's page cache, `writeback` through it"),
    ("timeout", "how long a server is waited for in seconds, or `never`"),
    ("before", "what a shell runs before members are opened, or nothing"),
    ("after", "what a shell runs afterwards, whatever happened, or nothing"),
    ("command-timeout", "how long either may take, in seconds"),
    ("keep-journals", "journals of repairs that are kept"),
    ("keep-days", "days that they are kept"),
    ("keep-bytes", "bytes that all of them may take"),
];

impl Policy {
    /// The value of a key, as it is written; none of a key that there isn't.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<String> {
        Some(match key {
            "threshold" => self.threshold.map_or_else(|| "majority".to_owned(), |threshold| threshold.to_string()),
            "sector-size" => self.sector.to_string(),
            "max-damage" => self.max_damage.to_string(),
            "part-size" => self.part_bytes.to_string(),
            "cache" => if self.direct { "none" } else { "writeback" }.to_owned(),
            "timeout" => self.timeout.map_or_else(|| "never".to_owned(), |timeout| timeout.as_secs().to_string()),
            "before" => self.before.clone().unwrap_or_default(),
            "after" => self.after.clone().unwrap_or_default(),
            "command-timeout" => self.command_timeout.as_secs().to_string(),
            "keep-journals" => self.keep_journals.to_string(),
            "keep-days" => self.keep_days.to_string(),
            "keep-bytes" => self.keep_bytes.to_string(),
            _ => return None,
        })
    }

    /// Sets a key.
    ///
    /// # Errors
    /// What would be a value of it, in words.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let number = || value.parse::<u64>().map_err(|_| format!("{key}: a number is wanted"));
        let command = || (!value.is_empty()).then(|| value.to_owned());
        let seconds = || match number()? {
            seconds @ 1..=SECONDS_MAX => Ok(Duration::from_secs(seconds)),
            _ => Err(format!("{key}: from 1 to {SECONDS_MAX} seconds")),
        };
        match key {
            "threshold" if value == "majority" => self.threshold = None,
            "threshold" => {
                let threshold = number()?;
                if !(2..=64).contains(&threshold) {
                    return Err("threshold: from 2 to the number of members, or majority".to_owned());
                }
                self.threshold = Some(threshold as usize);
            }
            "sector-size" => {
                let sector = u32::try_from(number()?).unwrap_or(0);
                if !sector.is_power_of_two() || !(SECTOR_MIN..=SECTOR_MAX).contains(&sector) {
                    return Err(format!("sector-size: a power of two from {SECTOR_MIN} to {SECTOR_MAX}"));
                }
                self.sector = sector;
            }
            "max-damage" => {
                let percent: f64 = value.parse().map_err(|_| "max-damage: a number of percent".to_owned())?;
                if !(0.0..=100.0).contains(&percent) {
                    return Err("max-damage: from 0 to 100 percent".to_owned());
                }
                self.max_damage = percent;
            }
            "part-size" => {
                let bytes = number()?;
                if bytes == 0 || !bytes.is_multiple_of(PART_BYTES_MIN) || bytes > 1 << 50 {
                    return Err("part-size: a multiple of 1 MiB".to_owned());
                }
                self.part_bytes = bytes;
            }
            "cache" => match value {
                "none" => self.direct = true,
                "writeback" => self.direct = false,
                _ => return Err("cache: none or writeback".to_owned()),
            },
            "timeout" if value == "never" => self.timeout = None,
            "timeout" => self.timeout = Some(seconds()?),
            "before" => self.before = command(),
            "after" => self.after = command(),
            "command-timeout" => self.command_timeout = seconds()?,
            "keep-journals" => self.keep_journals = number()? as usize,
            "keep-days" => self.keep_days = u32::try_from(number()?).map_err(|_| "keep-days: fewer".to_owned())?,
            "keep-bytes" => self.keep_bytes = number()?,
            _ => {
                return Err(format!("{key}: there is no such key"));
            }
        }
        Ok(())
    }

    /// Bytes of a part of an image of `size` bytes: as set, or more where that would be too many parts.
    #[must_use]
    pub fn part_bytes_of(&self, size: u64) -> u64 {
        let least = size.div_ceil(PARTS_MAX).next_multiple_of(PART_BYTES_MIN);
        self.part_bytes.max(least)
    }
}

#[cfg(test)]
mod tests {
    use super::{KEYS, PARTS_MAX, Policy};

    #[test]
    fn every_key_is_read_and_written() {
        let mut other = Policy::default();
        for (key, value) in [
            ("threshold", "3"),
            ("sector-size", "4096"),
            ("max-damage", "2.5"),
            ("part-size", "2097152"),
            ("cache", "none"),
            ("timeout", "never"),
            ("before", "virsh domfsfreeze x"),
            ("after", "virsh domfsthaw x"),
            ("command-timeout", "9"),
            ("keep-journals", "3"),
            ("keep-days", "4"),
            ("keep-bytes", "5"),
        ] {
            other.set(key, value).expect(key);
            assert_eq!(other.get(key).as_deref(), Some(value), "{key}");
        }
        let mut again = Policy::default();
        for (key, _) in KEYS {
            let value = other.get(key).expect(key);
            again.set(key, &value).expect(key);
        }
        assert_eq!(again, other);
        for (key, value) in [
            ("threshold", "1"),
            ("sector-size", "5"),
            ("max-damage", "x"),
            ("part-size", "5"),
            ("cache", "x"),
            ("force", "stale"),
            ("timeout", "-1"),
            ("command-timeout", "18446744073709551615"),
        ] {
            assert!(Policy::default().set(key, value).is_err(), "{key} {value}");
        }
    }

    #[test]
    fn however_large_there_are_no_more_parts_than_that() {
        let policy = Policy::default();
        for size in [1, 1 << 30, 64 << 40, i64::MAX as u64] {
            assert!(size.div_ceil(policy.part_bytes_of(size)) <= PARTS_MAX);
        }
    }
}
