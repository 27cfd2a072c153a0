//! What an error ends with, and how it reads.

use crate::{
    electorate::{ElectorateError, LockError},
    repair::{RepairError, undo::UndoError},
    set::SetError,
};

/// What everything that could not be done ends with.
pub(super) const FAILED: u8 = 3;

/// Where a person has to decide, or another program to end first, that is no failure of this one.
pub(super) fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(error) = error.downcast_ref::<RepairError>() {
        return error.exit_code();
    }
    if let Some(error) = error.downcast_ref::<ElectorateError>() {
        return error.exit_code();
    }
    if let Some(error) = error.downcast_ref::<SetError>() {
        return error.exit_code();
    }
    if let Some(error) = error.downcast_ref::<UndoError>() {
        return error.exit_code();
    }
    error.downcast_ref::<LockError>().map_or(FAILED, LockError::exit_code)
}

/// An error with its causes in one line, and the hints of all of them behind.
pub(super) fn explained(error: &anyhow::Error) -> String {
    let (mut causes, mut hints) = (Vec::new(), String::new());
    for cause in error.chain() {
        let text = cause.to_string();
        let (what, hint) = text.split_once("\nhint: ").unwrap_or((&text, ""));
        causes.push(what.to_owned());
        if !hint.is_empty() {
            hints = format!("{hints}\nhint: {hint}");
        }
    }
    causes.join(": ") + &hints
}
