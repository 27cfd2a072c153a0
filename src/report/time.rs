//! Times as reports have them.

use std::time::SystemTime;

/// RFC 3339 in UTC, to the nanosecond where there are any; none for a time that no calendar reaches.
#[must_use]
pub fn rfc3339(time: SystemTime) -> Option<String> {
    jiff::Timestamp::try_from(time).ok().map(|time| time.to_string())
}

/// The same of seconds and nanoseconds since 1970.
#[must_use]
pub fn rfc3339_of((seconds, nanoseconds): (i64, u32)) -> Option<String> {
    jiff::Timestamp::new(seconds, i32::try_from(nanoseconds).ok()?).ok().map(|time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::rfc3339;
    use std::time::{Duration, SystemTime};

    #[test]
    fn times_are_utc_and_exact() {
        let at = |nanos| SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos);
        assert_eq!(rfc3339(at(1_700_000_000_000_000_000)).as_deref(), Some("2023-11-14T22:13:20Z"));
        assert_eq!(rfc3339(at(1_700_000_000_500_000_000)).as_deref(), Some("2023-11-14T22:13:20.5Z"));
    }
}
