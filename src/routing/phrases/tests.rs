//! Phrases: where they are found, as a naive search finds them, and which are refused.

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

fn book(phrases: &[&str]) -> Phrasebook {
    let mut builder = Builder::default();
    for phrase in phrases {
        builder
            .add(phrase, &"*".parse().unwrap(), Target::Group(0))
            .unwrap();
    }
    builder.build().unwrap()
}

/// Which phrases a text has, by number.
fn found(phrases: &[&str], text: &str) -> Vec<usize> {
    let book = book(phrases);
    let runs = book.find(&Words::of(text)).into_iter();
    runs.flat_map(|run| book.hits(run))
        .map(|hit| hit.cue)
        .collect()
}

fn refused(phrase: &str) -> PhraseError {
    let range = "en".parse().unwrap();
    let added = Builder::default().add(phrase, &range, Target::Ignored);
    added.unwrap_err()
}

#[test]
fn phrases_are_whole_words_unless_left_open() {
    assert_eq!(found(&["port", "ports"], "Sport, passports, PORTS!"), [1]);
    assert_eq!(
        found(&["cyber*"], "Cybersecurity; cyber-attack; ecyber"),
        [0, 0]
    );
    assert_eq!(found(&["cyber attack"], "a Cyber-\n attack"), [0]);
    assert_eq!(found(&["a deal|a pact"], "a pact and a deal"), [0, 0]);
}

#[test]
fn longer_phrases_come_first_where_both_begin() {
    assert_eq!(found(&["central", "central bank"], "central bank"), [1, 0]);
}

#[test]
fn arabic_words_may_have_clitics_but_not_other_beginnings() {
    let text = "بالأمن السيبراني وأمن سيبراني للأمن السيبرانيّ كأمن سيبراني";
    assert_eq!(found(&["الأمن السيبراني"], text), [0, 0, 0, 0]);
    assert_eq!(found(&["لاجئين"], "للاجئين واللاجئين لاجئين"), [0, 0, 0]);
    // `مأمن` is another word, and `sبنك` none of Arabic.
    assert_eq!(found(&["أمن", "بنك"], "مأمن sبنك"), [0; 0]);
}

#[test]
fn what_can_not_be_looked_for_is_refused() {
    assert!(matches!(refused(""), PhraseError::TooShort(_)));
    assert!(matches!(refused("…!"), PhraseError::TooShort(_)));
    assert!(matches!(refused("x"), PhraseError::TooShort(_)));
    assert!(matches!(refused("oil|"), PhraseError::TooShort(_)));
    assert!(matches!(refused("in*"), PhraseError::TooBroad(_)));
    assert!(matches!(refused("*"), PhraseError::TooShort(_)));
    assert!(matches!(refused("cy*ber"), PhraseError::Star(_)));
    let long = "a".repeat(10_000);
    assert_eq!(refused(&long), PhraseError::TooLong(10_000));
}

/// The plain version: at every word, does the phrase stand there?
fn naive(phrase: &str, text: &str) -> usize {
    let is_open = phrase.ends_with('*');
    let phrase = Words::of(phrase);
    let phrase: Vec<&str> = phrase.joined().split_whitespace().collect();
    let text = Words::of(text);
    let text: Vec<&str> = text.joined().split_whitespace().collect();
    let stands = |run: &&[&str]| {
        let (last, others) = run.split_last().unwrap();
        let (wanted, before) = phrase.split_last().unwrap();
        others == before && (last == wanted || is_open && last.starts_with(wanted))
    };
    text.windows(phrase.len()).filter(stands).count()
}

proptest! {
    #[test]
    fn finding_agrees_with_the_naive_search(
        phrases in vec(select(vec!["oil", "oil price", "price*", "the price of oil", "gas-oil", "oil*"]), 1..5),
        words in vec(select(vec!["oil", "price", "prices", "the", "of", "gas", "oils", "Oil,", "-"]), 0..20),
    ) {
        let text = words.join(" ");
        let cues = found(&phrases, &text);
        for (cue, phrase) in phrases.iter().enumerate() {
            let count = cues.iter().filter(|found| **found == cue).count();
            prop_assert_eq!(count, naive(phrase, &text), "{} in {}", phrase, text);
        }
    }
}
