//! Counted things in words.

/// "1 sector", "2 sectors".
#[must_use]
pub fn sectors(count: u64) -> String {
    counted(count, "sector")
}

/// "1 range", "2 ranges"; of anything whose plural has an s.
#[must_use]
pub fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Numbers of members: "#0 #2".
#[must_use]
pub fn numbered(members: impl IntoIterator<Item = usize>) -> String {
    members.into_iter().map(|member| format!("#{member}")).collect::<Vec<_>>().join(" ")
}

/// "1 block of 4 KiB was", "2 blocks of 4 KiB were".
pub(super) fn blocks(count: u64) -> String {
    format!("{} of 4 KiB {}", counted(count, "block"), if count == 1 { "was" } else { "were" })
}

/// Where what was read back came from, as `verified-from` has it.
#[must_use]
pub fn read_from(word: &str) -> &'static str {
    match word {
        "medium" => " from the medium",
        "server" => " from the server",
        _ => "",
    }
}

/// A time in the unit that suits it: "45 s", "12 min", "3 h", "5 days".
#[must_use]
pub fn duration(seconds: f64) -> String {
    const UNITS: [(f64, &str); 3] = [(86_400.0, "day"), (3600.0, "h"), (60.0, "min")];
    // Up to two of a unit are told in the smaller one.
    match UNITS.iter().find(|(unit, _)| seconds >= 2.0 * unit) {
        Some((unit, "day")) => format!("{:.0} days", seconds / unit),
        Some((unit, name)) => format!("{:.0} {name}", seconds / unit),
        None => format!("{seconds:.0} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::{counted, duration, sectors};

    #[test]
    fn one_is_one() {
        assert_eq!((sectors(1), counted(2, "range")), ("1 sector".into(), "2 ranges".into()));
        for (seconds, text) in
            [(3.0, "3 s"), (119.0, "119 s"), (150.0, "2 min"), (7300.0, "2 h"), (200_000.0, "2 days"), (17_499_840.0, "203 days")]
        {
            assert_eq!(duration(seconds), text);
        }
    }
}
