//! Group: all subscribers with one filter. Each entry is judged once for all of them, and they are
//! woken only for what they want.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
};

use crate::{
    access::scope::Scope,
    article::Action,
    cursor::{Cursor, Epochs, Place},
    delivery::{
        Entry,
        chunk::{Chunk, mask},
        seats::Seats,
    },
    filter::Filter,
    recipient::{Coverage, Follows, Had, Past},
};

/// Chunks whose verdicts a group remembers; the oldest is judged again if it is asked for.
const VERDICTS_MAX: usize = 8;
/// Answers that a group remembers; the oldest is looked for again if it is asked for.
const ANSWERS_MAX: usize = 256;

/// What a subscriber is sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// What it wants.
    pub filter: Filter,
    /// Beyond which sequence; before that it is sent only what takes something back.
    pub begin: u64,
    /// What it was sent under other filters, if it has a name and they have changed.
    pub strays: Option<Strays>,
}

/// What a subscriber was sent under other filters than that of now: what takes that back follows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Strays {
    /// What that was.
    pub past: Past,
    /// What it may read now.
    pub granted: Arc<Scope>,
    /// As for [`Past::had`].
    pub unsent: Vec<u64>,
}

impl Wanted {
    /// What is left of it in another life of the log, whose sequences may name other revisions; none if
    /// that changes nothing.
    pub fn clipped(&self, former: &Epochs, epochs: &Epochs) -> Option<Self> {
        if self.begin == 0 && self.strays.is_none() {
            return None;
        }
        let place = |seq: u64| epochs.place(former.cursor(seq));
        let mut clipped = self.clone();
        clipped.begin = match place(self.begin) {
            Place::Known(seq) => seq,
            Place::Lost(to) => to.seq,
            Place::Foreign => 0,
        };
        if let Some(strays) = &mut clipped.strays {
            strays.past.clip(epochs);
            strays
                .unsent
                .retain(|seq| matches!(place(*seq), Place::Known(_)));
        }
        Some(clipped)
    }

    /// Only what a filter wants.
    pub fn by(filter: Filter) -> Self {
        Self {
            filter,
            begin: 0,
            strays: None,
        }
    }

    /// What a recipient wants that has come to a sequence, and may read so much now; `unsent` as for
    /// [`Past::had`].
    pub fn of(coverage: &Coverage, at: u64, granted: &Arc<Scope>, unsent: Vec<u64>) -> Self {
        let after = coverage.after().seq;
        let (begin, past) = if after > at {
            // What it leaves out may take back what it had.
            (after, coverage.past().clone())
        } else {
            (0, coverage.strays())
        };
        Self {
            filter: coverage.filter().clone(),
            begin,
            strays: (!past.is_empty()).then(|| Strays {
                past,
                granted: Arc::clone(granted),
                unsent,
            }),
        }
    }
}

impl Strays {
    /// Whether an entry that the filter does not want goes to the subscriber.
    pub fn call(&self, entry: &Entry) -> Follows {
        let granted = Some(&*self.granted);
        self.past.follows(&entry.revised(), granted, &self.unsent)
    }
}

/// Subscribers with one filter.
#[derive(Debug)]
pub struct Group {
    wanted: Wanted,
    /// The whole wire: nothing to judge.
    takes_all: bool,
    verdicts: Mutex<VecDeque<Verdict>>,
    /// By place, whether a correction goes to them that only earlier revisions could tell of.
    answers: Mutex<VecDeque<(Cursor, bool)>>,
    seats: Seats,
}

/// Whether an entry that a group is perhaps sent goes to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It does.
    Sent,
    /// It does not.
    Refused,
    /// Earlier revisions have to be read to tell.
    Open,
}

/// Which entries of a chunk the filter wants.
#[derive(Clone, Copy, Debug)]
struct Verdict {
    chunk_id: u64,
    /// How many of its entries are judged.
    len: usize,
    mask: u64,
}

impl Group {
    fn new(wanted: Wanted) -> Self {
        Self {
            takes_all: wanted == Wanted::by(Filter::default()),
            wanted,
            verdicts: Mutex::default(),
            answers: Mutex::default(),
            seats: Seats::default(),
        }
    }

    /// What they are sent.
    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// What they want.
    pub fn filter(&self) -> &Filter {
        &self.wanted.filter
    }

    /// What they were sent under other filters, which may bring what their filter does not want.
    pub fn strays(&self) -> Option<&Strays> {
        self.wanted.strays.as_ref()
    }

    /// Whether an entry for which there is a bit in a verdict goes to them.
    pub fn answer(&self, entry: &Entry) -> Answer {
        if entry.is_wanted(&self.wanted) {
            return Answer::Sent;
        }
        match self
            .strays()
            .map_or(Follows::No, |strays| strays.call(entry))
        {
            Follows::Yes => Answer::Sent,
            Follows::No => Answer::Refused,
            Follows::IfHadText => {
                let answers = self.answers.lock().expect("no panic under this lock");
                let known = answers.iter().find(|(place, _)| *place == entry.cursor);
                match known {
                    Some((_, true)) => Answer::Sent,
                    Some((_, false)) => Answer::Refused,
                    None => Answer::Open,
                }
            }
        }
    }

    /// Earlier revisions have told whether a correction goes to them.
    pub fn settle(&self, place: Cursor, is_sent: bool) {
        let mut answers = self.answers.lock().expect("no panic under this lock");
        if answers.len() >= ANSWERS_MAX {
            answers.pop_front();
        }
        answers.push_back((place, is_sent));
    }

    /// Whether an entry that they are sent, and their filter does not want, corrects what they may have
    /// had, and not for sure: that they have it for sure from then on is to be remembered.
    pub fn is_stray(&self, entry: &Entry) -> bool {
        let revised = entry.revised();
        let is_unsure = |strays: &Strays| strays.past.had(&revised, &strays.unsent) < Had::Yes;
        revised.facets.action == Action::Correct
            && !entry.is_wanted(&self.wanted)
            && self.strays().is_some_and(is_unsure)
    }

    /// Where they wait.
    pub fn seats(&self) -> &Seats {
        &self.seats
    }

    /// Which entries of a chunk they want, one bit each; also those whose answer is open.
    pub fn verdict(&self, chunk: &Chunk) -> u64 {
        if self.takes_all {
            return u64::MAX;
        }
        let len = chunk.entries().len();
        let known = self.known(chunk.id());
        if let Some(verdict) = known
            && verdict.len == len
        {
            return verdict.mask;
        }
        // Not under the lock: the words of a text take a while. Two may judge the same at once.
        let (judged, before) = known.map_or((0, 0), |verdict| (verdict.len, verdict.mask));
        let judged = judged.min(len);
        let rest = chunk.entries().iter().skip(judged);
        let rest = mask(rest.map(|entry| entry.is_for(&self.wanted)));
        let verdict = Verdict {
            chunk_id: chunk.id(),
            len,
            // Nothing to shift in when all 64 were judged.
            mask: before
                | rest
                    .checked_shl(u32::try_from(judged).unwrap_or(64))
                    .unwrap_or(0),
        };
        self.remember(verdict);
        verdict.mask
    }

    fn known(&self, chunk_id: u64) -> Option<Verdict> {
        let verdicts = self.verdicts.lock().expect("no panic under this lock");
        // The newest is asked for nearly always.
        let mut newest_first = verdicts.iter().rev();
        newest_first.find(|one| one.chunk_id == chunk_id).copied()
    }

    fn remember(&self, verdict: Verdict) {
        let mut verdicts = self.verdicts.lock().expect("no panic under this lock");
        let mut newest_first = verdicts.iter_mut().rev();
        if let Some(known) = newest_first.find(|one| one.chunk_id == verdict.chunk_id) {
            if known.len < verdict.len {
                *known = verdict;
            }
            return;
        }
        if verdicts.len() >= VERDICTS_MAX {
            verdicts.pop_front();
        }
        verdicts.push_back(verdict);
    }
}

/// All groups of a node.
#[derive(Debug, Default)]
pub struct Groups(Mutex<HashMap<Wanted, Arc<Group>>>);

impl Groups {
    /// The group of what is wanted.
    pub fn of(&self, wanted: &Wanted) -> Arc<Group> {
        let mut groups = self.0.lock().expect("no panic under this lock");
        if let Some(group) = groups.get(wanted) {
            return Arc::clone(group);
        }
        let group = Arc::new(Group::new(wanted.clone()));
        groups.insert(wanted.clone(), Arc::clone(&group));
        group
    }

    /// Forgets a group with its last member, who is giving it back.
    pub fn leave(&self, group: &Arc<Group>) {
        let mut groups = self.0.lock().expect("no panic under this lock");
        // The map's own and the last member's; nobody gets another without the lock.
        if Arc::strong_count(group) <= 2 {
            groups.remove(&group.wanted);
        }
    }

    /// Forgets groups without members that somebody held on to when the last one left.
    pub fn prune(&self) {
        let mut groups = self.0.lock().expect("no panic under this lock");
        groups.retain(|_, group| Arc::strong_count(group) > 1);
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Group>> {
        let groups = self.0.lock().expect("no panic under this lock");
        groups.values().cloned().collect()
    }
}
