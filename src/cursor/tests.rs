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
