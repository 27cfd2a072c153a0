//! The mark of a set's member: a claim that its file carries along.

use std::{fmt, io, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{member::Member, sys::attributes::Attribute};

/// The extended attribute that holds it; `user.` is what files of ordinary users may carry (xattr(7)).
pub const ATTRIBUTE: &str = "user.quorum-img";
/// The longest attribute that is looked at, in bytes.
pub const MARK_BYTES_MAX: usize = 256;
/// The highest epoch that is believed: nobody has seen so many changes.
pub const EPOCH_MAX: u64 = 1 << 60;
/// The only version there is.
const VERSION: &str = "1";

/// Tells sets, and members, from others: RFC 9562, version 4.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Uuid([u8; 16]);

impl Uuid {
    /// Of 16 random bytes.
    #[must_use]
    pub fn of_random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// Its first eight digits, by which people tell a few from each other.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string()[..8].to_owned()
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no UUID")]
pub struct NoUuid;

impl FromStr for Uuid {
    type Err = NoUuid;

    fn from_str(text: &str) -> Result<Self, NoUuid> {
        let dashes = [8, 13, 18, 23];
        let placed = text.len() == 36 && text.bytes().enumerate().all(|(at, byte)| (byte == b'-') == dashes.contains(&at));
        let digits: Vec<u8> = text.bytes().filter(|&byte| byte != b'-').collect();
        if !placed || !digits.iter().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte)) {
            return Err(NoUuid);
        }
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| NoUuid)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| NoUuid)?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Uuid {
    type Error = NoUuid;

    fn try_from(text: String) -> Result<Self, NoUuid> {
        text.parse()
    }
}

impl From<Uuid> for String {
    fn from(uuid: Uuid) -> Self {
        uuid.to_string()
    }
}

/// Whose member something says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Mark {
    /// The set's.
    pub set: Uuid,
    /// The member's own.
    pub member: Uuid,
    /// How many changes of states the set had seen when it was written: a lower one is stale, whoever asks.
    pub epoch: u64,
}

impl Mark {
    /// The attribute's bytes: version, set, member, epoch, with a blank between them.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        format!("{VERSION} {} {} {}", self.set, self.member, self.epoch).into_bytes()
    }

    /// Reads them; none where they are no mark of this version.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(bytes.get(..bytes.len().min(MARK_BYTES_MAX + 1))?).ok()?.split(' ');
        let version = words.next()?;
        let mark = Self { set: words.next()?.parse().ok()?, member: words.next()?.parse().ok()?, epoch: words.next()?.parse().ok()? };
        (version == VERSION && words.next().is_none() && mark.epoch <= EPOCH_MAX).then_some(mark)
    }
}

/// The mark that a member carries; none where it carries none, or that can't be read.
#[must_use]
pub fn mark_of(member: &dyn Member) -> Option<Mark> {
    member.files().first().filter(|file| !file.is_device() && !file.silent())?;
    read_mark(member).ok()?
}

/// The mark that a member carries; none where it carries none.
///
/// # Errors
/// Where that can't be read.
pub fn read_mark(member: &dyn Member) -> io::Result<Option<Mark>> {
    let Some(file) = member.files().into_iter().next() else { return Ok(None) };
    Ok(match file.attribute(ATTRIBUTE)? {
        Attribute::Value(bytes) => Mark::decode(&bytes),
        Attribute::Nothing | Attribute::Unsupported => None,
    })
}

#[cfg(test)]
mod tests {
    use super::{Mark, Uuid};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_mark_comes_back(set in any::<[u8; 16]>(), member in any::<[u8; 16]>(), epoch in 0..=super::EPOCH_MAX) {
            let mark = Mark { set: Uuid::of_random(set), member: Uuid::of_random(member), epoch };
            prop_assert_eq!(Mark::decode(&mark.encode()), Some(mark));
        }

        #[test]
        fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Mark::decode(&bytes);
        }
    }

    #[test]
    fn what_is_no_mark_is_none() {
        let good = "1 9c5b94b1-35ad-49bb-b118-8e8fc24abf80 00000000-0000-4000-8000-000000000001 7";
        assert_eq!(Mark::decode(good.as_bytes()).map(|mark| mark.epoch), Some(7));
        for bad in ["", "1", "2 9c5b94b1-35ad-49bb-b118-8e8fc24abf80 00000000-0000-4000-8000-000000000001 7", "1 x y 7"] {
            assert_eq!(Mark::decode(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(Mark::decode(format!("{good} 8").as_bytes()), None);
        assert_eq!(Mark::decode(&good.as_bytes()[..50]), None);
        assert_eq!(Mark::decode(good.to_uppercase().as_bytes()), None, "one way to write it");
    }
}
