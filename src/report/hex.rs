//! Versions of the same bytes above one another, in hexadecimal and as text. Pure.

use std::fmt::Write as _;

use super::styles::BAD;

/// Bytes of a line, where there is room for them.
const LINE_BYTES: usize = 16;
/// Columns of a line of so many bytes beside its offset and label.
const CELL: usize = 4;
/// Versions that are told apart; more of them nobody reads.
pub(super) const VERSIONS_SHOWN_MAX: usize = 8;

/// The same without styles, for a page.
#[must_use]
pub fn hex_lines(offset: u64, versions: &[Vec<u8>], lines_max: usize) -> String {
    let versions: Vec<&[u8]> = versions.iter().map(Vec::as_slice).collect();
    anstream::adapter::strip_str(&lines(offset, &versions, 0, lines_max, 80)).to_string()
}

/// Lines of `versions`, which begin at `offset`, at most `lines_max` of those in which they differ (or of all, where they are alike), as wide
/// as `columns` allow. A byte that isn't that of the version numbered `beside` has a star behind it; other versions that are one byte all along aren't
/// shown.
pub(super) fn lines(offset: u64, versions: &[&[u8]], beside: usize, lines_max: usize, columns: usize) -> String {
    let versions = &versions[..versions.len().min(VERSIONS_SHOWN_MAX)];
    let beside = beside.min(versions.len().saturating_sub(1));
    let length = versions.iter().map(|version| version.len()).max().unwrap_or(0);
    let offset_width = format!("{:x}", offset + length as u64).len().max(8);
    let label_width = versions.len();
    let room = columns.saturating_sub(offset_width + label_width + 3) / CELL;
    let per_line = if room >= LINE_BYTES { LINE_BYTES } else { LINE_BYTES / 2 };
    let part = |version: usize, at: usize| {
        let bytes = versions[version];
        &bytes[at.min(bytes.len())..(at + per_line).min(bytes.len())]
    };
    let differs = |at: usize| (0..versions.len()).any(|version| part(version, at) != part(beside, at));
    let all: Vec<usize> = (0..length).step_by(per_line).collect();
    let (different, alike): (Vec<usize>, Vec<usize>) = all.into_iter().partition(|&at| differs(at));
    let (wanted, alike) = if different.is_empty() { (alike, 0) } else { (different, alike.len()) };
    let mut text = String::new();
    for &at in wanted.iter().take(lines_max) {
        let mut told = vec![false; versions.len()];
        let mut first = true;
        for version in 0..versions.len() {
            if told[version] {
                continue;
            }
            // What is one byte all along is told in a word.
            if version != beside && is_uniform(versions[version]) {
                continue;
            }
            let same = (version..versions.len()).filter(|&other| part(other, at) == part(version, at));
            let mut label = String::new();
            for other in same {
                told[other] = true;
                label.push(letter(other));
            }
            let place = if first { format!("{:0offset_width$x}", offset + at as u64) } else { " ".repeat(offset_width) };
            first = false;
            let _ = writeln!(text, "{place} {label:<label_width$} {}", row(part(version, at), part(beside, at), per_line));
        }
    }
    let more = wanted.len().saturating_sub(lines_max);
    let mut left: Vec<String> = Vec::new();
    if more > 0 {
        left.push(format!("{more} more {}", if alike > 0 || versions.len() > 1 { "that differ" } else { "like these" }));
    }
    if alike > 0 {
        left.push(format!("{alike} that are alike"));
    }
    if !left.is_empty() {
        let _ = writeln!(text, "lines of {per_line} bytes left out: {}", left.join(", "));
    }
    text
}

/// As programs read it.
pub(super) fn digits(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The version that others are best held against: the first one that isn't one byte all along.
#[must_use]
pub fn telling(versions: &[Option<&[u8]>]) -> usize {
    versions.iter().position(|bytes| bytes.is_some_and(|bytes| !bytes.is_empty() && !is_uniform(bytes))).unwrap_or(0)
}

/// Whether it is one byte, and more than a line of it.
fn is_uniform(bytes: &[u8]) -> bool {
    bytes.len() > LINE_BYTES && bytes.iter().all(|byte| *byte == bytes[0])
}

/// What a version is called.
pub(super) fn letter(version: usize) -> char {
    char::from(b'A' + (version % 26) as u8)
}

/// A line of one version, beside that of the first.
fn row(bytes: &[u8], first: &[u8], per_line: usize) -> String {
    let mut hex = String::new();
    let mut text = String::new();
    for (at, &byte) in bytes.iter().enumerate() {
        let shown = if (b' '..=b'~').contains(&byte) { char::from(byte) } else { '.' };
        if first.get(at) == Some(&byte) {
            let _ = write!(hex, "{byte:02x} ");
            text.push(shown);
        } else {
            let _ = write!(hex, "{BAD}{byte:02x}*{BAD:#}");
            let _ = write!(text, "{BAD}{shown}{BAD:#}");
        }
    }
    hex + &"   ".repeat(per_line - bytes.len()) + &text
}

#[cfg(test)]
mod tests {
    use super::lines;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn only_what_differs_is_shown_and_marked() {
        let a: Vec<u8> = (0..64).collect();
        let (mut b, c) = (a.clone(), a.clone());
        b[20] = b'!';
        assert_eq!(
            plain(&lines(0x1b400, &[&a, &b, &c], 0, 4, 80)),
            "0001b410 AC  10 11 12 13 14 15 16 17 18 19 1a 1b 1c 1d 1e 1f ................\n         \
             B   10 11 12 13 21*15 16 17 18 19 1a 1b 1c 1d 1e 1f ....!...........\n\
             lines of 16 bytes left out: 3 that are alike\n"
        );
        let mut d = a.clone();
        d.fill(0xff);
        let text = plain(&lines(0, &[&a, &d], 0, 1, 80));
        assert!(text.ends_with("left out: 3 more that differ\n") && text.lines().count() == 2, "{text}");
        assert_eq!(plain(&lines(0, &[&d, &a], 0, 1, 80)).lines().count(), 3, "but of that one");
        let other = plain(&lines(0, &[&d, &a], 1, 1, 80));
        assert!(other.starts_with("00000000 B  00 01") && other.lines().count() == 2, "{other}");
        assert!(plain(&lines(0, &[&a], 0, 1, 80)).ends_with("3 more like these\n"));
    }

    #[test]
    fn it_fits_and_short_ends_do_no_harm() {
        let long = vec![7; 33];
        for columns in [0, 40, 50, 80, 200] {
            let text = plain(&lines(0x1234_5678_9abc, &[&long, &long[..17]], 0, 99, columns));
            assert!(text.lines().all(|line| line.len() <= columns.max(60)), "{columns}: {text}");
        }
        assert_eq!(lines(0, &[], 0, 9, 80), "");
        assert_eq!(lines(0, &[&[]], 0, 9, 80), "");
    }
}
