//! What a check must find, worked out sector by sector from the words of `design.md` alone: slow, and simple enough to be believed.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// A check to be foretold.
#[derive(Clone, Debug)]
pub struct Question {
    /// The members' bytes.
    pub images: Vec<Vec<u8>>,
    /// `--sector-size`.
    pub sector: u64,
    /// `--threshold`.
    pub threshold: usize,
    /// `--range` as offset and length in bytes; starts inside of the disk.
    pub range: Option<(u64, u64)>,
    /// `--trust`, by the member's number.
    pub trust: Option<usize>,
}

/// The value that at least `threshold` of `votes` name, and strictly more than name any other.
pub fn winner<T: Ord + Copy>(votes: &[T], threshold: usize) -> Option<T> {
    let mut counts = BTreeMap::new();
    for vote in votes {
        *counts.entry(*vote).or_insert(0) += 1;
    }
    let most = counts.values().copied().max()?;
    let mut first = counts.iter().filter(|&(_, &count)| count == most);
    let (&value, _) = first.next()?;
    (most >= threshold && first.next().is_none()).then_some(value)
}

/// What became of one sector.
#[derive(Clone, Debug, PartialEq)]
struct Finding {
    verdict: &'static str,
    /// The winner comes first; then by number of members, then by the lowest index.
    versions: Vec<Vec<usize>>,
    absent: Vec<usize>,
}

impl Question {
    /// The images as they are read: one whose size isn't a multiple of 512 shows zeros up to it where others hold those. "Raw sizes agree
    /// once they are rounded up to 512".
    pub fn padded(&self) -> Vec<Vec<u8>> {
        let padded = |image: &Vec<u8>| {
            let rounded = image.len().next_multiple_of(512);
            let mut others = self.images.iter().filter(|other| other.len() == rounded && rounded != image.len()).peekable();
            let agree = others.peek().is_some() && others.all(|other| other[image.len()..].iter().all(|&byte| byte == 0));
            let mut image = image.clone();
            image.resize(if agree { rounded } else { image.len() }, 0);
            image
        };
        self.images.iter().map(padded).collect()
    }

    /// The part of the JSON report that follows from the members' bytes.
    pub fn answer(&self) -> Value {
        Self { images: self.padded(), sector: self.sector, threshold: self.threshold, range: self.range, trust: self.trust }
            .answer_as_read()
    }

    fn answer_as_read(&self) -> Value {
        let sizes: Vec<u64> = self.images.iter().map(|image| image.len() as u64).collect();
        let voted = self.size();
        let size = voted.unwrap_or_else(|| sizes.iter().copied().max().expect("members"));

        let mut counts = [("unanimous", 0), ("decided", 0), ("undecided", 0)];
        let mut dissenting = vec![0; sizes.len()];
        let mut absent = vec![0; sizes.len()];
        let mut divergences: Vec<(u64, u64, Finding)> = Vec::new();
        let looked_at = self.sectors(size).filter(|&(start, stop)| self.looks_at(start, stop));
        let mut total = 0;
        for (start, stop) in looked_at {
            total += 1;
            let finding = self.judge(start, stop, voted.is_none() && stop > *sizes.iter().min().expect("members"));
            counts.iter_mut().find(|(verdict, _)| *verdict == finding.verdict).expect("one of three").1 += 1;
            if finding.verdict == "decided" {
                finding.versions[1..].iter().flatten().for_each(|&member| dissenting[member] += 1);
            }
            finding.absent.iter().for_each(|&member| absent[member] += 1);
            if finding.verdict == "unanimous" {
                continue;
            }
            match divergences.last_mut() {
                Some((_, last_stop, last)) if *last_stop == start && *last == finding => *last_stop = stop,
                _ => divergences.push((start, stop, finding)),
            }
        }

        let [(_, unanimous), (_, decided), (_, undecided)] = counts;
        let alike = sizes.iter().all(|&other| other == sizes[0]);
        // Where all go on behind the part that was asked for, nobody needs to know where the disk ends.
        let part_end = self.range.map(|(offset, length)| (offset + length).next_multiple_of(self.sector).min(size));
        let inside = part_end.is_some_and(|end| sizes.iter().all(|&size| size >= end));
        let alike = alike || inside;
        let code = if undecided > 0 || (voted.is_none() && !inside) { 2 } else { i32::from(decided > 0 || !alike) };
        let verdict = ["unanimous", "decided", "undecided"][usize::try_from(code).expect("0 to 2")];
        let members: Vec<Value> = (0..sizes.len())
            .map(|member| {
                let surplus = sizes[member].saturating_sub(size);
                // "Usable as it stands" takes a look at all of it.
                let all = total == size.div_ceil(self.sector);
                let whole = all && undecided == 0 && dissenting[member] == 0 && absent[member] == 0 && surplus == 0 && voted.is_some();
                json!({
                    "index": member, "size": sizes[member], "whole": whole, "dissenting-sectors": dissenting[member],
                    "unreadable-sectors": 0, "absent-sectors": absent[member], "surplus-bytes": surplus,
                })
            })
            .collect();
        json!({
            "size": size, "sector-size": self.sector, "exit-code": code,
            "verdict": verdict,
            "members": members,
            "sectors": { "total": total, "unanimous": unanimous, "decided": decided, "undecided": undecided },
            "divergences": divergences.iter().map(|(start, stop, finding)| finding.report(*start, *stop)).collect::<Vec<_>>(),
            "divergences-omitted": 0,
        })
    }

    /// The same part of a report that quorum-img made.
    pub fn relevant(report: &Value) -> Value {
        let keep = |value: &Value, keys: &[&str]| Value::Object(keys.iter().map(|&key| (key.to_owned(), value[key].clone())).collect());
        let each =
            |value: &Value, keys: &[&str]| value.as_array().map_or(Value::Null, |all| all.iter().map(|one| keep(one, keys)).collect());
        let mut kept =
            keep(report, &["size", "sector-size", "exit-code", "verdict", "members", "sectors", "divergences", "divergences-omitted"]);
        let member_keys = ["index", "size", "whole", "dissenting-sectors", "unreadable-sectors", "absent-sectors", "surplus-bytes"];
        kept["members"] = each(&report["members"], &member_keys);
        kept["divergences"] = each(&report["divergences"], &["offset", "length", "verdict", "versions", "unreadable", "absent"]);
        kept
    }

    /// "It is voted on with the same threshold"; a trusted member's size is right.
    pub fn size(&self) -> Option<u64> {
        let sizes: Vec<u64> = self.images.iter().map(|image| image.len() as u64).collect();
        self.trust.map_or_else(|| winner(&sizes, self.threshold), |trusted| Some(sizes[trusted]))
    }

    /// The first byte of each sector of a disk of this size, and the byte behind it.
    pub fn sectors(&self, size: u64) -> impl Iterator<Item = (u64, u64)> {
        let sector = self.sector;
        (0..size.div_ceil(sector)).map(move |number| (number * sector, ((number + 1) * sector).min(size)))
    }

    /// Whether any byte of the sector is asked about.
    pub fn looks_at(&self, start: u64, stop: u64) -> bool {
        self.range.is_none_or(|(offset, length)| start < offset + length && offset < stop)
    }

    /// What each member holds of the sector. "Absent (beyond the member's end, also where it holds the sector only partly)".
    pub fn ballots(&self, start: u64, stop: u64) -> Vec<Option<&[u8]>> {
        let place = usize::try_from(start).expect("a small image")..usize::try_from(stop).expect("a small image");
        self.images.iter().map(|image| image.get(place.clone())).collect()
    }

    /// The bytes that are right in the sector, where anything is.
    pub fn right(&self, start: u64, stop: u64) -> Option<&[u8]> {
        let ballots = self.ballots(start, stop);
        match self.trust {
            Some(trusted) => ballots[trusted],
            None => winner(&ballots.into_iter().flatten().collect::<Vec<_>>(), self.threshold),
        }
    }

    /// The verdict on the sector from byte `start` to byte `stop`. In a `tail` behind the shortest member of a disk whose size nobody
    /// knows, nothing is decided.
    fn judge(&self, start: u64, stop: u64, tail: bool) -> Finding {
        let ballots = self.ballots(start, stop);
        let mut versions: Vec<Vec<usize>> = Vec::new();
        for (member, ballot) in ballots.iter().enumerate().filter(|(_, ballot)| ballot.is_some()) {
            match versions.iter_mut().find(|version| ballots[version[0]] == *ballot) {
                Some(version) => version.push(member),
                None => versions.push(vec![member]),
            }
        }
        versions.sort_by_key(|version| (usize::MAX - version.len(), version[0]));
        let absent = (0..ballots.len()).filter(|&member| ballots[member].is_none()).collect();
        if versions.len() == 1 && versions[0].len() == ballots.len() {
            return Finding { verdict: "unanimous", versions, absent };
        }
        let right = self.right(start, stop).filter(|_| !tail);
        if let Some(right) = right {
            // A trusted version comes first, however few hold it.
            versions.sort_by_key(|version| ballots[version[0]] != Some(right));
        }
        Finding { verdict: if right.is_some() { "decided" } else { "undecided" }, versions, absent }
    }
}

impl Finding {
    fn report(&self, start: u64, stop: u64) -> Value {
        let versions: Vec<Value> = self.versions.iter().map(|members| json!({ "members": members })).collect();
        json!({
            "offset": start, "length": stop - start, "verdict": self.verdict,
            "versions": versions, "unreadable": [], "absent": self.absent,
        })
    }
}
