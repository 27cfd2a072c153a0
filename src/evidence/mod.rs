//! What is known of a disk beside its ballots: partition tables, who it is, how old it is, which of its blocks are free, what a damage
//! looks like. Pure over bytes, wherever they come from.
//!
//! [`Evidence`] gathers it of all members before a vote; `systems/` holds one file for each kind of file system and the like.

mod age;
mod damage;
mod fields;
mod free;
mod identity;
mod kinds;
mod known;
mod looks;
mod mapfile;
mod mark;
mod partitions;
mod pieces;
mod read_at;
mod systems;

pub use age::{Age, AgeOf, Ages, Origin};
pub use damage::{has_few_flips, looks_like_rot};
pub use free::FreeSpace;
pub use identity::{Id, are_strangers};
pub use kinds::Kind;
pub use known::{By, Evidence, Known, Seniority, Stamp};
pub use looks::Looks;
pub use mapfile::{MapfileError, unrescued};
pub use mark::{ATTRIBUTE, EPOCH_MAX, MARK_BYTES_MAX, Mark, NoUuid, Uuid, mark_of, read_mark};
pub use partitions::{Partition, PartitionTable, read_partitions};
pub use read_at::ReadAt;
use read_at::bytes_at;
pub use systems::{DeviceMetadata, FileSystem, FreeBlocks, Owner, find_file_system, owner};
