//! How sizes, ranges and the like are written.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::{
    digest::{CHUNK_BYTES_MAX, CHUNK_BYTES_MIN},
    scan::SHARDS_MAX,
    vote::{ByteRange, Pattern},
};

/// A number of bytes as qemu-img takes it: decimal with an optional suffix (powers of 1024), or hexadecimal.
pub(super) fn parse_size(text: &str) -> Result<u64> {
    let wrong = || anyhow!("a number of bytes like 4096, 0x1000, 64k, 1.5G or 2T is wanted");
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u64::from_str_radix(hex, 16).map_err(|_| wrong());
    }
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "" | "b" | "B" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        "t" | "T" => 40,
        "p" | "P" => 50,
        "e" | "E" => 60,
        _ => return Err(wrong()),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(fraction) || fraction.len() > 18 || (digits.contains('.') && shift == 0) {
        return Err(wrong());
    }
    let too_large = || anyhow!("more bytes than 64 bits can count");
    let whole: u64 = whole.parse().map_err(|_| too_large())?;
    let whole = whole.checked_mul(1 << shift).ok_or_else(too_large)?;
    let fraction = match fraction {
        "" => 0,
        digits => ((digits.parse::<u128>().map_err(|_| wrong())? << shift) / 10u128.pow(digits.len() as u32)) as u64,
    };
    whole.checked_add(fraction).ok_or_else(too_large)
}

/// `OFFSET:LENGTH`, both as sizes.
pub(super) fn parse_range(text: &str) -> Result<ByteRange> {
    let (offset, length) = text.split_once(':').context("OFFSET:LENGTH is wanted, for instance 0x100000:64k")?;
    // In one line: clap shows no causes.
    let part = |name: &str, text: &str| parse_size(text).map_err(|error| anyhow!("{name}: {error}"));
    let (offset, length) = (part("OFFSET", offset)?, part("LENGTH", length)?);
    ByteRange::at(offset, length).context("the range ends beyond what 64 bits can count")
}

/// A chunk's size: a power of two within bounds.
pub(super) fn parse_chunk_size(text: &str) -> Result<u64> {
    let size = parse_size(text)?;
    let possible = size.is_power_of_two() && (CHUNK_BYTES_MIN..=CHUNK_BYTES_MAX).contains(&size);
    ensure!(possible, "a power of two from 64k to 1M is wanted");
    Ok(size)
}

/// `I/N`: one of N parts, I from 0 on.
pub(super) fn parse_shard(text: &str) -> Result<(u64, u64)> {
    let wrong = || anyhow!("I/N is wanted, I from 0 to N-1, for instance 0/8");
    let (which, of) = text.split_once('/').ok_or_else(wrong)?;
    let (which, of): (u64, u64) = (which.parse().map_err(|_| wrong())?, of.parse().map_err(|_| wrong())?);
    ensure!(which < of && of <= SHARDS_MAX, "I/N is wanted, I from 0 to N-1, N up to {SHARDS_MAX}");
    Ok((which, of))
}

/// A time of at least a second: `90s`, `5m`, `1h`; a plain number counts seconds.
pub(super) fn parse_duration(text: &str) -> Result<Duration> {
    let wrong = || anyhow!("a time like 90s, 5m or 1h is wanted, of a second at least");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return Err(wrong()),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = digits.parse::<u64>().ok().filter(|_| plain).and_then(|count| count.checked_mul(unit));
    seconds.filter(|&seconds| (1..=u64::from(u32::MAX)).contains(&seconds)).map(Duration::from_secs).ok_or_else(wrong)
}

/// A percentage, with its sign or without.
pub(super) fn parse_percent(text: &str) -> Result<f64> {
    let percent: f64 = text.trim_end_matches('%').parse().context("a number from 0 to 100 is wanted")?;
    ensure!((0.0..=100.0).contains(&percent), "a number from 0 to 100 is wanted");
    Ok(percent)
}

/// A byte in hex, `zero`, or a text.
pub(super) fn parse_filler(text: &str) -> Result<Pattern> {
    if text == "zero" {
        return Ok(Pattern::Repeated(vec![0]));
    }
    if let Some(hex) = text.strip_prefix("0x") {
        let byte = u8::from_str_radix(hex, 16).map_err(|_| anyhow!("0x and two hexadecimal digits are one byte, for instance 0xf6"))?;
        return Ok(Pattern::Repeated(vec![byte]));
    }
    ensure!((1..=FILLER_BYTES_MAX).contains(&text.len()), "a byte like 0xf6, a text of up to {FILLER_BYTES_MAX} bytes, or zero is wanted");
    Ok(Pattern::Repeated(text.as_bytes().to_vec()))
}

/// The longest text of a filler: it must fit a sector.
const FILLER_BYTES_MAX: usize = 256;

/// `MEMBER=FILE`.
pub(super) fn parse_mapfile(text: &str) -> Result<(OsString, PathBuf)> {
    match text.rsplit_once('=') {
        Some((member, file)) if !member.is_empty() && !file.is_empty() => Ok((member.into(), file.into())),
        _ => bail!("MEMBER=FILE is wanted, for instance #0=a.map"),
    }
}

/// `OFFSET:LENGTH=MEMBER`.
pub(super) fn parse_pick(text: &str) -> Result<(ByteRange, OsString)> {
    let Some((range, member)) = text.split_once('=') else {
        bail!("OFFSET:LENGTH=MEMBER is wanted, for instance 0x1b400:512=#1");
    };
    Ok((parse_range(range)?, member.into()))
}

#[cfg(test)]
mod tests {
    use super::{parse_range, parse_size};
    use crate::vote::ByteRange;

    #[test]
    fn sizes_are_read_as_qemu_img_reads_them() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("512b", 512),
            ("0x1000", 4096),
            ("64k", 65536),
            ("64K", 65536),
            ("1.5G", 3 << 29),
            ("2T", 2 << 40),
            ("18446744073709551615", u64::MAX),
            ("15E", 15 << 60),
        ] {
            assert_eq!(parse_size(text).ok(), Some(bytes), "{text}");
        }
        for text in ["", "k", "-1", "+1", "1.5", "1,5G", "1x", "1 k", "16E", "18446744073709551616", "0x", "1.G.2", "1kk", "é"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ranges_stay_within_64_bits() {
        assert_eq!(parse_range("1k:0x200").ok(), Some(ByteRange::new(1024, 1536)));
        for text in ["", "5", "1:", ":1", "1:2:3", "18446744073709551615:1"] {
            assert!(parse_range(text).is_err(), "{text}");
        }
    }
}
