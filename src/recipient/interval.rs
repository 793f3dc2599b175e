//! Interval: a part of the log that a recipient was sent under one filter, and what that tells of a
//! story.

use serde::{Deserialize, Serialize};

use crate::{
    cursor::{Cursor, Epoch, Epochs, Place},
    filter::Filter,
    recipient::{Had, Revised, gone::Gone},
};

/// A part of the log that was sent under one filter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Interval {
    /// After this sequence.
    pub(super) after: u64,
    /// Up to here everything that matched was surely sent.
    pub(super) sent: u64,
    /// Beyond here nothing was.
    pub(super) end: u64,
    /// The life of the log that `end` is of.
    pub(super) epoch: Epoch,
    pub(super) filter: Filter,
    /// What of it was gone.
    #[serde(default, skip_serializing_if = "Gone::is_empty")]
    pub(super) gone: Gone,
    /// Whether it was made of several: nothing in it was surely sent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_wide: bool,
}

/// A part of the log, and what was sent of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    pub(super) filter: &'a Filter,
    pub(super) after: u64,
    /// Up to here everything that matched was surely sent; none = nothing is sure.
    pub(super) sent: Option<u64>,
    /// Beyond here nothing was.
    pub(super) end: u64,
    /// What of it was gone.
    pub(super) gone: &'a Gone,
}

impl Part<'_> {
    /// Whether an earlier revision was sent in it.
    pub(super) fn had(&self, revised: &Revised<'_>, unsent: &[u64]) -> Had {
        let facets = &revised.facets;
        if !(self.filter).matches_facets(facets) {
            // Topics and urgencies only grow and the language stays: what does not match now never
            // did.
            return Had::No;
        }
        let Some(trail) = revised.trail else {
            return Had::Maybe;
        };
        let topics = &self.filter.topics;
        let is_wanted = |place: usize| {
            let topic = facets.topics.get(place);
            topics.is_empty()
                || topic.is_some_and(|topic| topics.iter().any(|wanted| wanted.covers(topic)))
        };
        let Some(mut first) = trail.topic_since(is_wanted) else {
            return Had::No;
        };
        if let Some(least) = self.filter.urgency {
            let Some(since) = trail.urgency_since(facets.urgencies, least.get()) else {
                return Had::No;
            };
            first = first.max(since);
        }
        first = first.max(self.after.saturating_add(1));
        // What words held back, only the text could tell.
        let sure = self.sent.filter(|_| self.filter.words.is_empty());
        let counts = |seq: u64| {
            let is_left_out = revised.wants_text() && trail.is_notice(seq);
            !is_left_out && !self.gone.holds(seq) && revised.read.binary_search(&seq).is_err()
        };
        let is_sure = |seq: u64| {
            let is_known = !revised.wants_text() || trail.has_text(seq);
            is_known
                && counts(seq)
                && !self.gone.may_hold(seq)
                && unsent.binary_search(&seq).is_err()
        };
        if sure.is_some_and(|sent| trail.has_between(first, sent, is_sure)) {
            Had::Yes
        } else if trail.has_between(first, self.end, counts)
            || trail.may_hide_between(first, self.end)
        {
            Had::Maybe
        } else {
            Had::No
        }
    }
}

impl Interval {
    /// Whether an earlier revision was sent in it.
    pub(super) fn had(&self, revised: &Revised<'_>, unsent: &[u64]) -> Had {
        let part = Part {
            filter: &self.filter,
            after: self.after,
            sent: (!self.is_wide).then_some(self.sent),
            end: self.end,
            gone: &self.gone,
        };
        part.had(revised, unsent)
    }

    /// Whether what matches was sent at a sequence.
    pub(super) fn sent(&self, seq: u64) -> Had {
        if seq <= self.after || self.end < seq || self.gone.holds(seq) {
            Had::No
        } else if self.is_wide || self.sent < seq || self.gone.may_hold(seq) {
            Had::Maybe
        } else {
            Had::Yes
        }
    }

    /// Whether the next one says nothing else of what lies between their beginnings, so that one of both
    /// says the same.
    pub(super) fn goes_on_in(&self, next: &Self) -> bool {
        let is_near = (self.after..=self.sent).contains(&next.after);
        is_near && self.filter == next.filter && !self.is_wide && !next.is_wide
    }

    /// Goes on up to where the next one ends.
    pub(super) fn append(&mut self, next: &Self) {
        self.gone.extend_after(&next.gone, (self.sent, self.end));
        self.sent = self.sent.max(next.sent);
        if next.end >= self.end {
            (self.end, self.epoch) = (next.end, next.epoch);
        }
    }

    /// Makes it cover another, too.
    pub(super) fn widen(&mut self, other: Self) {
        self.after = self.after.min(other.after);
        self.end = self.end.max(other.end);
        self.sent = self.after;
        self.is_wide = true;
        self.gone = Gone::default();
        let filter = &mut self.filter;
        // None is everything.
        if filter.topics.is_empty() || other.filter.topics.is_empty() {
            filter.topics.clear();
        } else {
            filter.topics.extend(other.filter.topics);
        }
        if filter.languages.is_empty() || other.filter.languages.is_empty() {
            filter.languages.clear();
        } else {
            filter.languages.extend(other.filter.languages);
        }
        let urgencies = filter.urgency.zip(other.filter.urgency);
        filter.urgency = urgencies.map(|(one, other)| one.max(other));
        filter.words.clear();
    }

    /// Returns whether anything is left.
    pub(super) fn clip(&mut self, epochs: &Epochs) -> bool {
        let end = Cursor {
            epoch: self.epoch,
            seq: self.end,
        };
        match epochs.place(end) {
            Place::Known(_) => {}
            Place::Lost(to) => {
                self.end = to.seq;
                self.sent = self.sent.min(to.seq);
                self.epoch = to.epoch;
            }
            Place::Foreign => return false,
        }
        self.gone.clip(epochs);
        self.end > self.after
    }
}
