//! Recipient: somebody with a name who is sent news over time, and what that was.
//!
//! What a durable subscription or a webhook was sent is kept as intervals of the log, each with the
//! filter of that time: a few bytes for each change, and nothing for a delivery. They answer whether
//! somebody had an earlier revision of a story that the filter of now does not want any more, so that
//! a correction or a kill follows it.

use serde::{Deserialize, Serialize};

use crate::{
    access::scope::Scope,
    article::{Action, ArticleId},
    cursor::{Cursor, Epochs, Place},
    filter::{Facets, Filter},
    recipient::{
        gone::Gone,
        interval::{Interval, Part},
        trail::Trail,
    },
};

mod gone;
mod interval;
pub mod subscription;
pub mod trail;

/// Most past intervals that are kept. With one more the two oldest become one that is wider than
/// both: a notice too many then goes out rather than one too few.
pub const PAST_MAX: usize = 64;
/// Most stories of which it is kept that something followed; the oldest is forgotten first, and who may
/// have it is then not sure.
pub const FOLLOWED_MAX: usize = 256;

/// What a recipient was sent, and is sent now. Filters are those that counted: cut to the grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    #[serde(flatten)]
    past: Past,
    /// The filter of now.
    filter: Filter,
    /// After which place it counts.
    after: Cursor,
    /// What of that was gone.
    #[serde(default, skip_serializing_if = "Gone::is_empty")]
    gone: Gone,
}

/// What a recipient was sent under earlier filters, and beside its filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Past {
    #[serde(default, rename = "past", skip_serializing_if = "Vec::is_empty")]
    intervals: Vec<Interval>,
    /// What was surely sent though the filter of its time did not want it: of a story the newest text,
    /// and the newest notice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    followed: Vec<Stray>,
    /// Up to this sequence some of that may be forgotten.
    #[serde(default, skip_serializing_if = "is_zero")]
    forgotten: u64,
}

/// A revision that was surely sent though the filter of its time did not want it: it corrected what may
/// have been sent before, or had been parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stray {
    /// Of which story.
    pub article: ArticleId,
    /// Where it lies.
    pub place: Cursor,
    /// Whether it has no text.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_notice: bool,
}

/// How a filter's time ended.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// Up to here everything that matched was surely sent.
    pub sent: u64,
    /// Beyond this place nothing was.
    pub end: Cursor,
    /// After which place the next filter counts.
    pub after: Cursor,
}

/// Whether a recipient had an earlier revision of a story; where that is to be corrected, one with text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Had {
    /// It was sent none.
    No,
    /// It may have been sent one.
    Maybe,
    /// It was sent one.
    Yes,
}

/// Whether a revision goes to a recipient whose filter of now does not want it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follows {
    /// It does not.
    No,
    /// It does.
    Yes,
    /// If the text of an earlier revision was surely sent, which only their words tell: each by
    /// [`Past::sent`].
    IfHadText,
}

/// A revision, as it is judged.
#[derive(Clone, Copy, Debug)]
pub struct Revised<'a> {
    /// Of which story.
    pub article: ArticleId,
    /// Where it lies.
    pub seq: u64,
    /// What filters look at.
    pub facets: Facets<'a>,
    /// What it knows of those before it; none if its record tells too little.
    pub trail: Option<&'a Trail>,
    /// Sequences, in order, of those before it that are judged by themselves ([`Coverage::sent`]), and
    /// not by the trail.
    pub read: &'a [u64],
}

impl Coverage {
    /// That of a recipient who is sent what a filter wants after a place.
    pub fn new(filter: Filter, after: Cursor) -> Self {
        Self {
            past: Past::default(),
            filter,
            after,
            gone: Gone::default(),
        }
    }

    /// The filter of now.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// After which place the filter of now counts.
    pub fn after(&self) -> Cursor {
        self.after
    }

    /// What was sent before that.
    pub fn past(&self) -> &Past {
        &self.past
    }

    /// How many filters there were: the number of the one of now, as far as they are kept.
    pub fn version(&self) -> usize {
        self.past.intervals.len() + 1
    }

    /// Another filter, or the same from another place on, counts from now on.
    pub fn turn(&mut self, filter: Filter, turn: Turn) {
        let former = std::mem::replace(&mut self.filter, filter);
        let interval = Interval {
            after: self.after.seq,
            sent: turn.sent,
            end: turn.end.seq.max(turn.sent),
            epoch: turn.end.epoch,
            filter: former,
            gone: std::mem::take(&mut self.gone),
            is_wide: false,
        };
        self.after = turn.after;
        self.past.add(interval);
    }

    /// Takes away what a loss of the log has taken: sequences that name other revisions now.
    pub fn clip(&mut self, epochs: &Epochs) {
        self.past.clip(epochs);
        self.gone.clip(epochs);
        match epochs.place(self.after) {
            Place::Known(_) => {}
            Place::Lost(to) => self.after = to,
            Place::Foreign => self.after = epochs.cursor(0),
        }
    }

    /// What was sent before, under filters that are not that of now: only they make a revision
    /// follow that the filter of now does not want.
    pub fn strays(&self) -> Past {
        let past = self.past.intervals.iter();
        let others = past.filter(|interval| interval.filter != self.filter);
        Past {
            intervals: others.cloned().collect(),
            followed: self.past.followed.clone(),
            forgotten: self.past.forgotten,
        }
    }

    /// Whether an earlier revision of a story was sent, if under the filter of now nothing was beyond
    /// a sequence; `unsent` as for [`Past::had`].
    pub fn had(&self, end: u64, revised: &Revised<'_>, unsent: &[u64]) -> Had {
        let now = Part {
            filter: &self.filter,
            after: self.after.seq,
            sent: None,
            end,
            gone: &self.gone,
        };
        let past = self.past.had(revised, unsent);
        past.max(now.had(revised, unsent))
    }

    /// As [`Past::sent`], if under the filter of now nothing was beyond a sequence.
    pub fn sent(&self, seq: u64, end: u64, matches: impl Fn(&Filter) -> bool) -> Had {
        let now = self.sent_now(seq, end, &matches).min(Had::Maybe);
        self.past.sent(seq, matches).max(now)
    }

    /// Whether what lies at a sequence, and matches these filters, was sent under the filter of now by a
    /// recipient that has come to `at`.
    fn sent_now(&self, seq: u64, at: u64, matches: impl Fn(&Filter) -> bool) -> Had {
        if seq <= self.after.seq || at < seq || self.gone.holds(seq) || !matches(&self.filter) {
            Had::No
        } else if self.gone.may_hold(seq) {
            Had::Maybe
        } else {
            Had::Yes
        }
    }

    /// What lies between two places was gone before the recipient came to it; up to `perhaps` an
    /// earlier stream may have sent it all the same. Returns whether that is new.
    pub fn leave_out(&mut self, after: u64, perhaps: u64, to: Cursor) -> bool {
        self.gone.add(after, perhaps, to)
    }

    /// As [`Past::follow`].
    pub fn follow(&mut self, stray: &Stray) -> bool {
        self.past.follow(stray)
    }

    /// Whether a recipient that has come to `at` was itself sent a revision, which lies at a sequence up
    /// to there and matches these filters; `unsent` as for [`Past::had`]. What only its grant of that
    /// time may have held back was perhaps sent; a correction surely was if the text of an earlier
    /// revision was.
    pub fn was_sent(
        &self,
        (seq, at): (u64, u64),
        revised: &Revised<'_>,
        matches: impl Fn(&Filter) -> bool,
        unsent: &[u64],
    ) -> Had {
        if unsent.binary_search(&seq).is_ok() {
            return Had::No;
        }
        let now = self.sent_now(seq, at, &matches);
        let had = self.past.had(revised, unsent);
        let followed = match revised.facets.action {
            // It was gone when its turn came.
            _ if self.may_be_gone(seq) => Had::No,
            // Nothing holds a notice back. But it may have been passed before two intervals became one.
            Action::Withhold | Action::Kill if had != Had::No => {
                if self.past.had_apart(revised, unsent) == Had::No {
                    Had::Maybe
                } else {
                    Had::Yes
                }
            }
            Action::Correct => had,
            _ => Had::No,
        };
        self.past.sent(seq, matches).max(now).max(followed)
    }

    fn may_be_gone(&self, seq: u64) -> bool {
        let past = self.past.intervals.iter().map(|interval| &interval.gone);
        past.chain([&self.gone]).any(|gone| gone.may_hold(seq))
    }

    /// Whether a recall, to which the recipient has not come yet, will be sent to it, who may read so
    /// much now; none = nothing. `unsent` as for [`Past::had`].
    pub fn reaches(
        &self,
        seq: u64,
        recall: &Revised<'_>,
        granted: Option<&Scope>,
        unsent: &[u64],
    ) -> Follows {
        // Words hold no recall back.
        let is_wanted =
            seq > self.after.seq && granted.is_some() && self.filter.matches_facets(&recall.facets);
        if is_wanted {
            Follows::Yes
        } else {
            self.past.follows(recall, granted, unsent)
        }
    }
}

impl Past {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.intervals.is_empty() && self.followed.is_empty()
    }

    /// Whether a revision goes to a recipient whose filter of now does not want it: it corrects or
    /// takes back what the recipient was sent. A correction carries text: beyond the grant (none = nothing is
    /// granted) it follows only text that was surely sent. Notices carry none, and follow what may have
    /// been. `unsent` as for [`Past::had`].
    pub fn follows(
        &self,
        revised: &Revised<'_>,
        granted: Option<&Scope>,
        unsent: &[u64],
    ) -> Follows {
        let facets = &revised.facets;
        let is_open = || granted.is_some_and(|scope| scope.opens(facets.topics, facets.language));
        match facets.action {
            Action::Publish | Action::Update => Follows::No,
            // It was handed over already, and comes again until it is acknowledged.
            _ if self.sent_itself(revised, unsent) == Had::Yes => Follows::Yes,
            Action::Correct if !is_open() => match self.had(revised, unsent) {
                Had::No => Follows::No,
                Had::Maybe => Follows::IfHadText,
                Had::Yes => Follows::Yes,
            },
            Action::Correct | Action::Withhold | Action::Kill => {
                let had = self.had(&revised.as_notice(), unsent);
                if had.max(self.sent_itself(revised, unsent)) == Had::No {
                    Follows::No
                } else {
                    Follows::Yes
                }
            }
        }
    }

    /// Whether a recall was itself sent under an earlier filter; words hold none back.
    fn sent_itself(&self, recall: &Revised<'_>, unsent: &[u64]) -> Had {
        if unsent.binary_search(&recall.seq).is_ok() {
            return Had::No;
        }
        self.sent(recall.seq, |filter| filter.matches_facets(&recall.facets))
    }

    /// Whether the revision at a sequence, which matches these filters, was sent under one of them.
    pub fn sent(&self, seq: u64, matches: impl Fn(&Filter) -> bool) -> Had {
        if self.followed.iter().any(|one| one.place.seq == seq) {
            return Had::Yes;
        }
        let matching = self.intervals.iter().filter(|one| matches(&one.filter));
        let sent = matching.map(|one| one.sent(seq));
        sent.max().unwrap_or(Had::No)
    }

    /// Whether an earlier revision of a story was sent. `unsent` are the sequences, in order, of what
    /// its turn came for and yet nobody took.
    pub fn had(&self, revised: &Revised<'_>, unsent: &[u64]) -> Had {
        self.had_in(revised, unsent, |_| true)
    }

    /// The same, without what several intervals tell that have become one.
    fn had_apart(&self, revised: &Revised<'_>, unsent: &[u64]) -> Had {
        self.had_in(revised, unsent, |interval| !interval.is_wide)
    }

    /// Whether something may be forgotten that followed before a revision.
    pub fn may_have_forgotten(&self, revised: &Revised<'_>) -> bool {
        let mut named = revised.trail.into_iter().flat_map(Trail::named);
        named.any(|seq| seq <= self.forgotten)
    }

    fn had_in(
        &self,
        revised: &Revised<'_>,
        unsent: &[u64],
        counts: impl Fn(&Interval) -> bool,
    ) -> Had {
        let has_followed = self.followed.iter().any(|one| {
            one.article == revised.article
                && one.place.seq < revised.seq
                && !(one.is_notice && revised.wants_text())
                && unsent.binary_search(&one.place.seq).is_err()
        });
        if has_followed {
            return Had::Yes;
        }
        let counted = self.intervals.iter().filter(|interval| counts(interval));
        let judged = counted.map(|interval| interval.had(revised, unsent));
        judged.max().unwrap_or(Had::No)
    }

    /// A revision was surely sent, whatever the filter wants; returns whether that is new.
    pub fn follow(&mut self, stray: &Stray) -> bool {
        let of_kind =
            |one: &&mut Stray| one.article == stray.article && one.is_notice == stray.is_notice;
        // Of two lives of the log the later one is told of later.
        let is_known = |known: &Stray| {
            known.place.epoch == stray.place.epoch && known.place.seq >= stray.place.seq
        };
        match self.followed.iter_mut().find(of_kind) {
            Some(known) if is_known(known) => return false,
            Some(known) => *known = *stray,
            None => self.followed.push(*stray),
        }
        if self.followed.len() <= FOLLOWED_MAX {
            return true;
        }
        let places = self.followed.iter().enumerate();
        let oldest = places.min_by_key(|(_, one)| one.place.seq);
        let Some(oldest) = oldest.map(|(place, _)| place) else {
            return true;
        };
        let forgotten = self.followed.remove(oldest);
        let is_new = forgotten != *stray || forgotten.place.seq > self.forgotten;
        self.forgotten = self.forgotten.max(forgotten.place.seq);
        is_new
    }

    /// Takes away what a loss of the log has taken.
    pub fn clip(&mut self, epochs: &Epochs) {
        self.intervals.retain_mut(|interval| interval.clip(epochs));
        self.followed.retain(|one| match epochs.place(one.place) {
            Place::Known(_) => true,
            Place::Lost(_) | Place::Foreign => false,
        });
    }

    fn add(&mut self, interval: Interval) {
        if interval.end <= interval.after || interval.filter == Filter::nothing() {
            // Nothing was sent in it.
            return;
        }
        match self.intervals.last_mut() {
            Some(last) if last.goes_on_in(&interval) => last.append(&interval),
            Some(_) | None => self.intervals.push(interval),
        }
        if self.intervals.len() > PAST_MAX {
            let oldest = self.intervals.remove(0);
            self.intervals[0].widen(oldest);
        }
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Revised<'_> {
    /// The same, where it does not count whether earlier revisions have text.
    fn as_notice(&self) -> Self {
        let mut notice = *self;
        notice.facets.action = Action::Kill;
        notice
    }

    /// Whether only earlier revisions with text count.
    fn wants_text(&self) -> bool {
        self.facets.action == Action::Correct
    }
}

#[cfg(test)]
mod tests;
