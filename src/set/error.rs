//! Why something of a set can't be done.

use crate::member::MemberName;

/// Why a set's record can't be used, or its members aren't what it says.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// Not called as a set is.
    #[error("{0}: a set is called NAME.qset\nhint: choose such a name")]
    Name(MemberName),
    /// Nothing there.
    #[error("{0}: there is no such set\nhint: quorum-img set create makes one")]
    Missing(MemberName),
    /// Something is there.
    #[error("{0}: already exists\nhint: choose another name, or look at it: quorum-img set status {1}")]
    Exists(MemberName, String),
    /// A name that SQLite takes for its own beside it.
    #[error("{set}: {other} stands beside it, which SQLite would take for its own\nhint: look at it, move it away, or choose another name")]
    Beside {
        /// The set.
        set: MemberName,
        /// What stands there.
        other: MemberName,
    },
    /// Others may write to it.
    #[error(
        "{set}: isn't to be trusted, for it says what may be overwritten: {why}\nhint: look at it; chown and chmod it where it is yours"
    )]
    Untrusted {
        /// Which.
        set: MemberName,
        /// Why.
        why: &'static str,
    },
    /// Others may write to its folder.
    #[error(
        "{set}: lies in {folder}, which isn't to be trusted: {why}, and what is put there SQLite may roll back into it\nhint: keep it in a folder of your own"
    )]
    Folder {
        /// Which.
        set: MemberName,
        /// Where.
        folder: MemberName,
        /// Why.
        why: &'static str,
    },
    /// On a server, whose locks can't be relied on.
    #[error("{set}: lies on a network file system ({kind}), whose locks a record can't rely on\nhint: keep it on a disk of this machine")]
    Network {
        /// Which.
        set: MemberName,
        /// Of what kind.
        kind: &'static str,
    },
    /// Not a set, or damaged.
    #[error("{set}: can't be read as a set: {what}\nhint: {way}")]
    Damaged {
        /// Which.
        set: MemberName,
        /// What is wrong.
        what: String,
        /// The way out.
        way: &'static str,
    },
    /// Of another version.
    #[error("{set}: was written by a newer version of this program (format {version})\nhint: use that one")]
    Version {
        /// Which.
        set: MemberName,
        /// As it says.
        version: i64,
    },
    /// SQLite has something to say.
    #[error("{set}: {error}\nhint: {way}")]
    Record {
        /// Which.
        set: MemberName,
        /// What.
        error: String,
        /// The way out.
        way: &'static str,
    },
    /// A file beside it.
    #[error("{path}: {error}\nhint: see that there is room, and that you may write there")]
    Io {
        /// Which.
        path: MemberName,
        /// The system's word.
        error: std::io::Error,
    },
    /// A second run.
    #[error("{set}: another run works on it ({holder})\nhint: quorum-img set status {quoted} tells how far that is")]
    Busy {
        /// Which.
        set: MemberName,
        /// Who.
        holder: String,
        /// Its name for a shell.
        quoted: String,
    },
    /// A member isn't what the record says.
    #[error("{member}: {what}\nhint: {way}")]
    Mark {
        /// Which.
        member: MemberName,
        /// What is wrong.
        what: String,
        /// The way out.
        way: String,
    },
    /// The vote itself may be wrong.
    #[error("{set}: is disputed ({why}), so nothing is written\nhint: {way}")]
    Disputed {
        /// Which.
        set: MemberName,
        /// Why.
        why: String,
        /// The way out.
        way: String,
    },
    /// Fewer members vote than a version needs.
    #[error("too few votes: {votes} of the {needed} that a version needs, so nothing is written\nhint: {way}")]
    TooFew {
        /// How many do.
        votes: usize,
        /// How many are needed.
        needed: usize,
        /// The way out.
        way: String,
    },
    /// No such member.
    #[error("{name}: is no member of {set}\nhint: name it as quorum-img set status does, or by its number, #0 being the first")]
    NoMember {
        /// As given.
        name: String,
        /// Which set.
        set: MemberName,
    },
    /// What was asked for makes no sense for it.
    #[error("{0}")]
    Refused(String),
}

impl SetError {
    /// The exit code for it: 4 where another run works, 2 where a person has to look at members, 3 otherwise.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Busy { .. } => 4,
            Self::Mark { .. } | Self::TooFew { .. } | Self::Disputed { .. } => 2,
            _ => 3,
        }
    }
}
