//! Ids, signatures and lists.

use data_encoding::BASE64;
use proptest::prelude::*;
use ring::signature::{ED25519, UnparsedPublicKey};

use super::{
    signing::{SigningKey, signatures},
    *,
};
use crate::{article::Urgency, cursor::Epoch};

/// A webhook as it was kept before there were feeds.
const OLD: &str = r#"{"id":"abcdefghij","partner":"gazette","target":"https://news.example/hook",
    "filter":{"topics":["ict"]},
    "format":"cloudevents","note":"","created":1780000000,"state":"active",
    "begin":"abcdefgh-7","replay":{"number":0,"after":null},"wakes":0,"parked_asks":0,
    "keys":[{"secret":"AAAA","seed":"AAAA","expires":null}]}"#;

/// The example of the specification's own libraries.
#[test]
fn a_known_signature() {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let key = SigningKey::new([7; 64], Some(secret)).unwrap();
    assert_eq!(key.reveal(), secret);
    let header = signatures(
        &[key],
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
        br#"{"test": 2432232314}"#,
    );
    let (v1, v1a) = header.split_once(' ').unwrap();
    assert_eq!(v1, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    assert!(v1a.starts_with("v1a,"));
}

/// The public key that is shown verifies; a key that has ended signs nothing; nothing shows a secret.
#[test]
fn keys_end_and_tell_nothing() {
    let new = SigningKey::new([1; 64], None).unwrap();
    let mut old = SigningKey::new([2; 64], None).unwrap();
    old.expires = Some(100);
    let keys = [new.clone(), old];
    assert_eq!(signatures(&keys, "a", 99, b"{}").split(' ').count(), 4);
    let header = signatures(&keys, "a", 100, b"{}");
    let (_, v1a) = header.split_once(' ').unwrap();
    let signature = BASE64
        .decode(v1a.trim_start_matches("v1a,").as_bytes())
        .unwrap();
    let public = new.public().unwrap();
    let public = BASE64
        .decode(public.trim_start_matches("whpk_").as_bytes())
        .unwrap();
    let key = UnparsedPublicKey::new(&ED25519, public);
    key.verify(b"a.100.{}", &signature).unwrap();
    assert_eq!(format!("{new:?}"), "SigningKey(…)");
    let kept = serde_json::to_string(&new).unwrap();
    assert_eq!(serde_json::from_str::<SigningKey>(&kept).unwrap(), new);
}

#[test]
fn bad_secrets_are_refused() {
    for text in [
        "",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_",
        "whsec_MfKQ9r8",
        "whsec_!!!!",
        "whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    ] {
        assert!(SigningKey::new([0; 64], Some(text)).is_err(), "{text}");
    }
    let long = format!("whsec_{}", BASE64.encode(&[0; 65]));
    assert!(SigningKey::new([0; 64], Some(&long)).is_err());
}

proptest! {
    #[test]
    fn ids_come_back(bits in any::<u64>()) {
        let id = WebhookId::from_bits(bits);
        prop_assert_eq!(id.as_str().parse::<WebhookId>().unwrap(), id);
    }

    #[test]
    fn other_texts_are_no_ids(text in "\\PC{0,12}") {
        let is_id = text.len() == 10 && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'));
        prop_assert_eq!(text.parse::<WebhookId>().is_ok(), is_id);
    }
}

/// Records of releases that knew no WebSub are read, and written as they were; a subscription to a
/// feed is told from them.
#[test]
fn both_kinds_are_kept() {
    let webhook: Webhook = serde_json::from_str(OLD).unwrap();
    assert!(
        matches!(&webhook.spec, Spec::Standard { format: Format::CloudEvents, keys } if keys.len() == 1)
    );
    let written: serde_json::Value = serde_json::to_value(&webhook).unwrap();
    assert_eq!(
        written,
        serde_json::from_str::<serde_json::Value>(OLD).unwrap()
    );
    let websub = Websub {
        base: "https://wire.example".to_owned(),
        path: "/feeds/all.atom".to_owned(),
        lease: None,
        asked: Some(websub::Asked {
            number: u64::MAX,
            wish: websub::Wish::Unsubscribe,
        }),
    };
    let webhook = Webhook {
        spec: Spec::Websub { websub },
        ..webhook
    };
    let text = serde_json::to_string(&webhook).unwrap();
    assert_eq!(serde_json::from_str::<Webhook>(&text).unwrap(), webhook);
}

/// A webhook that has come to a place of the log's first life, and was sent what a filter wants.
fn come_to(seq: u64, filter: &Filter) -> (Progress, Epochs) {
    let first: Epoch = "abcdefgh".parse().unwrap();
    let epochs = Epochs::first(first);
    let mut progress = Progress::new(&serde_json::from_str(OLD).unwrap());
    progress.at = epochs.cursor(0);
    assert!(progress.turn(filter, &epochs));
    progress.done(epochs.cursor(seq), &epochs);
    (progress, epochs)
}

/// What a dead worker may have sent counts until it is passed, or another filter counts.
#[test]
fn what_nobody_told_is_kept_until_it_is_passed() {
    let (mut progress, epochs) = come_to(10, &Filter::default());
    let at = |seq| epochs.cursor(seq);
    assert_eq!(progress.end(&epochs), at(10));
    progress.lose_sight(at(20));
    progress.pass(at(19), &epochs);
    assert_eq!(progress.end(&epochs), at(20));
    progress.pass(at(20), &epochs);
    assert_eq!((progress.end(&epochs), progress.perhaps), (at(20), None));
    progress.lose_sight(at(30));
    progress.jump(at(5), &epochs);
    assert_eq!(progress.end(&epochs), at(5));
}

/// What a jump forward leaves out is still walked, to find what takes back what was sent: also where
/// the log has begun another life in between. What was of another log altogether is not.
#[test]
fn a_jump_goes_on_where_it_was() {
    let (progress, epochs) = come_to(10, &Filter::default());
    let jumped = |after: Cursor, epochs: &Epochs| {
        let mut progress = progress.clone();
        progress.jump(after, epochs);
        (progress.at, progress.place(epochs))
    };
    let at = |seq| epochs.cursor(seq);
    assert_eq!(jumped(at(30), &epochs), (at(10), at(30)));
    assert_eq!(jumped(at(5), &epochs), (at(5), at(5)));
    let next: Epoch = "bcdefgha".parse().unwrap();
    for (first_seq, is_lost) in [(21, false), (11, false), (6, true)] {
        let epochs = epochs.with(next, first_seq);
        let end = epochs.cursor(30);
        assert_eq!(end.epoch, next);
        assert_eq!(jumped(end, &epochs), (at(10), end), "{first_seq}");
        assert_ne!(progress.has_passed(at(10), &epochs), is_lost, "{first_seq}");
        assert!(!progress.has_passed(end, &epochs), "{first_seq}");
    }
    let other = Epochs::first(next);
    assert_eq!(
        jumped(other.cursor(3), &other),
        (other.cursor(3), other.cursor(3))
    );
}

/// Nothing was shown under a filter that has just begun to count.
#[test]
fn what_was_shown_under_another_filter_is_past() {
    let (mut progress, epochs) = come_to(10, &Filter::default());
    progress.shows(epochs.cursor(20), Reply::Silence, &epochs);
    assert!(progress.may_have_taken(epochs.cursor(15), &epochs));
    assert!(!progress.may_have_taken(epochs.cursor(21), &epochs));
    let narrower = Filter {
        urgency: Urgency::new(3),
        ..Filter::default()
    };
    assert!(progress.turn(&narrower, &epochs));
    assert!(!progress.may_have_taken(epochs.cursor(15), &epochs));
    assert_eq!(progress.end(&epochs), epochs.cursor(10));
    assert!(!progress.turn(&narrower, &epochs));
}

/// What left the list untaken is remembered, until it is taken; and lists are read as they were kept
/// before.
#[test]
fn what_left_the_list_was_not_taken() {
    let epochs = Epochs::first("abcdefgh".parse().unwrap());
    let parked = |seq| Parked {
        cursor: epochs.cursor(seq),
        article: String::new(),
        revision: 1,
        action: "publish".to_owned(),
        reason: String::new(),
        since: 0,
        tries: 5,
        is_asked: false,
        has_left: false,
    };
    let mut list = ParkedList::default();
    for seq in [30, 10, 20] {
        list.put(parked(seq));
    }
    let kept = |list: &ParkedList| serde_json::to_string(list).unwrap();
    assert!(!kept(&list).contains("has_left"));
    assert_eq!(
        list.leave(epochs.cursor(10)).map(|one| one.cursor.seq),
        Some(10)
    );
    assert!(list.leave(epochs.cursor(10)).is_none());
    list.remove(epochs.cursor(30));
    assert!(!list.has(epochs.cursor(10)) && list.has(epochs.cursor(20)));
    assert_eq!(list.untaken(&epochs), [10, 20]);
    let is_untaken = |seq| list.is_untaken(epochs.cursor(seq));
    assert!(is_untaken(10) && is_untaken(20) && !is_untaken(30));
    assert_eq!(
        serde_json::from_str::<ParkedList>(&kept(&list)).unwrap(),
        list
    );
    list.remove(epochs.cursor(10));
    assert_eq!(list.untaken(&epochs), [20]);
    let other = Epochs::first("bcdefgha".parse().unwrap());
    assert!(list.untaken(&other).is_empty());
    for seq in 100..=100 + u64::try_from(PARKED_MAX).unwrap() {
        list.put(parked(seq));
        list.leave(epochs.cursor(seq));
    }
    assert_eq!(list.untaken(&epochs).len(), 1 + PARKED_MAX);
}
