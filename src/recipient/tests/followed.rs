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
