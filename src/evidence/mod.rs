//! What is known of a disk beside its ballots: partition tables and file systems. Pure over bytes, wherever they come from.

mod filesystems;
mod partitions;
mod read_at;

pub use filesystems::{FileSystem, find_file_system};
pub use partitions::{Partition, PartitionTable, read_partitions};
pub use read_at::ReadAt;
use read_at::bytes_at;
