//! When members were modified by others than this program.

use std::time::SystemTime;

use crate::member::Member;

/// For each member when it was modified, as far as that says something of what it holds.
#[must_use]
pub fn modified(members: &[&dyn Member]) -> Vec<Option<SystemTime>> {
    members.iter().map(|member| member.modified()).collect()
}
