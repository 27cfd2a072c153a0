//! What may be written: the guards, as one table with a column for each way of writing. Both ways ask here first, and
//! undo has its own three words. What a member's kind can't do, it says itself (`Image::obstacles`); whether it may be passed over is said here.
//!
//! From outside: [`TABLE`] says which guard refuses which way, [`Forced`] what the user overrides, and a [`Judge`] of both is asked:
//! [`Judge::lock_force`] before members are locked, [`Judge::admit`] before anything is read, `heed` of the guards that stand after a
//! vote ([`Weighing::stands`], which gathers a [`Case`]), `images` of a plan, `output` and `room` of a target.

mod behind;
mod case;
mod contents;
mod guards;
mod images;
mod output;
mod threshold;
mod weigh;

pub use case::{Case, Content, Stand, ZEROED_MAX};
pub use guards::{Forced, Guard, Judge, Row, Stance, TABLE, Way};
pub use images::ImageNeeds;
pub use output::Occupant;
pub(super) use output::{capacity, surroundings};
pub use weigh::{MAX_DAMAGE, Stands, Weighing};
