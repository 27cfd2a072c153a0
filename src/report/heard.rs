//! What digests said of members.

use serde::{Deserialize, Serialize};

use super::{Span, counted, human_size, member::is_zero, numbered, sectors};

/// What was heard of digests, where any was given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", default)]
pub struct HeardReport {
    /// The digests that were heard.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub witnesses: Vec<WitnessReport>,
    /// The sources that never vote, and what was taken from them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub donors: Vec<DonorReport>,
    /// Sectors in which something else is decided than without them, or is decided with them alone.
    #[serde(skip_serializing_if = "is_zero")]
    pub swayed_sectors: u64,
    /// Where all members hold the same, or the vote has decided all, and digests say otherwise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contradictions: Vec<ContradictionReport>,
    /// How many more of those there are.
    #[serde(skip_serializing_if = "is_zero")]
    pub contradictions_omitted: u64,
}

/// A source that never votes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", default)]
pub struct DonorReport {
    /// Its number among the donors, from 0 on.
    pub index: usize,
    /// Its name, control characters escaped.
    pub name: String,
    /// Sectors that no version won, and that it holds as a digest proves.
    pub donated_sectors: u64,
    /// Sectors that it couldn't read where they were wanted.
    #[serde(skip_serializing_if = "is_zero")]
    pub unreadable_sectors: u64,
    /// Why it could give no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A digest that was heard, and what it said, in chunks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", default)]
pub struct WitnessReport {
    /// Its number among the digests, from 0 on.
    pub index: usize,
    /// Its name, control characters escaped.
    pub name: String,
    /// `blake3`; or `xxh3`, which has no ballot.
    pub hash: String,
    /// Bytes of a chunk.
    pub chunk_bytes: u64,
    /// Bytes of the image that it is of.
    pub size: u64,
    /// What tells it from digests of other members.
    pub origin: String,
    /// When it was made (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made: Option<String>,
    /// The members whose memory it is: it adds nothing to what they hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub memory_of: Vec<usize>,
    /// Why nothing is written by it, where that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// Chunks in which all members hold what it says.
    pub agreed_chunks: u64,
    /// Chunks in which all members hold the same, or the vote has decided all, and it says otherwise.
    pub contradicted_chunks: u64,
    /// Chunks in which members differ, and one of them holds all of what it says.
    pub confirmed_chunks: u64,
    /// Chunks in which none does, and their sectors put together are what it says.
    pub combined_chunks: u64,
    /// Chunks in which nothing that members hold is what it says.
    pub unmatched_chunks: u64,
    /// Chunks in which a donor's bytes, with what was decided, are what it says.
    #[serde(skip_serializing_if = "is_zero")]
    pub donated_chunks: u64,
    /// Chunks in which there were too many ways to put sectors together.
    pub given_up_chunks: u64,
    /// Chunks of which it doesn't know.
    pub unknown_chunks: u64,
}

/// A place where all members hold the same, or the vote has decided all, and digests say otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", default)]
pub struct ContradictionReport {
    /// Where.
    #[serde(flatten)]
    pub span: Span,
    /// The digests that say so, by their numbers.
    pub witnesses: Vec<usize>,
}

/// Contradictions told one by one.
const TOLD_MAX: usize = 10;

impl HeardReport {
    /// Chunks in which a digest that may be relied on contradicts all members.
    #[must_use]
    pub fn contradicted_chunks(&self) -> u64 {
        self.witnesses.iter().filter(|witness| witness.old.is_none()).map(|witness| witness.contradicted_chunks).max().unwrap_or(0)
    }

    /// What people should read of it, a line each.
    #[must_use]
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.witnesses.iter().map(WitnessReport::line).collect();
        for donor in &self.donors {
            let why = donor.error.as_ref().map_or_else(String::new, |why| format!("; it could give no more: {why}"));
            let unread = match donor.unreadable_sectors {
                0 => String::new(),
                count => format!("; {} of it can't be read", sectors(count)),
            };
            lines.push(format!("From donor {}, as a digest proves: {}{unread}{why}.", donor.name, sectors(donor.donated_sectors)));
        }
        if self.swayed_sectors > 0 {
            lines.push(format!("By the digests' word: {}.", sectors(self.swayed_sectors)));
        }
        for place in self.contradictions.iter().take(TOLD_MAX) {
            let who: Vec<&str> =
                self.witnesses.iter().filter(|it| place.witnesses.contains(&it.index)).map(|it| it.name.as_str()).collect();
            lines.push(format!(
                "At {:#x} ({}) {} {} other bytes than those that all hold or the vote has decided: they may be damaged alike, or were written to since.",
                place.span.offset,
                human_size(place.span.length),
                who.join(", "),
                if who.len() == 1 { "knows" } else { "know" }
            ));
        }
        if !self.contradictions.is_empty() && self.contradicted_chunks() > 0 {
            lines.push("If nothing was written since: one copy alone, beside the digest and a --donor that still has those bytes, is healed there.".into());
        }
        let more = self.contradictions.len().saturating_sub(TOLD_MAX) as u64 + self.contradictions_omitted;
        if more > 0 {
            lines.push(format!("{} like that; --output json lists them.", counted(more, "more place")));
        }
        lines
    }
}

impl WitnessReport {
    /// Adds what it said in another part.
    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.agreed_chunks, other.agreed_chunks),
            (&mut self.contradicted_chunks, other.contradicted_chunks),
            (&mut self.confirmed_chunks, other.confirmed_chunks),
            (&mut self.combined_chunks, other.combined_chunks),
            (&mut self.unmatched_chunks, other.unmatched_chunks),
            (&mut self.given_up_chunks, other.given_up_chunks),
            (&mut self.donated_chunks, other.donated_chunks),
            (&mut self.unknown_chunks, other.unknown_chunks),
        ];
        for (own, more) in pairs {
            *own = own.saturating_add(more);
        }
    }

    fn line(&self) -> String {
        let said = [
            (self.agreed_chunks, "all members hold what it says in"),
            (self.confirmed_chunks, "it knows one of the versions in"),
            (self.combined_chunks, "it was healed from several copies by it in"),
            (self.donated_chunks, "it proves what a donor holds in"),
            (self.contradicted_chunks, "it contradicts what all hold, or what the vote has decided, in"),
            (self.unmatched_chunks, "it knows none of the versions in"),
            (self.given_up_chunks, "there were too many combinations to try in"),
            (self.unknown_chunks, "it doesn't know"),
        ];
        let said: Vec<String> =
            said.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{what} {}", counted(count, "chunk"))).collect();
        let memory =
            if self.memory_of.is_empty() { String::new() } else { format!(", memory of {}", numbered(self.memory_of.iter().copied())) };
        let foreign = self.contradicted_chunks + self.unmatched_chunks;
        let foreign = foreign > 3 && foreign > self.agreed_chunks + self.confirmed_chunks + self.combined_chunks;
        let doubt = if foreign { "; is it of this image?" } else { "." };
        let said = if said.is_empty() { "nothing to say".to_owned() } else { said.join("; ") };
        format!("Digest {} ({}, {}{memory}): {said}{doubt}", self.name, self.hash, human_size(self.chunk_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::{ContradictionReport, HeardReport, Span, WitnessReport};

    #[test]
    fn it_says_what_digests_said() {
        let witness = WitnessReport {
            name: "d.qdg".into(),
            hash: "blake3".into(),
            chunk_bytes: 65536,
            agreed_chunks: 5,
            combined_chunks: 1,
            contradicted_chunks: 1,
            ..WitnessReport::default()
        };
        let place = ContradictionReport { span: Span { offset: 65536, length: 65536 }, witnesses: vec![0] };
        let heard = HeardReport {
            witnesses: vec![witness],
            swayed_sectors: 2,
            contradictions: vec![place; 12],
            contradictions_omitted: 3,
            ..HeardReport::default()
        };
        let lines = heard.lines();
        assert!(
            lines[0].contains("Digest d.qdg (blake3, 64 KiB)") && lines[0].contains("healed from several copies by it in 1 chunk"),
            "{lines:?}"
        );
        assert!(lines[1].contains("2 sectors") && lines[2].contains("At 0x10000 (64 KiB) d.qdg knows other bytes"), "{lines:?}");
        assert!(lines.last().is_some_and(|line| line.starts_with("5 more places")), "{lines:?}");
        assert_eq!(heard.contradicted_chunks(), 1);
    }
}
