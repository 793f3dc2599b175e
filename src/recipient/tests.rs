//! Judgements agree with a naive recipient that remembers every revision it was sent.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*, sample::select};

use super::{
    trail::{EARLIER_MAX, Former, Steps},
    *,
};
use crate::{
    article::{Language, Revision, Urgencies, Urgency},
    cursor::Epoch,
    topic::Topic,
};

mod followed;

const TOPICS: [&str; 5] = ["ict", "ict.telecom", "economy", "economy.trade", "general"];
/// Stories of the log that is made up.
const STORIES: usize = 3;

fn epoch(bits: u64) -> Epoch {
    Epoch::from_bits(bits)
}

fn at(seq: u64) -> Cursor {
    Cursor {
        epoch: epoch(0),
        seq,
    }
}

/// One revision of the log, with all that its record says.
#[derive(Clone, Debug)]
struct Logged {
    story: usize,
    seq: u64,
    topics: Vec<Topic>,
    urgencies: Urgencies,
    revision: Revision,
    is_notice: bool,
    trail: Trail,
}

impl Logged {
    fn facets<'a>(&'a self, language: &'a Language, action: Action) -> Facets<'a> {
        Facets {
            topics: &self.topics,
            language,
            urgencies: self.urgencies,
            action,
            revision: self.revision,
        }
    }

    fn revised<'a>(&'a self, language: &'a Language, action: Action) -> Revised<'a> {
        Revised {
            article: article(self.story),
            seq: self.seq,
            facets: self.facets(language, action),
            trail: Some(&self.trail),
            read: &[],
        }
    }
}

fn article(story: usize) -> ArticleId {
    ArticleId::new(uuid::Uuid::from_u128(u128::try_from(story).unwrap()))
}

fn languages() -> [Language; STORIES] {
    ["ar", "ar-EG", "en"].map(|tag| tag.parse().unwrap())
}

/// The log of these steps: a story, its new topics, its urgency, and how far it lies from the one
/// before.
fn log(steps: &[(usize, Vec<&'static str>, u32, u64)]) -> Vec<Logged> {
    let mut log: Vec<Logged> = Vec::new();
    let mut seq = 0;
    for (story, own, urgency, distance) in steps {
        seq += distance;
        let former = log.iter().rev().find(|one| one.story == *story).cloned();
        let own: BTreeSet<Topic> = own.iter().map(|topic| topic.parse().unwrap()).collect();
        let mut topics: Vec<Topic> = own.into_iter().collect();
        let is_notice = urgency % 4 == 0;
        let urgency = Urgency::new(*urgency).unwrap();
        let logged = match former {
            None => {
                let urgencies = Urgencies::default().with(urgency);
                Logged {
                    story: *story,
                    seq,
                    trail: Trail::first(topics.len(), urgencies),
                    topics,
                    urgencies,
                    revision: Revision::FIRST,
                    is_notice,
                }
            }
            Some(former) => {
                let known = former.topics.iter();
                let inherited: Vec<Topic> = known
                    .filter(|topic| !topics.contains(topic))
                    .cloned()
                    .collect();
                topics.extend(inherited);
                let urgencies = former.urgencies.with(urgency);
                let before = Former {
                    seq: former.seq,
                    trail: &former.trail,
                    topics: &former.topics,
                    urgencies: former.urgencies,
                    is_notice: former.is_notice,
                };
                Logged {
                    story: *story,
                    seq,
                    trail: Trail::after(before, &topics, urgencies),
                    topics,
                    urgencies,
                    revision: former.revision.next(),
                    is_notice,
                }
            }
        };
        log.push(logged);
    }
    log
}

fn any_filter() -> impl Strategy<Value = Filter> {
    let topics = vec(select(&TOPICS[..]), 0..3);
    let languages = vec(select(&["ar", "ar-eg", "en"][..]), 0..2);
    let urgency = prop_oneof![Just(None), (1..=9u32).prop_map(Some)];
    let words = vec(select(&["talks"][..]), 0..2);
    (topics, languages, urgency, words).prop_map(|(topics, languages, urgency, words)| Filter {
        topics: topics.iter().map(|topic| topic.parse().unwrap()).collect(),
        languages: languages
            .iter()
            .map(|range| range.parse().unwrap())
            .collect(),
        urgency: urgency.and_then(Urgency::new),
        words: words.iter().map(|word| (*word).to_owned()).collect(),
    })
}

type Written = Vec<(usize, Vec<&'static str>, u32, u64)>;

fn any_steps() -> impl Strategy<Value = Written> {
    let step = (
        0..STORIES,
        vec(select(&TOPICS[..]), 1..3),
        1..=9u32,
        1..4u64,
    );
    vec(step, 1..40)
}

/// Turns of a recipient: the next filter, and how far after one another come the place from which it
/// counts, what was surely sent, and what may have been.
fn any_turns(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<(Filter, u64, u64, u64)>> {
    vec((any_filter(), 0..20u64, 0..10u64, 0..10u64), count)
}

/// What was sent under each filter but the last: filter, after, surely to, perhaps to.
type Sent = Vec<(Filter, u64, u64, u64)>;

fn covered(first: Filter, turns: &[(Filter, u64, u64, u64)]) -> (Coverage, Sent) {
    let mut coverage = Coverage::new(first, at(0));
    let mut sent = Sent::new();
    for (filter, forward, beyond, perhaps) in turns {
        let after = coverage.after().seq + forward;
        let turn = Turn {
            sent: after + beyond,
            end: at(after + beyond + perhaps),
            after: at(after),
        };
        sent.push((
            coverage.filter().clone(),
            coverage.after().seq,
            turn.sent,
            turn.end.seq,
        ));
        coverage.turn(filter.clone(), turn);
    }
    (coverage, sent)
}

/// What a recipient that remembers all says of the story's earlier revisions.
fn naive(sent: &Sent, log: &[Logged], newest: &Revised<'_>, is_text: bool) -> Had {
    let language = newest.facets.language;
    let earlier = log.iter().take_while(|one| one.seq < newest.seq);
    let earlier = earlier.filter(|one| article(one.story) == newest.article);
    let earlier = earlier.filter(|one| !(is_text && one.is_notice));
    let mut had = Had::No;
    for one in earlier {
        for (filter, after, surely, perhaps) in sent {
            // As a correction: words hold none back.
            let is_match = filter.matches_facets(&one.facets(language, Action::Correct));
            if !is_match || one.seq <= *after || one.seq > *perhaps {
                continue;
            }
            let is_sure = one.seq <= *surely && filter.words.is_empty();
            had = had.max(if is_sure { Had::Yes } else { Had::Maybe });
        }
    }
    had
}

proptest! {
    /// With few changes of the filter the judgement is exact.
    #[test]
    fn what_was_sent_is_known(
        steps in any_steps(),
        first in any_filter(),
        turns in any_turns(0..PAST_MAX),
        beyond in 0..40_u64,
    ) {
        let (log, languages) = (log(&steps), languages());
        let (coverage, sent) = covered(first, &turns);
        for newest in &log {
            let language = &languages[newest.story];
            let revised = newest.revised(language, Action::Correct);
            let expected = naive(&sent, &log, &revised, true);
            prop_assert_eq!(coverage.past().had(&revised, &[]), expected, "{:?}", newest);
            let (after, mut sent) = (coverage.after().seq, sent.clone());
            sent.push((coverage.filter().clone(), after, 0, after + beyond));
            let expected = naive(&sent, &log, &revised, true);
            prop_assert_eq!(coverage.had(after + beyond, &revised, &[]), expected, "{:?}", newest);
        }
    }

    /// Whichever earlier revisions are judged by themselves, the judgement is the same; words hold back
    /// only those that are not.
    #[test]
    fn what_is_read_tells_the_same(
        steps in any_steps(),
        first in any_filter(),
        turns in any_turns(0..PAST_MAX),
        read_one_in in 1..4u64,
    ) {
        let (log, languages) = (log(&steps), languages());
        let (coverage, sent) = covered(first, &turns);
        let end = coverage.after().seq;
        for newest in &log {
            let language = &languages[newest.story];
            let earlier = log.iter().filter(|one| newest.trail.named().any(|seq| seq == one.seq));
            let read: Vec<&Logged> = earlier.filter(|one| one.seq % read_one_in == 0).collect();
            let judged = read.iter().filter(|one| !one.is_notice).map(|one| {
                let facets = one.facets(language, Action::Correct);
                coverage.sent(one.seq, end, |filter| filter.matches_facets(&facets))
            });
            let seqs: Vec<u64> = read.iter().map(|one| one.seq).collect();
            let revised = Revised { read: &seqs, ..newest.revised(language, Action::Correct) };
            let rest = coverage.had(end, &revised, &[]);
            let had = judged.max().unwrap_or(Had::No).max(rest);
            let without_words = |one: &(Filter, u64, u64, u64)| {
                let filter = Filter { words: BTreeSet::new(), ..one.0.clone() };
                (filter, one.1, one.2, one.3)
            };
            let least = naive(&sent, &log, &revised, true);
            let most = naive(&sent.iter().map(without_words).collect(), &log, &revised, true);
            prop_assert!((least..=most).contains(&had), "{:?}: {:?}", newest, had);
            if read_one_in == 1 {
                prop_assert_eq!(had, most, "{:?}", newest);
            }
        }
    }

    /// With many of them, or a record that tells nothing, nobody is forgotten, and nothing is sure
    /// that is not.
    #[test]
    fn what_is_not_known_is_not_denied(
        steps in any_steps(),
        first in any_filter(),
        turns in any_turns(PAST_MAX..3 * PAST_MAX),
        has_trail in any::<bool>(),
    ) {
        let (log, languages) = (log(&steps), languages());
        let (coverage, sent) = covered(first, &turns);
        prop_assert!(coverage.version() <= PAST_MAX + 1);
        for newest in &log {
            let language = &languages[newest.story];
            let revised = Revised {
                trail: has_trail.then_some(&newest.trail),
                ..newest.revised(language, Action::Kill)
            };
            let (expected, had) = (
                naive(&sent, &log, &revised, false),
                coverage.past().had(&revised, &[]),
            );
            prop_assert!(expected == Had::No || had >= Had::Maybe, "{:?}", newest);
            prop_assert!(had < Had::Yes || expected == Had::Yes, "{:?}", newest);
        }
    }

    /// As records store them, trails and coverages come back as they went in.
    #[test]
    fn they_come_back(steps in any_steps(), first in any_filter(), turns in any_turns(0..20)) {
        for one in log(&steps) {
            let stored = one.trail.steps();
            let prior = one.trail.prior();
            let read = Trail::read(
                &stored,
                prior,
                one.revision.get(),
                one.topics.len(),
                one.urgencies,
            );
            prop_assert_eq!(read, Some(one.trail));
        }
        let (coverage, _) = covered(first, &turns);
        let text = serde_json::to_string(&coverage).unwrap();
        prop_assert_eq!(serde_json::from_str::<Coverage>(&text).unwrap(), coverage);
    }
}

fn topic_filter(topic: &str) -> Filter {
    Filter {
        topics: [topic.parse().unwrap()].into(),
        ..Filter::default()
    }
}

/// The oldest revisions of a story with very many are not named: then it stays open whether one was
/// sent, and only there.
#[test]
fn a_long_story_is_judged_by_what_is_named() {
    let steps: Vec<_> = (0..EARLIER_MAX + 50)
        .map(|_| (0, vec!["ict"], 5, 10))
        .collect();
    let log = log(&steps);
    let newest = log.last().unwrap();
    let language = &languages()[0];
    let had = |from: u64, to: u64| {
        let mut coverage = Coverage::new(topic_filter("ict"), at(from));
        let turn = Turn {
            sent: to,
            end: at(to),
            after: at(to),
        };
        coverage.turn(topic_filter("economy"), turn);
        let revised = newest.revised(language, Action::Kill);
        coverage.past().had(&revised, &[])
    };
    // Revision n lies at 10 n.
    assert_eq!(had(0, 10), Had::Yes, "the first is always named");
    assert_eq!(had(10, 30), Had::Maybe);
    assert_eq!(had(0, 9), Had::No);
    let last = newest.seq;
    assert_eq!(had(last - 15, last - 5), Had::Yes);
    assert_eq!(had(last - 9, last - 1), Had::No);
}

/// Text goes beyond the grant only to whom it surely went before, which the earlier texts tell; a
/// notice to whom it may have gone.
#[test]
fn a_correction_beyond_the_grant_follows_only_what_was_sent() {
    let steps = vec![(0, vec!["ict"], 5, 10), (0, vec!["ict"], 5, 10)];
    let log = log(&steps);
    let language = &languages()[0];
    let granted = Scope {
        topics: ["economy".parse().unwrap()].into(),
        ..Scope::default()
    };
    for (sent, action, expected) in [
        (10, Action::Correct, Follows::Yes),
        (9, Action::Correct, Follows::IfHadText),
        (9, Action::Withhold, Follows::Yes),
        (9, Action::Kill, Follows::Yes),
        (10, Action::Update, Follows::No),
        (10, Action::Publish, Follows::No),
    ] {
        let mut coverage = Coverage::new(topic_filter("ict"), at(0));
        let turn = Turn {
            sent,
            end: at(15),
            after: at(sent),
        };
        coverage.turn(topic_filter("economy"), turn);
        let revised = log[1].revised(language, action);
        let follows = |granted| coverage.past().follows(&revised, Some(granted), &[]);
        assert_eq!(follows(&granted), expected, "{action:?} after {sent}");
        let is_recall = !matches!(action, Action::Update | Action::Publish);
        let expected = if is_recall { Follows::Yes } else { Follows::No };
        let all = follows(&Scope::default());
        assert_eq!(all, expected, "granted: {action:?} after {sent}");
    }
}

/// A recall that was handed over under an earlier filter comes again until it is taken, also to whom
/// nothing else was sent of its story.
#[test]
fn a_recall_that_was_handed_over_comes_again() {
    let log = log(&[(0, vec!["ict"], 5, 10)]);
    let language = &languages()[0];
    let elsewhere = Scope {
        topics: ["economy".parse().unwrap()].into(),
        ..Scope::default()
    };
    let unsent = [log[0].seq];
    for (sent, action, granted, unsent, expected) in [
        (10, Action::Correct, &elsewhere, &[][..], Follows::Yes),
        (10, Action::Kill, &elsewhere, &[], Follows::Yes),
        // It was perhaps handed over: a notice too many is better than one too few.
        (9, Action::Kill, &elsewhere, &[], Follows::Yes),
        (9, Action::Correct, &elsewhere, &[], Follows::No),
        (9, Action::Correct, &Scope::default(), &[], Follows::Yes),
        // Another list knows of it.
        (10, Action::Correct, &elsewhere, &unsent, Follows::No),
        (10, Action::Update, &elsewhere, &[], Follows::No),
    ] {
        let mut coverage = Coverage::new(topic_filter("ict"), at(0));
        let turn = Turn {
            sent,
            end: at(10),
            after: at(5),
        };
        coverage.turn(topic_filter("economy"), turn);
        let revised = log[0].revised(language, action);
        let follows = coverage.past().follows(&revised, Some(granted), unsent);
        assert_eq!(follows, expected, "{action:?} after {sent}");
    }
}

/// What the log has lost was sent to nobody; sequences of another log say nothing.
#[test]
fn a_loss_of_the_log_cuts_what_was_sent() {
    let mut coverage = Coverage::new(topic_filter("ict"), at(0));
    let turn = Turn {
        sent: 30,
        end: at(40),
        after: at(30),
    };
    coverage.turn(topic_filter("economy"), turn);
    let lived = Epochs::first(epoch(0)).with(epoch(1), 21);
    coverage.clip(&lived);
    let lost = |seq| Cursor {
        epoch: epoch(1),
        seq,
    };
    assert_eq!(coverage.after(), lost(20));
    let past = &coverage.past().intervals;
    assert_eq!(
        (past[0].sent, past[0].end, past[0].epoch),
        (20, 20, epoch(1))
    );
    coverage.clip(&Epochs::first(epoch(7)));
    assert!(coverage.past().is_empty());
    assert_eq!(coverage.after().epoch, epoch(7));
}

#[test]
fn numbers_without_meaning_are_no_trail() {
    let urgencies = Urgencies::default().with(Urgency::DEFAULT);
    let read_with = |notices: Vec<u32>, earlier, topics, urgency_steps| {
        let steps = Steps {
            earlier,
            notices,
            knows_notices: true,
            topics,
            urgencies: urgency_steps,
        };
        Trail::read(&steps, 10, 2, 1, urgencies)
    };
    let read = |earlier, topics, urgency_steps| read_with(vec![], earlier, topics, urgency_steps);
    assert!(read_with(vec![0], vec![], vec![1], vec![1]).is_some());
    assert!(read_with(vec![1], vec![], vec![1], vec![1]).is_none());
    assert!(read(vec![], vec![1], vec![1]).is_some());
    assert!(read(vec![], vec![], vec![]).is_none(), "an earlier release");
    assert!(read(vec![10], vec![1], vec![1]).is_none());
    assert!(read(vec![], vec![11], vec![1]).is_none());
    assert!(read(vec![], vec![1], vec![u64::MAX]).is_none());
}

/// What its turn came for and nobody took was not surely sent; all else was.
#[test]
fn what_nobody_took_is_not_sure() {
    let log = log(&[
        (0, vec!["ict"], 5, 10),
        (0, vec!["ict"], 5, 10),
        (0, vec!["ict"], 5, 10),
    ]);
    let language = &languages()[0];
    let mut coverage = Coverage::new(topic_filter("ict"), at(0));
    let turn = Turn {
        sent: 25,
        end: at(25),
        after: at(25),
    };
    coverage.turn(topic_filter("economy"), turn);
    let revised = log[2].revised(language, Action::Correct);
    for (unsent, expected) in [
        (&[][..], Had::Yes),
        (&[10], Had::Yes),
        (&[5, 20], Had::Yes),
        (&[10, 20], Had::Maybe),
    ] {
        assert_eq!(
            coverage.past().had(&revised, unsent),
            expected,
            "{unsent:?}"
        );
    }
}

/// A recall was itself sent where all that matched surely was, perhaps where it may have been, and not
/// where nobody took it. Whatever its filter: a notice to whoever may have had the story, a correction
/// perhaps, since earlier texts tell; what else it was sent is remembered by itself.
#[test]
fn what_was_itself_sent() {
    let log = log(&[(0, vec!["economy"], 5, 10), (0, vec!["ict"], 5, 10)]);
    let language = &languages()[0];
    let recall = |action| log[1].revised(language, action);
    let turned = |filter: &str, sent| {
        let mut coverage = Coverage::new(topic_filter(filter), at(0));
        let turn = Turn {
            sent,
            end: at(30),
            after: at(30),
        };
        coverage.turn(topic_filter("general"), turn);
        coverage
    };
    let [correct, kill] = [Action::Correct, Action::Kill].map(recall);
    for (filter, sent, revised, unsent, expected) in [
        ("ict", 20, &correct, &[][..], Had::Yes),
        ("ict", 20, &correct, &[20][..], Had::No),
        ("ict", 19, &correct, &[], Had::Maybe),
        ("economy", 20, &correct, &[], Had::Yes),
        ("economy", 15, &correct, &[], Had::Yes),
        ("economy", 9, &correct, &[], Had::Maybe),
        ("economy", 9, &kill, &[], Had::Yes),
        ("general", 20, &kill, &[], Had::No),
    ] {
        let coverage = turned(filter, sent);
        let matches = |filter: &Filter| filter.matches_facets(&revised.facets);
        let was_sent = coverage.was_sent((20, 40), revised, matches, unsent);
        assert_eq!(was_sent, expected, "{filter} up to {sent}, but {unsent:?}");
    }
    let matches = |filter: &Filter| filter.matches_facets(&correct.facets);
    let mut coverage = turned("economy", 9);
    let stray = Stray {
        article: article(0),
        place: at(20),
        is_notice: false,
    };
    assert!(coverage.follow(&stray));
    assert!(!coverage.follow(&stray));
    assert_eq!(
        coverage.was_sent((20, 40), &correct, matches, &[]),
        Had::Yes
    );
    // Up to where it has come, what its filter of now wants.
    let coverage = Coverage::new(topic_filter("ict"), at(0));
    assert_eq!(
        coverage.was_sent((20, 20), &correct, matches, &[]),
        Had::Yes
    );
    assert_eq!(coverage.was_sent((20, 19), &correct, matches, &[]), Had::No);
}

/// Suspensions, and jumps to where it is, cost nothing: what was sent stays as sure as it was.
#[test]
fn what_goes_on_is_one_interval() {
    let mut coverage = Coverage::new(topic_filter("ict"), at(0));
    for round in 1..=3 * u64::try_from(PAST_MAX).unwrap() {
        let turn = Turn {
            sent: 10 * round,
            end: at(10 * round),
            after: at(10 * round),
        };
        coverage.turn(Filter::nothing(), turn);
        coverage.turn(topic_filter("ict"), turn);
    }
    let past = &coverage.past().intervals;
    assert_eq!(past.len(), 1);
    assert_eq!(
        (past[0].after, past[0].sent),
        (0, 30 * u64::try_from(PAST_MAX).unwrap())
    );
}
