//! GNU ddrescue's mapfiles: which parts of a copy were rescued (ddrescue 1.28, manual, "Mapfile structure").

use crate::vote::ByteRange;

/// What can't be read as a mapfile: its line, counted from 1, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct MapfileError {
    /// Which line.
    pub line: usize,
    /// What is wrong.
    pub what: &'static str,
}

/// Most blocks that are read: a million bad spots.
const BLOCKS_MAX: usize = 1 << 20;

/// The parts of a copy of `size` bytes that were not rescued, ascending and apart from each other: all but those that are marked `+`. What
/// the map doesn't tell of wasn't, either.
///
/// # Errors
/// Where it isn't a mapfile.
pub fn unrescued(text: &str, size: u64) -> Result<Vec<ByteRange>, MapfileError> {
    let mut lines = text.lines().zip(1..).filter(|(line, _)| !line.trim_start().starts_with('#') && !line.trim().is_empty());
    // Where ddrescue stands, and its pass.
    let status = lines.next().ok_or(MapfileError { line: 1, what: "there is no status line" })?;
    let fields: Vec<&str> = status.0.split_whitespace().collect();
    let wrong = |line, what| Err(MapfileError { line, what });
    if !(2..=3).contains(&fields.len()) || number(fields[0]).is_none() || fields[1].len() != 1 {
        return wrong(status.1, "a position and a status are wanted");
    }
    let (mut rescued, mut end) = (Vec::new(), 0);
    for (count, (text, line)) in lines.enumerate() {
        if count >= BLOCKS_MAX {
            return wrong(line, "there are more than a million blocks");
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [start, length, status] = fields[..] else { return wrong(line, "a position, a size and a status are wanted") };
        let range = number(start).zip(number(length)).and_then(|(start, length)| ByteRange::at(start, length));
        let Some(range) = range else { return wrong(line, "a position and a size in bytes are wanted, as 0x1000 or 4096") };
        if range.start < end {
            return wrong(line, "blocks overlap, or are out of order");
        }
        end = range.end;
        match status {
            "+" => rescued.push(range),
            "?" | "*" | "/" | "-" | "#" => {}
            _ => return wrong(line, "a status is one of ? * / - +"),
        }
    }
    let mut at = 0;
    let mut left = Vec::new();
    for range in ByteRange::joined(rescued) {
        if at < range.start.min(size) {
            left.push(ByteRange::new(at, range.start.min(size)));
        }
        at = range.end;
    }
    if at < size {
        left.push(ByteRange::new(at, size));
    }
    Ok(left)
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::{ByteRange, unrescued};

    const MAP: &str = "# Mapfile. Created by GNU ddrescue version 1.27\n# Command line: ddrescue a b map\n# current_pos  current_status  current_pass\n\
        0x00010000     +               1\n#      pos        size  status\n0x00000000  0x00002000  +\n0x00002000  0x00000200  -\n0x00002200  0x1000  +\n";

    #[test]
    fn what_is_not_marked_rescued_was_not() {
        let range = ByteRange::new;
        assert_eq!(unrescued(MAP, 0x3200), Ok(vec![range(0x2000, 0x2200)]));
        assert_eq!(unrescued(MAP, 0x4000), Ok(vec![range(0x2000, 0x2200), range(0x3200, 0x4000)]), "nor what it doesn't tell of");
        assert_eq!(unrescued(MAP, 0x2100), Ok(vec![range(0x2000, 0x2100)]), "of a shorter copy only what it has");
        assert_eq!(unrescued("0 ?\n", 512), Ok(vec![range(0, 512)]));
    }

    #[test]
    fn what_is_no_mapfile_is_refused() {
        for (text, line) in [
            ("", 1),
            ("hello\n", 1),
            ("0 +\n0 512\n", 2),
            ("0 +\n0 512 x\n", 2),
            ("0 +\n0 1024 +\n512 512 +\n", 3),
            ("0 +\n0xffffffffffffffff 2 +\n", 2),
            ("0 +\n-1 2 +\n", 2),
        ] {
            assert_eq!(unrescued(text, 4096).map_err(|error| error.line), Err(line), "{text:?}");
        }
    }
}
