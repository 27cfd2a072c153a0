//! Sums of a whole image, those that `sha256sum` and `b3sum` print: they prove a result, or name the copy that was summed.

use sha2::{Digest as _, Sha256};

use crate::member::{Extent, KnownExtent, Member, ReadError, escaped};

/// Bytes that are read in one go.
const STEP_BYTES: u64 = 1 << 20;
/// Lines of a file of sums that are read: more are no list of a disk's copies.
const LINES_MAX: usize = 100_000;

/// What a whole image is summed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SumKind {
    /// As `sha256sum` does.
    Sha256,
    /// As `b3sum` does.
    Blake3,
}

impl SumKind {
    /// What people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Blake3 => "BLAKE3",
        }
    }

    /// Begins to sum up.
    #[must_use]
    pub fn summer(self) -> Summer {
        match self {
            Self::Sha256 => Summer::Sha256(Sha256::new()),
            Self::Blake3 => Summer::Blake3(Box::default()),
        }
    }
}

/// The sum of an image's guest-visible bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    /// By what.
    pub kind: SumKind,
    /// In lower-case hex.
    pub hex: String,
}

/// A sum in the making.
pub enum Summer {
    /// SHA-256.
    Sha256(Sha256),
    /// BLAKE3.
    Blake3(Box<blake3::Hasher>),
}

impl Summer {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Blake3(hasher) => {
                hasher.update(bytes);
            }
        }
    }

    /// The sum of all.
    #[must_use]
    pub fn finish(self) -> Sum {
        match self {
            Self::Sha256(hasher) => Sum { kind: SumKind::Sha256, hex: format!("{:x}", hasher.finalize()) },
            Self::Blake3(hasher) => Sum { kind: SumKind::Blake3, hex: hasher.finalize().to_hex().to_string() },
        }
    }
}

/// A line of a file of sums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SumLine {
    /// By what, where the line says so: both print 64 digits.
    pub kind: Option<SumKind>,
    /// In lower-case hex.
    pub hex: String,
    /// Of what, control characters escaped.
    pub name: String,
}

/// Takes a file of sums apart: lines of `sha256sum` and `b3sum`, tagged (`SHA256 (NAME) = HEX`) or not; empty ones and comments are passed over.
///
/// # Errors
/// The first line that is none, in words.
pub fn parse_sums(text: &str) -> Result<Vec<SumLine>, String> {
    let mut sums = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#')) {
        let is_hex = |hex: &str| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        let tagged = |tag: &str, kind| {
            let (name, hex) = line.strip_prefix(tag)?.strip_prefix(" (")?.rsplit_once(") = ")?;
            is_hex(hex).then_some((Some(kind), hex, name))
        };
        // A name with a line's end in it is escaped, and the line then begins with a backslash.
        let plain = || {
            let (hex, name) = line.trim_start_matches('\\').split_once([' ', '\t'])?;
            is_hex(hex).then_some((None, hex, name.trim_start_matches([' ', '*'])))
        };
        let alone = || is_hex(line.trim()).then_some((None, line.trim(), ""));
        let found = tagged("SHA256", SumKind::Sha256).or_else(|| tagged("BLAKE3", SumKind::Blake3)).or_else(plain).or_else(alone);
        let Some((kind, hex, name)) = found else {
            return Err(format!(
                "line {} is none that sha256sum or b3sum prints: {}",
                number + 1,
                escaped(&line.chars().take(60).collect::<String>())
            ));
        };
        sums.push(SumLine { kind, hex: hex.to_ascii_lowercase(), name: escaped(name) });
        if sums.len() > LINES_MAX {
            return Err(format!("it has more than {LINES_MAX} lines"));
        }
    }
    Ok(sums)
}

/// Sums up a member by several kinds in one reading; none where it was to end, or a place can't be read.
pub fn sums_of(member: &dyn Member, kinds: &[SumKind], stopped: &dyn Fn() -> bool, read: &dyn Fn(u64)) -> Option<Vec<Sum>> {
    let mut summers: Vec<Summer> = kinds.iter().map(|kind| kind.summer()).collect();
    let (mut known, mut bounce) = (KnownExtent::default(), None);
    let mut bytes = vec![0; STEP_BYTES as usize];
    let (mut at, size) = (0, member.size());
    while at < size {
        if stopped() {
            return None;
        }
        let extent = known.at(member, at).ok()?;
        let step = &mut bytes[..STEP_BYTES.min(extent.end().min(size) - at) as usize];
        match extent {
            Extent::Zero(_) => step.fill(0),
            Extent::Data(_) => match member.read(at, step, &mut bounce) {
                Ok(()) => {}
                Err(ReadError::Medium(_) | ReadError::Ended | ReadError::Member(_)) => return None,
            },
        }
        for summer in &mut summers {
            summer.update(step);
        }
        at += step.len() as u64;
        read(step.len() as u64);
    }
    Some(summers.into_iter().map(Summer::finish).collect())
}

#[cfg(test)]
mod tests {
    use super::{SumKind, parse_sums};

    #[test]
    fn lines_of_both_programs_are_understood() {
        let hex = "0123456789abcdef0123456789ABCDEF0123456789abcdef0123456789abcdef";
        let text = format!(
            "# made on Monday\n{hex}  a.img\n{hex} *b c.img\nSHA256 (d (1).img) = {hex}\r\nBLAKE3 (e.img) = {hex}\n\n{hex}\n\\{hex}  f\\ng\n"
        );
        let sums = parse_sums(&text).expect("all of them are");
        let found: Vec<(Option<SumKind>, &str)> = sums.iter().map(|sum| (sum.kind, sum.name.as_str())).collect();
        let expected = [
            (None, "a.img"),
            (None, "b c.img"),
            (Some(SumKind::Sha256), "d (1).img"),
            (Some(SumKind::Blake3), "e.img"),
            (None, ""),
            (None, "f\\\\ng"),
        ];
        assert_eq!(found.len(), expected.len());
        assert_eq!(found[..5], expected[..5]);
        assert!(sums.iter().all(|sum| sum.hex == hex.to_lowercase()));
        for wrong in ["abc  a.img", "a.img", &format!("MD5 (a) = {hex}"), &format!("{hex}0  a")] {
            assert!(parse_sums(wrong).is_err(), "{wrong}");
        }
    }
}
