//! Which members are the ones that were summed, by a file of `sha256sum` or `b3sum`.

use std::{fs, path::Path};

use anyhow::{Context, Result, anyhow, ensure};

use super::{progress::Control, say::warn};
use crate::{
    digest::{SumKind, SumLine, parse_sums, sums_of},
    member::{Member, MemberName},
    scan::Watch as _,
};

/// The longest file of sums that is read, in bytes.
const SUMS_BYTES_MAX: u64 = 64 << 20;

/// Reads a file of sums.
pub(super) fn read_sums(path: &Path) -> Result<Vec<SumLine>> {
    let name = MemberName::from(path);
    let hint = "hint: name a file that sha256sum or b3sum wrote";
    let there = fs::metadata(path).with_context(|| format!("--sums {name}: can't be read\n{hint}"))?;
    ensure!(there.is_file() && there.len() <= SUMS_BYTES_MAX, "--sums {name}: is no file of sums\n{hint}");
    let bytes = fs::read(path).with_context(|| format!("--sums {name}: can't be read\n{hint}"))?;
    let sums = parse_sums(&String::from_utf8_lossy(&bytes)).map_err(|what| anyhow!("--sums {name}: {what}\n{hint}"))?;
    ensure!(!sums.is_empty(), "--sums {name}: holds no sum\n{hint}");
    Ok(sums)
}

/// For each member what it is by the sums, in words; none where it is none of them, or couldn't be read as a whole.
pub(super) fn summed(sums: &[SumLine], members: &[&dyn Member], failures: &[Option<String>], control: &Control) -> Vec<Option<String>> {
    let kinds: Vec<SumKind> = [SumKind::Sha256, SumKind::Blake3]
        .into_iter()
        .filter(|kind| sums.iter().any(|sum| sum.kind.is_none_or(|said| said == *kind)))
        .collect();
    let bytes = members.iter().zip(failures).filter(|(_, why)| why.is_none()).map(|(member, _)| member.size()).sum();
    control.begin("summing up", bytes);
    let of = |(member, why): (&&dyn Member, &Option<String>)| {
        if why.is_some() {
            return None;
        }
        let Some(found) = sums_of(*member, &kinds, &|| control.stopped(), &|bytes| {
            control.spend(bytes);
            control.advanced(bytes);
        }) else {
            if !control.stopped() {
                warn(&format!("{}: a part of it can't be read, so that it has no sum", member.name()));
            }
            return None;
        };
        let line = |sum: &SumLine| found.iter().find(|found| found.hex == sum.hex && sum.kind.is_none_or(|kind| kind == found.kind));
        let (sum, by) = sums.iter().find_map(|sum| Some((sum, line(sum)?)))?;
        let name = if sum.name.is_empty() { String::new() } else { format!(", as {}", sum.name) };
        Some(format!("{}{name}", by.kind.name()))
    };
    let all: Vec<Option<String>> = members.iter().zip(failures).map(of).collect();
    if all.iter().all(Option::is_none) && !control.stopped() {
        warn("no member has any of the sums that --sums names");
    }
    all
}
