//! Whether something may be written where the output goes.

use super::guards::{Guard, Judge};
use crate::{member::MemberName, repair::RepairError, sys::storage::Replace};

/// What stands where the output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Occupant {
    /// Nothing.
    Nothing,
    /// That member, or something that lies on it.
    Member(MemberName),
    /// A folder.
    Folder,
    /// A block device.
    Device,
    /// A regular file.
    File,
    /// Something else.
    Other,
}

impl Judge {
    /// Refuses to write over what `stands` there.
    ///
    /// # Errors
    /// What it is, and the way out.
    pub(in crate::repair) fn output(self, output: &MemberName, stands: &Occupant) -> Result<(), RepairError> {
        let (what, hint) = match stands {
            Occupant::Member(member) => {
                return refuse(
                    output,
                    format!("is the member {member}, or lies on it; a member is never its own output"),
                    "choose another name",
                );
            }
            Occupant::Folder => ("is a folder", "name a file in it"),
            Occupant::Other => ("is neither a file nor a block device", "choose another name"),
            Occupant::Device if self.heeds(Guard::Device) => {
                ("is a block device, whose contents would be overwritten", "say --force device where that is meant")
            }
            Occupant::File if self.heeds(Guard::Overwrite) => {
                ("exists already", "choose another name, or say --force overwrite to replace it")
            }
            Occupant::Nothing | Occupant::Device | Occupant::File => return Ok(()),
        };
        refuse(output, what.into(), hint)
    }

    /// Whether a file may be replaced that appears under the output's name.
    #[must_use]
    pub(in crate::repair) fn replaces(self) -> Replace {
        if self.forced.has(Guard::Overwrite) { Replace::Existing } else { Replace::Never }
    }

    /// Refuses to begin where there is too little room, as far as that is known.
    ///
    /// # Errors
    /// How much is needed, and how much there is.
    pub(in crate::repair) fn room(self, output: &MemberName, needed: u64, free: Option<u64>) -> Result<(), RepairError> {
        match free {
            Some(free) if free < needed && self.heeds(Guard::Space) => Err(RepairError::Space { output: output.clone(), needed, free }),
            _ => Ok(()),
        }
    }
}

/// Refuses a place whose file system lies inside of a member, if it does.
///
/// # Errors
/// Which member.
pub(in crate::repair) fn surroundings(output: &MemberName, inside: Option<MemberName>) -> Result<(), RepairError> {
    let Some(member) = inside else { return Ok(()) };
    let what = format!("lies on a file system inside of the member {member}, which writing would change");
    refuse(output, what, "choose a folder elsewhere")
}

/// Refuses a device of `size` bytes that is too small.
///
/// # Errors
/// How large it is.
pub(in crate::repair) fn capacity(output: &MemberName, size: u64, needed: u64) -> Result<(), RepairError> {
    if size >= needed {
        return Ok(());
    }
    refuse(output, format!("holds {size} bytes, and the image has {needed}"), "choose a larger device")
}

fn refuse(output: &MemberName, what: String, hint: &'static str) -> Result<(), RepairError> {
    Err(RepairError::Target { output: output.clone(), what, hint })
}
