//! Matching agrees with a naive matcher that compares tokens and texts one by one.

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;
use crate::article::text;

const TOPICS: [&str; 6] = [
    "ict",
    "ict.telecom",
    "ict.telecom.fibre",
    "ictx",
    "economy",
    "general",
];
const TAGS: [&str; 5] = ["ar", "ar-EG", "en", "EN-gb", "arz"];
const RANGES: [&str; 6] = ["ar", "AR-eg", "en", "en-GB", "a", "*"];
const WORDS: [&str; 5] = ["fibre", "Fibre", "talks", "دِمَشق", "دمشق"];

fn naive(filter: &(Vec<&str>, Vec<&str>, Option<u32>, Vec<&str>), seen: &Seen) -> bool {
    let (topics, languages, urgency, words) = filter;
    let under = |topic: &str, wanted: &str| format!("{topic}.").starts_with(&format!("{wanted}."));
    let speaks = |range: &str| {
        let (tag, range) = (seen.tag.to_lowercase(), range.to_lowercase());
        range == "*" || format!("{tag}-").starts_with(&format!("{range}-"))
    };
    let recall = matches!(
        seen.action,
        Action::Correct | Action::Withhold | Action::Kill
    ) || seen.action == Action::Publish && seen.revision > 1;
    let text: Vec<String> = seen.text.iter().map(|word| text::normalise(word)).collect();
    (topics.is_empty()
        || topics
            .iter()
            .any(|want| seen.topics.iter().any(|has| under(has, want))))
        && (languages.is_empty() || languages.iter().any(|range| speaks(range)))
        && urgency.is_none_or(|least| seen.urgencies.iter().any(|one| *one <= least))
        && (recall
            || words
                .iter()
                .all(|word| text.contains(&text::normalise(word))))
}

#[derive(Clone, Debug)]
struct Seen {
    topics: Vec<&'static str>,
    tag: &'static str,
    urgencies: Vec<u32>,
    action: Action,
    revision: u32,
    text: Vec<&'static str>,
}

fn seen() -> impl Strategy<Value = Seen> {
    let actions = vec![
        Action::Publish,
        Action::Update,
        Action::Correct,
        Action::Withhold,
        Action::Kill,
    ];
    (
        vec(select(&TOPICS[..]), 1..4),
        select(&TAGS[..]),
        vec(1..=9u32, 1..3),
        select(actions),
        1..3u32,
        vec(select(&WORDS[..]), 0..3),
    )
        .prop_map(|(topics, tag, urgencies, action, revision, text)| Seen {
            topics,
            tag,
            urgencies,
            action,
            revision,
            text,
        })
}

proptest! {
    #[test]
    fn matching_agrees_with_the_naive_matcher(
        wanted in (
            vec(select(&TOPICS[..]), 0..3),
            vec(select(&RANGES[..]), 0..3),
            option::of(1..=9u32),
            vec(select(&WORDS[..]), 0..2),
        ),
        seen in seen(),
    ) {
        let filter = Filter {
            topics: wanted.0.iter().map(|text| text.parse().unwrap()).collect(),
            languages: wanted.1.iter().map(|text| text.parse().unwrap()).collect(),
            urgency: wanted.2.map(|number| Urgency::new(number).unwrap()),
            words: wanted.3.iter().map(|word| text::normalise(word)).collect(),
        };
        let topics: Vec<Topic> = seen.topics.iter().map(|text| text.parse().unwrap()).collect();
        let urgencies = seen.urgencies.iter().fold(Urgencies::default(), |set, number| {
            set.with(Urgency::new(*number).unwrap())
        });
        let facets = Facets {
            topics: &topics,
            language: &seen.tag.parse().unwrap(),
            urgencies,
            action: seen.action,
            revision: Revision::new(seen.revision).unwrap(),
        };
        let words = text::words(&seen.text.join(" "));
        prop_assert_eq!(filter.matches(&facets, || &words), naive(&wanted, &seen));
    }
}

#[test]
fn what_is_no_language_range_is_refused() {
    for text in ["", "-", "ar-", "1a", "ar_EG", "toolongtag", "*-EG", "ع"] {
        assert_eq!(text.parse::<LanguageRange>(), Err(RangeError), "{text:?}");
    }
}
