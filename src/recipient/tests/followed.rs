//! What followed, and what many changes leave unsure.

use super::*;

/// What followed is known of its story alone, to whom takes text only if it had some, and not where it
/// was put aside. Of very many stories the oldest is forgotten.
#[test]
fn what_followed_is_known() {
    let log = log(&[
        (0, vec!["ict"], 5, 10),
        (1, vec!["ict"], 5, 10),
        (0, vec!["ict"], 5, 10),
    ]);
    let languages = languages();
    let mut past = Past::default();
    let stray = |place: u64, is_notice| Stray {
        article: article(0),
        place: at(place),
        is_notice,
    };
    let had = |past: &Past, of: usize, action, unsent: &[u64]| {
        past.had(&log[of].revised(&languages[0], action), unsent)
    };
    assert!(past.follow(&stray(10, true)));
    assert_eq!(had(&past, 2, Action::Correct, &[]), Had::No);
    assert_eq!(had(&past, 2, Action::Kill, &[]), Had::Yes);
    assert!(past.follow(&stray(10, false)));
    // Beyond the grant it comes again, and then what follows it.
    let follows = |of: usize, unsent: &[u64]| {
        let revised = log[of].revised(&languages[0], Action::Correct);
        past.follows(&revised, None, unsent)
    };
    assert_eq!(
        (follows(0, &[]), follows(0, &[10])),
        (Follows::Yes, Follows::No)
    );
    assert_eq!(follows(2, &[]), Follows::Yes);
    assert_eq!(had(&past, 2, Action::Correct, &[]), Had::Yes);
    assert_eq!(had(&past, 2, Action::Correct, &[10]), Had::No);
    assert_eq!(had(&past, 1, Action::Correct, &[]), Had::No);
    assert_eq!(had(&past, 0, Action::Correct, &[]), Had::No, "itself");
    assert_eq!(past.sent(10, |_| false), Had::Yes);
    for story in 1..=FOLLOWED_MAX {
        past.follow(&Stray {
            article: article(story),
            place: at(100 + u64::try_from(story).unwrap()),
            is_notice: false,
        });
    }
    assert_eq!(past.followed.len(), FOLLOWED_MAX);
    assert!(past.may_have_forgotten(&log[2].revised(&languages[0], Action::Correct)));
    assert!(!past.follow(&stray(5, false)), "nothing new is kept");
    assert_eq!(had(&past, 2, Action::Correct, &[]), Had::No);
}

/// Who has had so many filters that some became one may have had a story, and so may not have been told
/// of its end.
#[test]
fn what_became_one_is_not_sure() {
    let log = log(&[(0, vec!["ict"], 5, 10), (0, vec!["ict"], 5, 10)]);
    let mut coverage = Coverage::new(topic_filter("economy"), at(0));
    for round in 1..=2 * u64::try_from(PAST_MAX).unwrap() {
        let turn = Turn {
            sent: 100 * round,
            end: at(100 * round),
            after: at(100 * round),
        };
        let topic = if round == 1 { "ict" } else { "general" };
        let filter = Filter {
            urgency: Urgency::new(u32::try_from(round % 9 + 1).unwrap()),
            ..topic_filter(topic)
        };
        coverage.turn(filter, turn);
    }
    let language = &languages()[0];
    let kill = log[1].revised(language, Action::Kill);
    let matches = |filter: &Filter| filter.matches_facets(&kill.facets);
    let was_sent = coverage.was_sent((20, 100_000), &kill, matches, &[]);
    assert_eq!(was_sent, Had::Maybe);
}

/// What was gone before the recipient came to it was not sent, whatever it wants; also under a filter
/// of before, and so no correction of it goes beyond the grant. Where an earlier stream may have sent it
/// a notice follows, and text does not.
#[test]
fn what_was_gone_was_not_sent() {
    let log = log(&[(0, vec!["ict"], 5, 10), (0, vec!["ict"], 5, 10)]);
    let language = &languages()[0];
    let kill = log[1].revised(language, Action::Kill);
    let correct = log[1].revised(language, Action::Correct);
    let matches = |filter: &Filter| filter.matches_facets(&kill.facets);
    let new = || Coverage::new(topic_filter("ict"), at(0));
    let was_sent = |coverage: &Coverage| coverage.was_sent((20, 40), &kill, matches, &[]);
    let mut coverage = new();
    assert_eq!(was_sent(&coverage), Had::Yes);
    assert!(coverage.leave_out(20, 20, at(30)));
    assert_eq!(was_sent(&coverage), Had::Yes);
    assert!(coverage.leave_out(15, 15, at(20)));
    assert_eq!(was_sent(&coverage), Had::No);

    for (after, perhaps, had, follows) in [
        (5, 5, Had::No, (Follows::No, Follows::No)),
        (5, 12, Had::Maybe, (Follows::IfHadText, Follows::Yes)),
        (12, 12, Had::Yes, (Follows::Yes, Follows::Yes)),
    ] {
        let mut coverage = new();
        coverage.leave_out(after, perhaps, at(15));
        assert_eq!(coverage.had(19, &kill, &[]), had.min(Had::Maybe));
        let turn = Turn {
            sent: 15,
            end: at(15),
            after: at(15),
        };
        coverage.turn(topic_filter("economy"), turn);
        assert_eq!(coverage.had(19, &kill, &[]), had, "after {after}");
        assert_eq!(coverage.past().sent(10, matches), had);
        let told = |revised| coverage.past().follows(revised, None, &[]);
        assert_eq!((told(&correct), told(&kill)), follows, "after {after}");
    }

    // A kill that follows, and was gone when its turn came.
    let mut coverage = new();
    let turn = Turn {
        sent: 15,
        end: at(15),
        after: at(15),
    };
    coverage.turn(topic_filter("economy"), turn);
    assert_eq!(was_sent(&coverage), Had::Yes);
    coverage.leave_out(15, 15, at(30));
    assert_eq!(was_sent(&coverage), Had::No);
}

/// Which of the earlier revisions have text is sure only where the record names it.
#[test]
fn what_may_be_a_notice_is_not_sure() {
    let log = log(&[(0, vec!["ict"], 5, 10), (0, vec!["ict"], 5, 10)]);
    let language = &languages()[0];
    let mut coverage = Coverage::new(topic_filter("ict"), at(0));
    let turn = Turn {
        sent: 15,
        end: at(15),
        after: at(15),
    };
    coverage.turn(topic_filter("economy"), turn);
    let steps = Steps {
        knows_notices: false,
        ..log[1].trail.steps()
    };
    let urgencies = log[1].urgencies;
    let older = Trail::read(&steps, 10, 2, 1, urgencies).unwrap();
    for (trail, expected) in [(&log[1].trail, Had::Yes), (&older, Had::Maybe)] {
        let revised = Revised {
            trail: Some(trail),
            ..log[1].revised(language, Action::Correct)
        };
        assert_eq!(coverage.past().had(&revised, &[]), expected);
    }
}
