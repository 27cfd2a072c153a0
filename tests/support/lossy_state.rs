//! What a disk holds, what of it is safe, and what a power cut leaves.

use std::{collections::BTreeMap, ffi::OsString, time::SystemTime};

use crate::support::fuse_folder::index;

/// Bytes that are written whole or not at all.
const ATOM: usize = 512;
/// What happened to a file since it was synced.
#[derive(Clone)]
pub enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

#[derive(Clone)]
pub struct Node {
    pub bytes: Vec<u8>,
    pub modified: SystemTime,
    /// What is safe.
    synced: Vec<u8>,
    modified_synced: SystemTime,
    pending: Vec<Change>,
    pub perm: u16,
    pub owner: (u32, u32),
}

impl Node {
    pub fn new(bytes: Vec<u8>, perm: u16) -> Self {
        let now = SystemTime::now();
        Self { synced: bytes.clone(), bytes, modified: now, modified_synced: now, pending: Vec::new(), perm, owner: (0, 0) }
    }

    pub fn change(&mut self, change: Change) {
        apply(&mut self.bytes, &change, |_| true);
        self.modified = SystemTime::now();
        self.pending.push(change);
    }

    /// fdatasync(2) promises nothing of times.
    pub fn sync(&mut self, times_too: bool) {
        self.synced.clone_from(&self.bytes);
        self.pending.clear();
        if times_too {
            self.modified_synced = self.modified;
        }
    }

    /// What a power cut leaves.
    pub fn cut(&self, dice: &mut impl FnMut(u64) -> u64) -> Self {
        let mut bytes = self.synced.clone();
        let mood = dice(4);
        for change in &self.pending {
            match if mood < 2 { mood } else { dice(4) } {
                0 => {}
                1 | 2 => apply(&mut bytes, change, |_| true),
                _ => apply(&mut bytes, change, |_| dice(2) == 0),
            }
        }
        let modified = if dice(2) == 0 { self.modified_synced } else { self.modified };
        Self { synced: bytes.clone(), bytes, modified, modified_synced: modified, pending: Vec::new(), ..*self }
    }
}

/// Applies a change, of a write only the atoms that arrive.
fn apply(bytes: &mut Vec<u8>, change: &Change, mut arrives: impl FnMut(usize) -> bool) {
    match change {
        Change::Length(length) => bytes.resize(*length, 0),
        Change::Write(offset, data) => {
            let mut at = *offset;
            while at < offset + data.len() {
                let end = ((at / ATOM + 1) * ATOM).min(offset + data.len());
                if arrives(at) {
                    bytes.resize(bytes.len().max(end), 0);
                    bytes[at..end].copy_from_slice(&data[at - offset..end - offset]);
                }
                at = end;
            }
        }
    }
}

pub type Names = BTreeMap<OsString, u64>;

/// What the disk holds.
#[derive(Clone, Default)]
pub struct State {
    pub nodes: BTreeMap<u64, Node>,
    /// The folder as it is safe, and each state of it since, the last one being that of now.
    pub folders: Vec<Names>,
}

impl State {
    pub fn names(&self) -> &Names {
        self.folders.last().expect("there is always one")
    }

    pub fn rename(&mut self, change: impl FnOnce(&mut Names)) {
        let mut names = self.names().clone();
        change(&mut names);
        self.folders.push(names);
    }

    pub fn cut(&self, dice: &mut impl FnMut(u64) -> u64) -> Self {
        let names = self.folders[index(dice(self.folders.len() as u64))].clone();
        let nodes = self.nodes.iter().filter(|(ino, _)| names.values().any(|named| named == *ino));
        Self { nodes: nodes.map(|(ino, node)| (*ino, node.cut(dice))).collect(), folders: vec![names] }
    }
}
