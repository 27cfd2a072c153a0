//! What is asked of an in-place repair, and what is proposed before it.

use std::ffi::OsStr;

use crate::{
    evidence::Evidence,
    member::{Member, MemberName},
    repair::{Earlier, Forced, Phases, journal::Identity},
    report::InPlaceMember,
    scan::{Poll, Question, Watch},
    sys::storage::{Folder, Storage},
};

/// Where the journal goes.
pub struct JournalPlace<'a> {
    /// The folder.
    pub folder: &'a dyn Folder,
    /// The name in it.
    pub name: &'a OsStr,
    /// The name as messages show it.
    pub shown: MemberName,
}

/// What the user wants of an in-place repair.
pub struct InPlaceWish<'a> {
    /// Only the plan.
    pub dry_run: bool,
    /// Members that are never written to.
    pub no_write: Vec<usize>,
    /// Cut what lies behind the virtual size.
    pub truncate: bool,
    /// How much of its content a member may lose, in percent.
    pub max_damage: f64,
    /// Where the journal goes; none where none is wanted.
    pub journal: Option<JournalPlace<'a>>,
    /// The options that decide what is written, as one line: a repair is gone on with only under the same ones.
    pub options: String,
    /// What tells the members from others, without samples.
    pub identities: Vec<Identity>,
    /// A random number for a new journal.
    pub id: [u8; 16],
    /// The time, in seconds since 1970.
    pub now: i64,
    /// Members that share storage, in words.
    pub dependent: Vec<String>,
    /// The images in which a repair was cut off and that were put back, by [`PutBack`](super::PutBack), before they were looked at.
    pub put_back: Vec<usize>,
    /// An earlier report.
    pub earlier: Option<Earlier>,
    /// Overridden refusals.
    pub forced: Forced,
    /// Divergences listed.
    pub divergences_max: usize,
    /// Bytes of divergences that are worked on at a time: [`PORTION_BYTES`](super::PORTION_BYTES).
    pub portion_bytes: u64,
}

/// What is going to be done, for people to agree to.
pub struct Proposal<'a> {
    /// Who gets what.
    pub members: &'a [InPlaceMember],
    /// Ranges that are written, over all members.
    pub writes: u64,
    /// Bytes written to members.
    pub bytes: u64,
    /// Bytes that are written once more, since they may not have reached stable storage; perhaps widened.
    pub again_bytes: u64,
    /// Bytes that are read again before.
    pub voted_bytes: u64,
    /// Bytes that the journal takes at most.
    pub journal_bytes: u64,
    /// The journal, where there is one.
    pub journal: Option<&'a MemberName>,
    /// Whether an unfinished repair is gone on with.
    pub resumed: bool,
    /// What people should know before.
    pub warnings: &'a [String],
    /// Words of guards that stand, and are overridden.
    pub overridden: &'a [&'a str],
    /// Members, by number, that are rewritten though they are newer than all who outvote them.
    pub newer: &'a [usize],
}

/// An in-place repair: who votes, how, who is written to, and by which way.
pub struct InPlace<'a> {
    /// Those who vote.
    pub members: &'a [&'a dyn Member],
    /// Where each one's bytes are rewritten; none where they aren't.
    pub stores: &'a [Option<&'a dyn Storage>],
    /// What the user wants of the vote.
    pub question: &'a Question,
    /// What is known before it; see [`Judge::admit`](crate::repair::judge::Judge::admit).
    pub poll: &'a Poll,
    /// What is known of the members beside their ballots.
    pub evidence: &'a Evidence<'a>,
    /// What the user wants of the repair.
    pub wish: &'a InPlaceWish<'a>,
    /// Who watches.
    pub watch: &'a dyn Watch,
    /// Who hears of the phases.
    pub phases: Phases<'a>,
    /// Asked before the first write.
    pub confirm: &'a dyn Fn(&Proposal) -> Answer,
}

/// What is said to a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is written.
    Yes,
    /// Nothing is.
    No,
    /// Nothing is, since somebody has to look at it first: why, with the way out behind `hint:`.
    Refused(String),
}
