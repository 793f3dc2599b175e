//! A taxonomy file that can't be used is refused with its place and the remedy.

use super::*;

const GENERAL: &str = "[topics.general]\nnames = {}\n";

fn refused(rest: &str) -> TaxonomyError {
    parse(&format!("{GENERAL}{rest}")).unwrap_err()
}

/// Line, column and words of a refusal.
fn shown(rest: &str) -> String {
    refused(rest).to_string()
}

#[test]
fn the_built_in_taxonomy_and_the_least_one_are_good() {
    let taxonomy = Taxonomy::built_in();
    assert!(taxonomy.entries().len() > 20);
    assert!(!taxonomy.rules().is_empty());
    assert_eq!(parse(GENERAL).unwrap().entries().len(), 1);
}

#[test]
fn every_number_that_a_file_leaves_out_is_that_of_the_built_in_one() {
    assert_eq!(
        parse(GENERAL).unwrap().settings(),
        Taxonomy::built_in().settings()
    );
}

/// What is wrong, after two good lines; where that is, and the first words of the refusal.
const REFUSED: &[(&str, &str)] = &[
    ("[topics.'>']\nnames = {}", "3:9: \">\" is no topic"),
    (
        "[topics.'a.b']\nnames = {}",
        "3:9: a.b stands here but not its parent a",
    ),
    (
        "[topics.a]\nnames = {}\n[topics.a]\nnames = {}",
        "5:9: duplicate key",
    ),
    (
        "[topics.a]\nnames = {}\ncolour = 1",
        "5:1: unknown field `colour`",
    ),
    ("[topics.a]\nnames = 1", "4:9: invalid type"),
    (
        "[topics.a]\nnames = {}\nsubjects = ['4000000']",
        "5:13: \"4000000\" is no IPTC",
    ),
    (
        "[topics.a]\nnames = {}\nphrases.en = ['ok', '']",
        "5:21: the phrase \"\"",
    ),
    (
        "[topics.a]\nnames = {}\nphrases.en = ['x']",
        "5:15: the phrase \"x\"",
    ),
    (
        "[topics.a]\nnames = {}\nphrases.e1 = ['oil']",
        "5:9: the language \"e1\"",
    ),
    (
        "[aliases]\n'x' = 'y'\n'y' = 'x'",
        "5:7: the aliases go in a circle: x -> y -> x",
    ),
    (
        "[aliases]\n'x' = 'x'",
        "4:7: the aliases go in a circle: x -> x",
    ),
    (
        "[aliases]\n'general' = 'general'",
        "4:1: general is a topic and an alias",
    ),
    (
        "[aliases]\n'x' = 'generl'",
        "4:7: there is no topic \"generl\"; is general meant?",
    ),
    ("[inference]\nthreshold = 0", "4:13: 0 is not 1 to 1000"),
    (
        "[inference]\nshare_percent = 450",
        "4:17: 450 is not 0 to 100",
    ),
    (
        "[[rules]]\nname = 'r'\ntopics = ['general']\npoints = 5\nall = {}",
        "4:8: the rule \"r\"",
    ),
    (
        "[[rules]]\nname = 'r'\ntopics = ['general']\npoints = 0\nall = {}",
        "4:8: the rule",
    ),
    (
        "[[rules]]\nname = 'r'\ntopics = ['genral']\npoints = 5\nall = { g = 1 }\n[groups.g]\nen = ['ok']",
        "5:11: there is no topic",
    ),
    (
        "[[rules]]\nname = 'r'\ntopics = ['general']\npoints = 5\nall = { h = 1 }\n[groups.g]\nen = ['ok']",
        "7:9: there is no group \"h\"; is g meant?",
    ),
];

#[test]
fn a_refusal_names_its_place() {
    for (rest, expected) in REFUSED {
        let shown = shown(rest);
        assert!(shown.starts_with(expected), "{shown:?} is not {expected:?}");
    }
    let none = parse("[topics.a]\nnames = {}").unwrap_err();
    assert!(matches!(none.problem, Problem::NoGeneral));
    assert!(matches!(
        refused(&"#".repeat(TAXONOMY_BYTES_MAX)).problem,
        Problem::TooLong(_)
    ));
}

#[test]
fn ten_thousand_phrases_are_fine_and_too_many_are_refused() {
    let list = |count: usize| {
        let phrases: Vec<String> = (0..count)
            .map(|number| format!("'word {number}'"))
            .collect();
        format!("{GENERAL}phrases.en = [{}]", phrases.join(", "))
    };
    assert_eq!(
        parse(&list(10_000)).unwrap().phrasebook().cues().len(),
        10_000
    );
    let error = parse(&list(50_001)).unwrap_err();
    assert!(matches!(
        error.problem,
        Problem::Phrase(PhraseError::TooMany)
    ));
}

#[test]
fn aliases_lead_to_their_end() {
    let text = format!("{GENERAL}[aliases]\n'old' = 'older'\n'older' = 'general'");
    let taxonomy = parse(&text).unwrap();
    let [old, general]: [Topic; 2] = ["old", "general"].map(|path| path.parse().unwrap());
    assert_eq!(taxonomy.resolve(&old), Some(&general));
    assert!(!taxonomy.contains(&old));
}
