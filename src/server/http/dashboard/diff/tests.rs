//! What is said of changes.

use proptest::prelude::*;

use super::{
    Piece::{self, Added, Removed, Same},
    changes, shortened,
};

fn text(pieces: &[Piece], is_wanted: impl Fn(&Piece) -> bool) -> String {
    let wanted = pieces.iter().filter(|piece| is_wanted(piece));
    wanted
        .map(|piece| match piece {
            Same(text) | Removed(text) | Added(text) => text.as_str(),
        })
        .collect()
}

#[test]
fn words_are_told_as_people_would() {
    assert_eq!(changes("the same", "the same"), None);
    let found = changes(
        "signed on Tuesday in Amman",
        "signed on Monday night in Amman",
    );
    let expected = [
        Same("signed on ".into()),
        Removed("Tuesday".into()),
        Added("Monday night".into()),
        Same(" in Amman".into()),
    ];
    assert_eq!(found.as_deref(), Some(&expected[..]));
    let found = changes("وقّع الوزيران الاتفاق الثلاثاء", "وقّع الوزيران الاتفاق الإثنين");
    let expected = [
        Same("وقّع الوزيران الاتفاق ".into()),
        Removed("الثلاثاء".into()),
        Added("الإثنين".into()),
    ];
    assert_eq!(found.as_deref(), Some(&expected[..]));
}

/// Neighbouring changes are one change, and not a mosaic.
#[test]
fn a_changed_sentence_is_one() {
    let found = changes("it rained all day", "it snowed whole nights").unwrap();
    let expected = [
        Same("it ".into()),
        Removed("rained all day".into()),
        Added("snowed whole nights".into()),
    ];
    assert_eq!(found, expected);
}

#[test]
fn long_same_parts_are_cut_at_words() {
    let long = "word ".repeat(100);
    let pieces = vec![Same(long.clone()), Added("new".into()), Same(long)];
    let short = shortened(pieces, 12);
    assert_eq!(short[0], Same(" … word word ".into()));
    assert_eq!(short[1], Added("new".into()));
    assert_eq!(short[2], Same("word word … ".into()));
}

proptest! {
    /// Without what was added it is the earlier text, without what was removed the later one.
    #[test]
    fn nothing_is_lost(before in "[ab \n]{0,30}", after in "[ab \n]{0,30}") {
        if let Some(pieces) = changes(&before, &after) {
            prop_assert_eq!(text(&pieces, |piece| !matches!(piece, Added(_))), before);
            prop_assert_eq!(text(&pieces, |piece| !matches!(piece, Removed(_))), after);
        }
    }
}
