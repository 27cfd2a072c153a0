//! What may be written: the guards, as one table with a column for each way of writing. All that writes asks here first; nobody else
//! refuses to write for what the members hold.
//!
//! From outside: [`TABLE`] says which guard refuses which way, [`Forced`] what the user overrides, and a [`Judge`] of both is asked:
//! [`Judge::admit`] before anything is read, `cuts` before an image is made, `losses` and `images` of a plan, `output` and `room` of a
//! target.

mod behind;
mod guards;
mod images;
mod losses;
mod output;
mod threshold;

pub use guards::{Forced, Guard, Judge, Row, Stance, TABLE, Way};
pub use images::ImageNeeds;
pub use losses::{Loss, Losses};
pub use output::Standing;
pub(super) use output::{capacity, surroundings};
