//! Words of a text as phrases meet them, and where they come from.

use proptest::prelude::*;

use super::*;

fn joined(text: &str) -> String {
    Words::of(text).joined().trim().to_owned()
}

#[test]
fn words_are_folded_and_split_at_everything_else() {
    assert_eq!(
        joined("E-Government’s  5G, (IPTC)!"),
        "e government s 5g iptc"
    );
    assert_eq!(joined("Straße ＡＢＣ ﬁn"), "strasse abc fin");
    assert_eq!(joined("  …  "), "");
    assert_eq!(
        joined("tele\u{ad}communi\u{ad}cations"),
        "telecommunications"
    );
    // What follows on ASCII belongs to its word, or does not.
    assert_eq!(
        joined("CAFÉ Cafe\u{301} AI中 x—y Z"),
        "café café ai 中 x y z"
    );
}

#[test]
fn arabic_articles_marks_and_spellings_go() {
    assert_eq!(joined("وَالأَمْنِ السّيبرانيّ"), "امن سيبراني");
    assert_eq!(joined("الأمـــن السيبراني"), "امن سيبراني");
    assert_eq!(joined("بالاتصالات ووزارة"), "اتصالات ووزاره");
    // Too short to be an article and a word.
    assert_eq!(joined("الم والد"), "الم والد");
    // Hamza as a mark of its own, as some keyboards write it.
    assert_eq!(joined("ا\u{0654}مر"), joined("أمر"));
    assert_eq!(joined("می\u{200C}رود"), joined("میرود"));
}

#[test]
fn a_script_without_spaces_gives_a_word_per_character() {
    assert_eq!(joined("网络安全 2026年"), "网 络 安 全 2026 年");
}

#[test]
fn fields_do_not_touch() {
    let mut words = Words::of("cyber");
    words.push("attack");
    assert_eq!(words.joined(), "\n cyber \n attack ");
    let all: Vec<_> = words.iter().map(|(word, _)| word).collect();
    assert_eq!(all, ["cyber", "attack"]);
}

proptest! {
    /// Every word says where it stands in the text, whatever the text is.
    #[test]
    fn origins_lead_back(text in "\\PC{0,60}") {
        let words = Words::of(&text);
        let mut end = 0;
        for origin in words.origins() {
            prop_assert!(origin.start >= end && origin.end > origin.start);
            end = origin.end;
            let again = joined(text.get(origin.start..origin.end).unwrap());
            let rest = words.joined().get(origin.at..).unwrap();
            let expected = format!("{again} ");
            prop_assert!(rest.starts_with(&expected));
        }
        let all: Vec<_> = words.iter().collect();
        prop_assert_eq!(all.len(), words.origins().len());
        let all: Vec<_> = all.into_iter().map(|(word, _)| word).collect();
        prop_assert_eq!(all.join(" "), words.joined().trim());
    }
}
