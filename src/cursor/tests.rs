//! Print and parse agree; places are judged by the list of epochs.

use proptest::prelude::*;

use super::*;

fn epoch(text: &str) -> Epoch {
    text.parse().unwrap()
}

proptest! {
    #[test]
    fn print_and_parse_agree(bits: u64, seq in 0..(1u64 << 63)) {
        let cursor = Cursor { epoch: Epoch::from_bits(bits), seq };
        prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
    }

    #[test]
    fn any_text_parses_or_is_refused(text in "\\PC{0,40}") {
        if let Ok(cursor) = text.parse::<Cursor>() {
            prop_assert_eq!(cursor.to_string(), text);
        }
    }
}

#[test]
fn malformed_cursors_are_refused() {
    for (text, error) in [
        ("", CursorError::Shape),
        ("abcdefgh", CursorError::Shape),
        ("abcdefg-1", CursorError::Epoch),
        ("abcdefg1-1", CursorError::Epoch),
        ("ABCDEFGH-1", CursorError::Epoch),
        ("abcdefgh-", CursorError::Sequence),
        ("abcdefgh-01", CursorError::Sequence),
        ("abcdefgh--1", CursorError::Sequence),
        ("abcdefgh-+1", CursorError::Sequence),
        ("abcdefgh-9223372036854775808", CursorError::Sequence),
        ("abcdefgh-99999999999999999999", CursorError::Sequence),
    ] {
        assert_eq!(text.parse::<Cursor>(), Err(error), "{text:?}");
    }
}

#[test]
fn a_cursor_names_the_life_that_its_sequence_is_in() {
    let epochs = Epochs::first(epoch("aaaaaaaa")).with(epoch("bbbbbbbb"), 90);
    assert_eq!(epochs.cursor(0).to_string(), "aaaaaaaa-0");
    assert_eq!(epochs.cursor(89).to_string(), "aaaaaaaa-89");
    assert_eq!(epochs.cursor(90).to_string(), "bbbbbbbb-90");
    assert_eq!(epochs.to_string().parse(), Ok(epochs));
    for text in [
        "aaaaaaaa@+1",
        "aaaaaaaa@01",
        "aaaaaaaa@",
        "aaaaaaaa@9223372036854775808",
    ] {
        assert_eq!(text.parse::<Epochs>(), Err(CursorError::Sequence), "{text}");
    }
}

#[test]
fn a_place_of_an_older_life_is_good_up_to_its_end() {
    let epochs = Epochs::first(epoch("aaaaaaaa")).with(epoch("bbbbbbbb"), 90);
    let place = |text: &str| epochs.place(text.parse().unwrap());
    assert_eq!(place("aaaaaaaa-89"), Place::Known(89));
    assert_eq!(
        place("aaaaaaaa-90"),
        Place::Lost("bbbbbbbb-89".parse().unwrap())
    );
    assert_eq!(
        place("aaaaaaaa-500"),
        Place::Lost("bbbbbbbb-89".parse().unwrap())
    );
    assert_eq!(place("bbbbbbbb-89"), Place::Known(89));
    assert_eq!(place("bbbbbbbb-500"), Place::Known(500));
    assert_eq!(place("cccccccc-1"), Place::Foreign);
}

#[test]
fn a_deeper_loss_later_takes_what_an_earlier_one_had_left() {
    let first = Epochs::first(epoch("aaaaaaaa"));
    let second = first.with(epoch("bbbbbbbb"), 90);
    let third = second.with(epoch("cccccccc"), 40);
    let place = |text: &str| third.place(text.parse().unwrap());
    let lost = Place::Lost("cccccccc-39".parse().unwrap());
    assert_eq!(place("aaaaaaaa-39"), Place::Known(39));
    for gone in ["aaaaaaaa-40", "aaaaaaaa-90", "bbbbbbbb-89", "bbbbbbbb-95"] {
        assert_eq!(place(gone), lost, "{gone}");
    }
    assert_eq!(place("cccccccc-500"), Place::Known(500));
    assert_eq!(third.cursor(95).to_string(), "cccccccc-95");
    assert_eq!(third.cursor(39).to_string(), "aaaaaaaa-39");

    let again = third.with(epoch("dddddddd"), 40);
    let lost = Place::Lost("dddddddd-39".parse().unwrap());
    assert_eq!(again.place("bbbbbbbb-95".parse().unwrap()), lost);
}

#[test]
fn lists_part_where_they_may_name_different_revisions() {
    let first = Epochs::first(epoch("aaaaaaaa"));
    let second = first.with(epoch("bbbbbbbb"), 90);
    let other = first.with(epoch("cccccccc"), 40);
    assert_eq!(first.parts_from(&first), None);
    assert_eq!(first.parts_from(&second), Some(90));
    assert_eq!(second.parts_from(&first), Some(90));
    assert_eq!(second.parts_from(&other), Some(40));
    assert!(second.continues(&first) && first.continues(&first));
    assert!(!first.continues(&second) && !second.continues(&other));
}
