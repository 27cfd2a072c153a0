//! What is asked of a new image.

use std::path::Path;

use super::{qcow2::Options, target::Target};
use crate::{
    digest::Sum,
    evidence::Evidence,
    member::{Member, MemberName},
    repair::{
        Earlier, Forced, Phases, RepairError,
        judge::{Judge, Way},
    },
    scan::{Poll, Question, Watch},
    vote::Fill,
};

/// What the user wants of a new image.
pub struct Wish<'a> {
    /// The output's name as given.
    pub output: &'a Path,
    /// Where it goes.
    pub target: Target,
    /// What goes into undecided sectors.
    pub fill: Fill,
    /// Zeros are left out in blocks of so many bytes; 0: everything is written.
    pub sparse_bytes: u64,
    /// The qcow2 image to write; none: a raw one.
    pub qcow2: Option<Options>,
    /// Whether members may be cloned.
    pub reflink: bool,
    /// Whether what was written is read back.
    pub verify: bool,
    /// The sum that the guest-visible bytes must have.
    pub expected: Option<Sum>,
    /// Members that share storage, in words.
    pub dependent: Vec<String>,
    /// An earlier report.
    pub earlier: Option<Earlier>,
    /// Overridden refusals.
    pub forced: Forced,
    /// Divergences listed.
    pub divergences_max: usize,
}

/// A repair: who votes, how, and what is to become of it.
pub struct Repair<'a> {
    /// Those who vote.
    pub members: &'a [&'a dyn Member],
    /// What the user wants of the vote.
    pub question: &'a Question,
    /// What is known before it; see [`Judge::admit`].
    pub poll: Poll,
    /// What is known of them beside their ballots.
    pub evidence: &'a Evidence<'a>,
    /// What the user wants of the image.
    pub wish: &'a Wish<'a>,
    /// Who watches.
    pub watch: &'a dyn Watch,
    /// Who hears of the phases.
    pub phases: Phases<'a>,
    /// Who hears what people should know before a device is overwritten.
    pub before: &'a dyn Fn(&[String]),
}

impl Repair<'_> {
    pub(super) fn judge(&self) -> Judge {
        Judge { way: Way::NewImage, forced: self.wish.forced }
    }

    pub(super) fn output_name(&self) -> MemberName {
        MemberName::from(self.wish.output)
    }

    pub(super) fn failed(&self, doing: &str, hint: &'static str) -> impl Fn(std::io::Error) -> RepairError + use<> {
        let (output, doing) = (self.output_name(), doing.to_owned());
        move |error| RepairError::Output { output: output.clone(), doing: doing.clone(), error, hint }
    }

    /// Whether the output is a device: what was written there stays.
    pub(super) fn is_device(&self) -> bool {
        matches!(self.wish.target, Target::Device(_))
    }

    /// What becomes of a half-written output.
    pub(super) fn remains(&self) -> &'static str {
        if self.is_device() {
            "the device holds a part of the new image, and must be written anew"
        } else {
            "nothing of the output is kept; make room or choose another place"
        }
    }
}
