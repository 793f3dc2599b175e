//! Following the ring by entries, for what keeps an index of its own.

use std::sync::Arc;

use crate::{
    delivery::{Entry, chunk::Chunk, hub::Hub, index::Waiting},
    filter::Filter,
};

impl Hub {
    /// What a filter's subscriber has before it after a sequence, as far as the index tells; at most
    /// `count_max` are counted.
    pub fn waiting(&self, after: u64, filter: &Filter, count_max: u32) -> Waiting {
        let ring = self.0.ring.read().expect("no panic under this lock");
        ring.index.waiting(after, filter, count_max)
    }

    /// The entries of the ring after a sequence, oldest first, at most `count_max`. What the ring
    /// has let go is passed over.
    pub fn ring_after(&self, after: u64, count_max: usize) -> Vec<Arc<Entry>> {
        let ring = self.0.ring.read().expect("no panic under this lock");
        let after = after.max(ring.after);
        let chunks = ring.chunks.iter().skip(ring.chunk_after(after));
        let entries = chunks.flat_map(Chunk::entries);
        let new = entries.filter(|entry| entry.seq() > after);
        new.take(count_max).cloned().collect()
    }
}
