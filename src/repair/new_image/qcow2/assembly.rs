//! Clusters that came in parts, until they are whole: only whole ones compress. Pure.

use std::collections::BTreeMap;

/// A cluster's bytes, as far as they came; the rest is zeros.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub cluster: u64,
    pub bytes: Vec<u8>,
}

/// Clusters of which parts came.
pub(super) struct Assembly {
    cluster_bytes: usize,
    /// The disk's.
    size: u64,
    waiting: BTreeMap<u64, (Vec<u8>, usize)>,
}

impl Assembly {
    pub(super) fn new(cluster_bytes: usize, size: u64) -> Self {
        Self { cluster_bytes, size, waiting: BTreeMap::new() }
    }

    /// Takes a part; gives back the cluster where it is whole now, and those that waited longest where more than `bytes_max` wait.
    pub(super) fn add(&mut self, cluster: u64, inside: usize, part: &[u8], bytes_max: usize) -> Vec<Piece> {
        let length = (self.size - cluster * self.cluster_bytes as u64).min(self.cluster_bytes as u64) as usize;
        let (bytes, filled) = self.waiting.entry(cluster).or_insert_with(|| (vec![0; length], 0));
        bytes[inside..inside + part.len()].copy_from_slice(part);
        *filled += part.len();
        let mut ready = Vec::new();
        if *filled == length {
            ready.extend(self.take(cluster));
        }
        while self.waiting.len() * self.cluster_bytes > bytes_max {
            // The disk is gone through in ascending order, more or less.
            let Some(first) = self.waiting.keys().next().copied().filter(|&first| first != cluster) else { break };
            ready.extend(self.take(first));
        }
        ready
    }

    fn take(&mut self, cluster: u64) -> Option<Piece> {
        self.waiting.remove(&cluster).map(|(bytes, _)| Piece { cluster, bytes })
    }

    /// All that waits.
    pub(super) fn take_all(&mut self) -> Vec<Piece> {
        std::mem::take(&mut self.waiting).into_iter().map(|(cluster, (bytes, _))| Piece { cluster, bytes }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Assembly, Piece};

    #[test]
    fn whole_clusters_come_out_and_the_oldest_go_when_there_are_too_many() {
        let mut assembly = Assembly::new(4, 30);
        assert_eq!(assembly.add(0, 0, &[1, 2], 8), []);
        assert_eq!(assembly.add(0, 2, &[3, 4], 8), [Piece { cluster: 0, bytes: vec![1, 2, 3, 4] }]);
        assert_eq!(assembly.add(7, 0, &[9, 9], 8), [Piece { cluster: 7, bytes: vec![9, 9] }], "the last one is short");
        assert_eq!(assembly.add(1, 1, &[5], 8), []);
        assert_eq!(assembly.add(2, 1, &[6], 8), []);
        assert_eq!(assembly.add(3, 0, &[7], 8), [Piece { cluster: 1, bytes: vec![0, 5, 0, 0] }]);
        assert_eq!(assembly.take_all().iter().map(|piece| piece.cluster).collect::<Vec<_>>(), [2, 3]);
    }
}
