use bytes::Bytes;
use tonic::Status;

use super::*;
use crate::{
    fault::{Fault, Kind},
    wire::status,
};

/// The JSON forms of all frames, as scripts read them.
#[test]
fn json_frames() {
    let check = |frame: Frame| serde_json::to_value(frame_json(&frame).unwrap()).unwrap();
    let article = proto::Article {
        id: "0f3a9c1b-9d2c-4f0a-8a53-3f6f3c0e1b11".into(),
        headline: "Head".into(),
        ..proto::Article::default()
    };
    let delivery = check(Frame::Delivery(proto::Delivery {
        cursor: "abcdefgh-7".into(),
        topics: vec!["ict".into()],
        action: proto::Action::Kill.into(),
        revision: 3,
        article: Bytes::from(article.encode_to_vec()),
        published_at: Some(prost_types::Timestamp::default()),
        routed_at: None,
        traceparent: String::new(),
    }));
    assert_eq!(delivery["frame"], "delivery");
    assert_eq!(delivery["action"], "kill");
    assert_eq!(delivery["published_at"], "1970-01-01T00:00:00Z");
    assert_eq!(delivery["article"]["pubStatus"], "canceled");
    let cursor = "abcdefgh-9".to_owned();
    let caught_up = check(Frame::CaughtUp(proto::CaughtUp {
        cursor: cursor.clone(),
    }));
    assert_eq!(caught_up["frame"], "caught_up");
    let heartbeat = check(Frame::Heartbeat(proto::Heartbeat { cursor }));
    assert_eq!(heartbeat["cursor"], "abcdefgh-9");
    let gap = check(Frame::Gap(proto::Gap {
        from: "abcdefgh-1".into(),
        to: "abcdefgh-5".into(),
        reason: proto::GapReason::Retention.into(),
    }));
    assert_eq!(
        (&gap["frame"], &gap["reason"]),
        (&"gap".into(), &"retention".into())
    );
}

/// A draining server and a broken connection are waited out; a refusal is final.
#[test]
fn lost_or_not() {
    let check = |status: Status| matches!(lost_or_refused(status.into()), Ok(End::Lost(..)));
    let fault = |kind| status::status(&Fault::new(kind, "REASON", "why"));
    assert!(check(fault(Kind::Unavailable)));
    assert!(check(Status::unknown("transport error")));
    assert!(check(Status::internal("h2 protocol error")));
    assert!(!check(fault(Kind::Bug)));
    assert!(!check(fault(Kind::Invalid)));
    assert!(!check(fault(Kind::OutOfRange)));
    assert!(!check(Status::unimplemented("no such service")));
}

/// A gap is one plain line in a pipe, and loud bands over the whole width on a terminal, with
/// every word of it.
#[test]
fn gaps() {
    let gap = proto::Gap {
        from: "abcdefgh-1".into(),
        to: "abcdefgh-5".into(),
        reason: proto::GapReason::Retention.into(),
    };
    let plain = "revisions after abcdefgh-1 up to abcdefgh-5 may be missing: they are older than \
                 what is kept";
    assert_eq!(gap_text(&gap, None), format!("GAP  {plain}"));
    for columns in [30, 60, 200] {
        let text = gap_text(&gap, Some(columns));
        let loud = line::loud().to_string();
        assert!(text.lines().all(|line| line.starts_with(&loud)));
        let text = anstream::adapter::strip_str(&text).to_string();
        assert!(
            text.lines().all(|line| width_of(line) == columns - 1),
            "{text}"
        );
        let words: Vec<&str> = text.split_whitespace().skip(1).collect();
        assert_eq!(words.join(" "), plain);
    }
    for columns in 0..30 {
        gap_text(&gap, Some(columns));
    }
}
