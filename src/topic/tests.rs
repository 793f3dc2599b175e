//! Topics are NATS subjects by construction, and cover themselves and what is beneath.

use proptest::prelude::*;

use super::*;

fn topic(text: &str) -> Topic {
    text.parse().unwrap()
}

#[test]
fn what_would_break_a_subject_is_no_topic() {
    for text in [
        "", ".", "a.", ".a", "a..b", ">", "a.>", "*", "a.*", "A", "a b", "é", "a\n", "a/b",
    ] {
        assert_eq!(text.parse::<Topic>(), Err(TopicError), "{text:?}");
    }
    assert!("a.b.c.d.e.f.g.h".parse::<Topic>().is_ok());
    assert!("a.b.c.d.e.f.g.h.i".parse::<Topic>().is_err());
    assert!("a".repeat(128).parse::<Topic>().is_ok());
    assert!("a".repeat(129).parse::<Topic>().is_err());
}

#[test]
fn a_topic_covers_itself_and_all_beneath_by_whole_tokens() {
    assert!(topic("ict").covers(&topic("ict")));
    assert!(topic("ict").covers(&topic("ict.telecom.fibre")));
    assert!(!topic("ict").covers(&topic("ictx")));
    assert!(!topic("ict.telecom").covers(&topic("ict")));
}

proptest! {
    #[test]
    fn covering_agrees_with_comparing_tokens(
        a in "[ab]{1,2}(\\.[ab]{1,2}){0,3}",
        b in "[ab]{1,2}(\\.[ab]{1,2}){0,3}",
    ) {
        let (left, right): (Vec<_>, Vec<_>) = (a.split('.').collect(), b.split('.').collect());
        prop_assert_eq!(topic(&a).covers(&topic(&b)), right.starts_with(&left));
    }
}
