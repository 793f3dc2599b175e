//! Trail: where an article's earlier revisions lie, and with which of them its topics and urgencies
//! came. Each record carries its own, so that what somebody was sent before is judged without a read.

use crate::{article::Urgencies, topic::Topic};

/// Most earlier revisions that a trail names; of a longer story the oldest between the first and
/// these are not named, and whether somebody had one of them stays open.
pub const EARLIER_MAX: usize = 256;
/// Urgencies there are, and the bit that no urgency has.
const URGENCY_BITS: u32 = 10;

/// What a revision knows of those before it. Sequences are of the log; 0 stands for the revision
/// itself, which does not know its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trail {
    /// Sequences of earlier revisions, newest first.
    earlier: Vec<u64>,
    /// Those of them that have no text: withholdings.
    notices: Vec<u64>,
    /// Whether those are all of them: earlier releases wrote none.
    knows_notices: bool,
    /// Whether they are all there are.
    is_whole: bool,
    /// For each topic of the revision, in order, the revision that it came with.
    topics_since: Vec<u64>,
    /// For each urgency that the article ever had, most urgent first, likewise.
    urgencies_since: Vec<u64>,
}

/// A trail as records store it: small numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// From each named revision but the newest to the one after it, newest first.
    pub earlier: Vec<u64>,
    /// Which of the named revisions have no text: 0 = the newest.
    pub notices: Vec<u32>,
    /// Whether those are all of them.
    pub knows_notices: bool,
    /// For each topic: 0 = it came with this revision; else one more than the distance from the
    /// revision that it came with to the one before this.
    pub topics: Vec<u64>,
    /// For each urgency, likewise.
    pub urgencies: Vec<u64>,
}

/// A revision whose trail goes on in the next.
#[derive(Clone, Copy, Debug)]
pub struct Former<'a> {
    /// Its sequence.
    pub seq: u64,
    /// Its trail.
    pub trail: &'a Trail,
    /// Where its article went so far.
    pub topics: &'a [Topic],
    /// All urgencies so far.
    pub urgencies: Urgencies,
    /// Whether it has no text.
    pub is_notice: bool,
}

impl Trail {
    /// That of a first revision, with so many topics.
    pub fn first(topic_count: usize, urgencies: Urgencies) -> Self {
        Self {
            earlier: Vec::new(),
            notices: Vec::new(),
            knows_notices: true,
            is_whole: true,
            topics_since: vec![0; topic_count],
            urgencies_since: vec![0; members(urgencies).count()],
        }
    }

    /// That of the revision after `former`, with all these topics and urgencies.
    pub fn after(former: Former<'_>, topics: &[Topic], urgencies: Urgencies) -> Self {
        let named = |since: u64| if since == 0 { former.seq } else { since };
        let known_topics = former.topics.iter().zip(&former.trail.topics_since);
        let topic_since = |topic: &Topic| {
            let mut known = known_topics.clone();
            let known = known.find(|(known, _)| *known == topic);
            known.map_or(0, |(_, since)| named(*since))
        };
        let known_urgencies = members(former.urgencies).zip(&former.trail.urgencies_since);
        let urgency_since = |urgency: u32| {
            let mut known = known_urgencies.clone();
            let known = known.find(|(known, _)| *known == urgency);
            known.map_or(0, |(_, since)| named(*since))
        };
        let mut earlier = vec![former.seq];
        earlier.extend(former.trail.earlier.iter().take(EARLIER_MAX - 1));
        let newest = former.is_notice.then_some(former.seq);
        let notices = former.trail.notices.iter().copied();
        let notices = notices.filter(|seq| earlier.last().is_some_and(|oldest| seq >= oldest));
        Self {
            notices: newest.into_iter().chain(notices).collect(),
            knows_notices: former.trail.knows_notices,
            is_whole: former.trail.is_whole && earlier.len() == former.trail.earlier.len() + 1,
            earlier,
            topics_since: topics.iter().map(topic_since).collect(),
            urgencies_since: members(urgencies).map(urgency_since).collect(),
        }
    }

    /// Sequence of the revision before; 0 for none.
    pub fn prior(&self) -> u64 {
        self.earlier.first().copied().unwrap_or(0)
    }

    /// Sequences of earlier revisions, as far as they are named; some come twice.
    pub fn named(&self) -> impl Iterator<Item = u64> {
        let since = self.topics_since.iter().chain(&self.urgencies_since);
        let named = self.earlier.iter().chain(since).copied();
        named.filter(|seq| *seq != 0)
    }

    /// Whether the earlier revision at a sequence is known to have text.
    pub(super) fn has_text(&self, seq: u64) -> bool {
        self.knows_notices && self.earlier.contains(&seq) && !self.is_notice(seq)
    }

    /// Whether the earlier revision at a sequence is known to have none.
    pub(super) fn is_notice(&self, seq: u64) -> bool {
        self.notices.contains(&seq)
    }

    /// The numbers to store.
    pub fn steps(&self) -> Steps {
        let Some(prior) = self.earlier.first().copied() else {
            return Steps::default();
        };
        let distances = self.earlier.windows(2).map(|pair| pair[0] - pair[1]);
        let step = |since: &u64| match *since {
            0 => 0,
            since => prior - since + 1,
        };
        let place = |notice: &u64| {
            let place = self.earlier.iter().position(|seq| seq == notice);
            place.and_then(|place| u32::try_from(place).ok())
        };
        Steps {
            earlier: distances.collect(),
            notices: self.notices.iter().filter_map(place).collect(),
            knows_notices: self.knows_notices,
            topics: self.topics_since.iter().map(step).collect(),
            urgencies: self.urgencies_since.iter().map(step).collect(),
        }
    }

    /// The trail of these numbers, in the record of this revision; `prior` is the sequence of the
    /// one before, 0 for none. None if the record tells too little, as those do that an earlier
    /// release wrote.
    pub fn read(
        steps: &Steps,
        prior: u64,
        revision: u32,
        topic_count: usize,
        urgencies: Urgencies,
    ) -> Option<Self> {
        if prior == 0 {
            return Some(Self::first(topic_count, urgencies));
        }
        let mut earlier = vec![prior];
        let mut at = prior;
        for distance in &steps.earlier {
            at = at.checked_sub(*distance).filter(|at| *at > 0)?;
            earlier.push(at);
        }
        let since = |step: &u64| match *step {
            0 => Some(0),
            step => prior.checked_sub(step - 1).filter(|since| *since > 0),
        };
        let topics_since: Option<Vec<u64>> = steps.topics.iter().map(since).collect();
        let urgencies_since: Option<Vec<u64>> = steps.urgencies.iter().map(since).collect();
        let (topics_since, urgencies_since) = (topics_since?, urgencies_since?);
        let notice = |place: &u32| earlier.get(usize::try_from(*place).ok()?).copied();
        let notices: Option<Vec<u64>> = steps.notices.iter().map(notice).collect();
        let notices = notices?;
        let is_whole = usize::try_from(revision).ok()? == earlier.len() + 1;
        (topics_since.len() == topic_count && urgencies_since.len() == members(urgencies).count())
            .then_some(Self {
                earlier,
                notices,
                knows_notices: steps.knows_notices,
                is_whole,
                topics_since,
                urgencies_since,
            })
    }

    /// The earliest of the earlier revisions whose topics some of these places are among; none if
    /// they all came with the revision itself.
    pub(super) fn topic_since(&self, is_wanted: impl Fn(usize) -> bool) -> Option<u64> {
        let all = self.topics_since.iter().enumerate();
        let wanted = all.filter(|(place, _)| is_wanted(*place));
        earliest(wanted.map(|(_, since)| *since))
    }

    /// The earliest of the earlier revisions that had an urgency of `least` or more urgent.
    pub(super) fn urgency_since(&self, urgencies: Urgencies, least: u8) -> Option<u64> {
        let all = members(urgencies).zip(&self.urgencies_since);
        let reaching = all.filter(|(urgency, _)| *urgency <= u32::from(least));
        earliest(reaching.map(|(_, since)| *since))
    }

    /// Whether an earlier revision that is named, and counts, lies between two sequences, both inclusive.
    pub(super) fn has_between(&self, first: u64, last: u64, counts: impl Fn(u64) -> bool) -> bool {
        let mut named = self.named();
        named.any(|seq| (first..=last).contains(&seq) && counts(seq))
    }

    /// Whether one that is not named may lie there.
    pub(super) fn may_hide_between(&self, first: u64, last: u64) -> bool {
        let begin = earliest(self.topics_since.iter().copied());
        let (Some(begin), Some(oldest)) = (begin, self.earlier.last()) else {
            return false;
        };
        !self.is_whole && first < *oldest && last > begin && first <= last
    }
}

/// The least but 0; none if there is no other.
fn earliest(since: impl Iterator<Item = u64>) -> Option<u64> {
    since.filter(|seq| *seq != 0).min()
}

fn members(urgencies: Urgencies) -> impl Iterator<Item = u32> + Clone {
    (0..URGENCY_BITS).filter(move |bit| urgencies.bits() & (1 << bit) != 0)
}
