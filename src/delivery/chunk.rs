//! Chunk: neighbouring entries whose frames lie end to end, so that a reader that is behind by
//! several gets one buffer over all of them, which it shares with every other such reader.

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::{
    delivery::{
        Entry,
        group::{Answer, Group},
    },
    telemetry::Protocol,
    wire::log::killed::Killed,
};

/// Most entries of a chunk: one bit each in a [`u64`].
pub const CHUNK_LEN_MAX: usize = 64;
/// Bytes of articles at which a chunk is closed; a single larger one has a chunk of its own. Also
/// about the most that a connection holds of what its client has not taken.
pub const CHUNK_BYTES_MAX: usize = 32 * 1024;

/// Bytes of frames at which a chunk is closed, of those that are made already.
///
/// Perf: the send is nearly all of what a delivery costs, whether it carries one or eight.
fn frame_bytes_max(protocol: Protocol) -> usize {
    match protocol {
        // What one DATA frame takes (RFC 9113 section 6.5.2, SETTINGS_MAX_FRAME_SIZE at first): h2
        // sends each by itself.
        Protocol::Grpc => 16 * 1024,
        Protocol::Sse => 24 * 1024,
        // Has none.
        Protocol::Webhook => usize::MAX,
    }
}

/// Neighbouring entries, in order.
#[derive(Debug)]
pub struct Chunk {
    /// Differs from that of every other chunk, and from its own before a loss.
    id: u64,
    entries: Vec<Arc<Entry>>,
    article_bytes: usize,
    /// Of those frames that were made when their entries came.
    frame_bytes: [usize; 3],
    /// Whether nothing comes in any more.
    is_closed: bool,
    slabs: [Mutex<Option<Slab>>; 3],
    dead: Mutex<Dead>,
}

/// The frames of a chunk, end to end, but for those of killed articles.
#[derive(Debug)]
struct Slab {
    /// How many entries it holds.
    len: usize,
    /// Which kills were known when it was made.
    generation: u64,
    /// Where each frame ends.
    ends: Vec<usize>,
    bytes: Bytes,
}

/// Which entries must not be shown any more, one bit each.
#[derive(Debug, Default)]
struct Dead {
    len: usize,
    generation: u64,
    mask: u64,
}

/// What a reader asks for.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// After this sequence.
    pub after: u64,
    /// Up to this sequence, inclusive.
    pub up_to: u64,
    /// What the reader wants.
    pub group: &'a Group,
    /// In which form.
    pub protocol: Protocol,
}

/// Frames for one reader, ready to be sent.
#[derive(Clone, Debug)]
pub struct Run {
    /// The frames.
    pub bytes: Bytes,
    /// How many.
    pub count: u64,
    /// The sequence of the last one.
    pub last_seq: u64,
    /// Those of them that are to be remembered ([`Group::is_stray`]).
    pub strays: Vec<Arc<Entry>>,
}

/// What a chunk has for a reader.
#[derive(Debug)]
pub enum Found {
    /// The next revisions that it wants.
    Run(Run),
    /// Nothing up to this sequence.
    Past(u64),
    /// Nothing before the reader's bound, and then something.
    Bound,
    /// Nothing before this one, of which the reader's group does not know yet whether it goes to it.
    Asks(Arc<Entry>),
}

impl Chunk {
    /// An empty chunk.
    pub fn new(id: u64) -> Self {
        Self {
            id,
            entries: Vec::new(),
            article_bytes: 0,
            frame_bytes: [0; 3],
            is_closed: false,
            slabs: Default::default(),
            dead: Mutex::default(),
        }
    }

    /// Whether an entry may still be added.
    pub fn has_room(&self, entry: &Entry) -> bool {
        self.entries.is_empty()
            || !self.is_closed
                && self.takes(entry.stored.record.article.len(), |protocol| {
                    entry.made_frame(protocol).map_or(0, Bytes::len)
                })
    }

    /// Whether another entry like those that it has would find no room.
    pub fn is_full(&self) -> bool {
        let len = self.entries.len().max(1);
        let mean = |bytes: usize| bytes / len;
        self.is_closed
            || !self.takes(mean(self.article_bytes), |protocol| {
                mean(self.frame_bytes[protocol.index()])
            })
    }

    fn takes(&self, article: usize, frame: impl Fn(Protocol) -> usize) -> bool {
        self.entries.len() < CHUNK_LEN_MAX
            && self.article_bytes + article <= CHUNK_BYTES_MAX
            && Protocol::ALL.into_iter().all(|protocol| {
                self.frame_bytes[protocol.index()] + frame(protocol) <= frame_bytes_max(protocol)
            })
    }

    /// Takes in nothing any more: what comes next is sent by itself anyway.
    pub fn close(&mut self) {
        self.is_closed = true;
    }

    /// Adds the next entry.
    pub fn push(&mut self, entry: Arc<Entry>) {
        self.article_bytes += entry.stored.record.article.len();
        for protocol in Protocol::ALL {
            let made = entry.made_frame(protocol).map_or(0, Bytes::len);
            self.frame_bytes[protocol.index()] += made;
        }
        self.entries.push(entry);
    }

    /// Forgets what comes after a sequence. What is added then is not what was there, so the chunk
    /// gets another id.
    pub fn truncate(&mut self, after: u64, id: u64) {
        self.id = id;
        let kept = self.place_after(after);
        let entries = std::mem::take(&mut self.entries);
        (self.article_bytes, self.frame_bytes) = (0, [0; 3]);
        self.is_closed = false;
        entries
            .into_iter()
            .take(kept)
            .for_each(|entry| self.push(entry));
        self.slabs = Default::default();
        self.dead = Mutex::default();
    }

    /// Its id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its entries.
    pub fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    /// The sequence of its last entry; 0 if it has none.
    pub fn last_seq(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.seq())
    }

    /// The sequence of its first entry; 0 if it has none.
    pub fn first_seq(&self) -> u64 {
        self.entries.first().map_or(0, |entry| entry.seq())
    }

    /// Its first entry after a sequence.
    pub fn first_after(&self, after: u64) -> Option<&Arc<Entry>> {
        self.entries.get(self.place_after(after))
    }

    /// Its entries after a sequence, one bit each.
    pub fn mask_after(&self, after: u64) -> u64 {
        bits(self.place_after(after), self.entries.len())
    }

    /// About what it takes in memory.
    pub fn bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.bytes()).sum()
    }

    /// How many entries come up to a sequence.
    fn place_after(&self, after: u64) -> usize {
        self.entries.partition_point(|entry| entry.seq() <= after)
    }

    /// What the chunk has for a reader.
    pub fn find(&self, ask: &Ask<'_>, killed: &Killed) -> Found {
        let from = self.place_after(ask.after);
        let to = match self.entries.last() {
            Some(last) if last.seq() <= ask.up_to => self.entries.len(),
            Some(_) | None => self.place_after(ask.up_to),
        };
        let Some(last) = to.checked_sub(1).filter(|last| *last >= from) else {
            return if from < self.entries.len() {
                Found::Bound
            } else {
                Found::Past(self.last_seq())
            };
        };
        let dead = self.dead(killed);
        let wanted = ask.group.verdict(self) & !dead & bits(from, to);
        let (wanted, open) = self.answered(wanted, ask.group);
        if wanted == 0 {
            let last = self.entries.get(last);
            return match open {
                Some(open) => Found::Asks(Arc::clone(open)),
                None => Found::Past(last.map_or(ask.after, |entry| entry.seq())),
            };
        }
        let wanted = match ask.protocol {
            Protocol::Grpc | Protocol::Sse => wanted,
            // One at a time, each when the one before it is taken.
            Protocol::Webhook => wanted & wanted.wrapping_neg(),
        };
        let mut run = self.run(wanted, dead, ask.protocol, killed);
        if ask.group.strays().is_some() {
            let entries = self.places(wanted).map(|place| &self.entries[place]);
            let strays = entries.filter(|entry| ask.group.is_stray(entry));
            run.strays = strays.cloned().collect();
        }
        Found::Run(run)
    }

    /// Which of the entries that a group is perhaps sent go to it, up to the first whose answer is open.
    fn answered(&self, perhaps: u64, group: &Group) -> (u64, Option<&Arc<Entry>>) {
        if group.strays().is_none() {
            return (perhaps, None);
        }
        let mut sent = 0;
        for place in self.places(perhaps) {
            match group.answer(&self.entries[place]) {
                Answer::Sent => sent |= 1 << place,
                Answer::Refused => {}
                Answer::Open => return (sent, Some(&self.entries[place])),
            }
        }
        (sent, None)
    }

    /// The places of these entries.
    fn places(&self, mask: u64) -> impl Iterator<Item = usize> {
        (0..self.entries.len()).filter(move |place| mask & (1 << place) != 0)
    }

    /// The frames of the wanted entries, which are some.
    fn run(&self, wanted: u64, dead: u64, protocol: Protocol, killed: &Killed) -> Run {
        let first = place(wanted.trailing_zeros());
        let last = place(63 - wanted.leading_zeros());
        let run = |bytes, last: usize| Run {
            bytes,
            count: wanted.count_ones().into(),
            last_seq: self.entries[last].seq(),
            strays: Vec::new(),
        };
        if first == last {
            return run(self.entries[first].frame(protocol).clone(), last);
        }
        let between = bits(first, last + 1);
        if wanted == between & !dead
            && let Some(bytes) = self.slab(first, last, protocol, killed)
        {
            return run(bytes, last);
        }
        // Not neighbours: one buffer of this reader's own is cheaper than a send for each.
        let each = (first..=last).filter(|place| wanted & (1 << place) != 0);
        let frames: Vec<&Bytes> = each
            .map(|place| self.entries[place].frame(protocol))
            .collect();
        let mut bytes = Vec::with_capacity(frames.iter().map(|frame| frame.len()).sum());
        frames
            .iter()
            .for_each(|frame| bytes.extend_from_slice(frame));
        run(bytes.into(), last)
    }

    /// The part of the slab from one entry to another; none if a kill came in between.
    fn slab(
        &self,
        first: usize,
        last: usize,
        protocol: Protocol,
        killed: &Killed,
    ) -> Option<Bytes> {
        let generation = killed.generation();
        let slab = &self.slabs[protocol.index()];
        let mut slab = slab.lock().expect("no panic under this lock");
        let is_current =
            |slab: &&mut Slab| slab.len == self.entries.len() && slab.generation == generation;
        let slab = match slab.as_mut().filter(is_current) {
            Some(slab) => slab,
            None => slab.insert(self.make_slab(protocol, generation, killed)),
        };
        // A kill since the caller looked: its choice may be stale.
        if killed.generation() != generation {
            return None;
        }
        let begin = first.checked_sub(1).map_or(0, |before| slab.ends[before]);
        Some(slab.bytes.slice(begin..slab.ends[last]))
    }

    /// A body that was killed must not leave from here: its frame is left out.
    fn make_slab(&self, protocol: Protocol, generation: u64, killed: &Killed) -> Slab {
        let dead = self.dead(killed);
        let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(self.entries.len()));
        for (place, entry) in self.entries.iter().enumerate() {
            if dead & (1 << place) == 0 {
                bytes.extend_from_slice(entry.frame(protocol));
            }
            ends.push(bytes.len());
        }
        Slab {
            len: self.entries.len(),
            generation,
            ends,
            bytes: bytes.into(),
        }
    }

    /// Which entries must not be shown any more.
    fn dead(&self, killed: &Killed) -> u64 {
        let generation = killed.generation();
        if generation == 0 {
            return 0;
        }
        let mut dead = self.dead.lock().expect("no panic under this lock");
        if dead.generation != generation || dead.len != self.entries.len() {
            let covered = |entry: &Entry| killed.covers(entry.article_id(), entry.seq());
            dead.mask = mask(self.entries.iter().map(|entry| covered(entry)));
            dead.len = self.entries.len();
            dead.generation = generation;
        }
        dead.mask
    }
}

/// One bit for each verdict, the first lowest.
pub fn mask(verdicts: impl Iterator<Item = bool>) -> u64 {
    verdicts.enumerate().fold(0, |mask, (place, verdict)| {
        mask | (u64::from(verdict) << place)
    })
}

/// The bits from one place up to before another.
fn bits(from: usize, to: usize) -> u64 {
    let below = |place: usize| {
        if place >= CHUNK_LEN_MAX {
            u64::MAX
        } else {
            (1 << place) - 1
        }
    };
    below(to) & !below(from)
}

fn place(bit: u32) -> usize {
    usize::try_from(bit).expect("at most 63")
}

#[cfg(test)]
mod tests;
