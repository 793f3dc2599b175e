//! Starts, filters, pages and ids that can't be.

use barid::wire::proto::v1::{
    Filter, GapReason, GetArticleRequest, ListArticlesRequest, ListRevisionsRequest,
    SubscribeRequest, start::From as StartFrom, subscribe_response::Frame,
};
use prost_types::Timestamp;
use tonic::{Code, Status};

use crate::{
    bad_input::{GROUP_LEN, INVALID, Wire, strings},
    harness::{Reader, after, article_of, everything, filter, from, seq},
};

async fn subscribe(wire: &Wire, wanted: Filter, start: StartFrom) -> Result<Reader, Status> {
    let request = SubscribeRequest {
        filter: Some(wanted),
        start: from(start),
        ..SubscribeRequest::default()
    };
    wire.node.subscribe(request).await
}

/// Proves that a stream does not begin at what is no place.
#[tokio::test]
async fn bad_starts_are_refused() {
    let mut wire = Wire::start().await;
    wire.works("nothing").await;
    let request = ListArticlesRequest::default();
    let list = wire
        .node
        .articles()
        .list_articles(request)
        .await
        .unwrap()
        .into_inner();
    let epoch = list.snapshot_cursor.split_once('-').unwrap().0.to_owned();
    let unreadable = [
        "",
        "1",
        "-",
        "-1",
        "abcdefgh",
        "abcdefgh-",
        "abcdefgh-01",
        "abcdefgh- 1",
        "ABCDEFGH-1",
        "abcdefgh-18446744073709551616",
        "abcdefgh-9223372036854775808",
        "abcdefgh-1\0",
        "abcdefgh-٣",
        "\u{202e}bcdefgh-1",
        &"a".repeat(100_000),
    ];
    for text in unreadable {
        let result = subscribe(&wire, Filter::default(), StartFrom::After(text.to_owned())).await;
        let expected = (Code::InvalidArgument, "CURSOR_UNREADABLE");
        wire.check(
            &format!("cursor {:.20}", text.escape_default().to_string()),
            result,
            expected,
            &["start.after"],
        )
        .await;
    }
    for ahead in [GROUP_LEN, 1_000_000, (1 << 63) - 1 - 10_000] {
        let cursor = format!("{epoch}-{}", wire.last_seq.unwrap() + ahead);
        let result = subscribe(&wire, Filter::default(), StartFrom::After(cursor)).await;
        wire.check(
            "a cursor of the future",
            result,
            (Code::OutOfRange, "CURSOR_IN_FUTURE"),
            &[],
        )
        .await;
    }
    for count in [0, 1001, u32::MAX] {
        let result = subscribe(&wire, Filter::default(), StartFrom::Last(count)).await;
        wire.check(&format!("last {count}"), result, INVALID, &["start.last"])
            .await;
    }
    for (seconds, nanos) in [(253_402_300_800, 0), (-2_208_988_801, 0), (0, -1)] {
        let since = Timestamp { seconds, nanos };
        let result = subscribe(&wire, Filter::default(), StartFrom::Since(since)).await;
        wire.check("since a bad time", result, INVALID, &["start.since"])
            .await;
    }
}

/// Proves that a cursor of another log is answered by a gap and then everything, and that the end
/// of the log, and a place between revisions, are places like any other.
#[tokio::test]
async fn a_foreign_cursor_is_a_gap_then_everything() {
    let mut wire = Wire::start().await;
    for _ in 0..3 {
        wire.works("nothing").await;
    }
    for foreign in ["aaaaaaaa-0", "aaaaaaaa-5", "zzzzzzzz-9223372036854775807"] {
        let mut reader = wire.node.subscribe(after(foreign)).await.unwrap();
        let Frame::Gap(gap) = reader.next().await.unwrap() else {
            panic!("no gap for {foreign}");
        };
        assert_eq!(gap.from, foreign);
        assert_eq!(seq(&gap.to), 0);
        assert_eq!(gap.reason(), GapReason::EpochForeign);
        assert_eq!(reader.history().await.len(), 3, "{foreign}");
        // What the gap says is a place to go on from.
        let mut reader = wire.node.subscribe(after(&gap.to)).await.unwrap();
        assert_eq!(reader.history().await.len(), 3, "{foreign}");
    }
    let mut reader = wire.node.subscribe(everything()).await.unwrap();
    let all = reader.history().await;
    let end = after(&all[2].cursor);
    assert_eq!(wire.node.subscribe(end).await.unwrap().history().await, []);
    let (epoch, second) = (
        all[0].cursor.split_once('-').unwrap().0,
        seq(&all[1].cursor),
    );
    let between = after(&format!("{epoch}-{}", second - 1));
    assert_eq!(
        wire.node.subscribe(between).await.unwrap().history().await,
        all[1..]
    );
}

/// Proves that a filter which can't be is refused, for streams and lists alike.
#[tokio::test]
async fn bad_filters_are_refused() {
    let mut wire = Wire::start().await;
    let topic = |text: &str| filter(&[text]);
    let language = |text: &str| Filter {
        languages: vec![text.to_owned()],
        ..Filter::default()
    };
    let word = |text: &str| Filter {
        words: vec![text.to_owned()],
        ..Filter::default()
    };
    let unknown = (Code::InvalidArgument, "TOPIC_UNKNOWN");
    let cases = [
        (
            "an unknown topic",
            topic("cybersecurity"),
            unknown,
            "filter.topics",
        ),
        (
            "an unknown child",
            topic("ict.none"),
            unknown,
            "filter.topics",
        ),
        ("all by wildcard", topic(">"), INVALID, "filter.topics[0]"),
        ("a wildcard", topic("ict.*"), INVALID, "filter.topics[0]"),
        ("an empty topic", topic(""), INVALID, "filter.topics[0]"),
        (
            "65 topics",
            Filter {
                topics: strings("ict", 65),
                ..Filter::default()
            },
            INVALID,
            "filter.topics",
        ),
        (
            "a bad language",
            language("en_GB"),
            INVALID,
            "filter.languages[0]",
        ),
        (
            "an empty language",
            language(""),
            INVALID,
            "filter.languages[0]",
        ),
        (
            "17 languages",
            Filter {
                languages: strings("en", 17),
                ..Filter::default()
            },
            INVALID,
            "filter.languages",
        ),
        (
            "urgency 10",
            Filter {
                urgency: 10,
                ..Filter::default()
            },
            INVALID,
            "filter.urgency",
        ),
        (
            "17 words",
            Filter {
                words: strings("x", 17),
                ..Filter::default()
            },
            INVALID,
            "filter.words",
        ),
        ("an empty word", word(""), INVALID, "filter.words[0]"),
        ("a word of marks", word("!?"), INVALID, "filter.words[0]"),
        ("a word of tatweel", word("ـــ"), INVALID, "filter.words[0]"),
        (
            "a word too long",
            word(&"x".repeat(65)),
            INVALID,
            "filter.words[0]",
        ),
    ];
    for (case, wanted, expected, field) in cases {
        let result = subscribe(&wire, wanted.clone(), StartFrom::Now(())).await;
        wire.check(case, result, expected, &[field]).await;
        let request = ListArticlesRequest {
            filter: Some(wanted),
            ..ListArticlesRequest::default()
        };
        let result = wire.node.articles().list_articles(request).await;
        wire.check(case, result, expected, &[field]).await;
    }
    let status = subscribe(&wire, topic("cybersecurity"), StartFrom::Now(()))
        .await
        .err()
        .unwrap();
    let info = tonic_types::StatusExt::get_details_error_info(&status).unwrap();
    assert_eq!(info.metadata["nearest"], "ict.cybersecurity");
    // The bounds themselves are welcome.
    let most = Filter {
        topics: strings("ict", 64),
        languages: strings("en", 16),
        urgency: 9,
        words: strings(&"x".repeat(64), 16),
    };
    subscribe(&wire, most, StartFrom::Last(1000))
        .await
        .unwrap()
        .caught_up()
        .await;
}

/// Proves that a page of no size, a token of no list and an id of no article are refused.
#[tokio::test]
async fn bad_pages_are_refused() {
    let mut wire = Wire::start().await;
    for _ in 0..3 {
        wire.works("nothing").await;
    }
    let request = ListArticlesRequest {
        page_size: 1,
        ..ListArticlesRequest::default()
    };
    let page = wire
        .node
        .articles()
        .list_articles(request)
        .await
        .unwrap()
        .into_inner();
    let (snapshot, token) = (page.snapshot_cursor, page.next_page_token);
    let id = article_of(&page.deliveries[0]).id;
    for page_size in [101, u32::MAX] {
        let request = ListArticlesRequest {
            page_size,
            ..ListArticlesRequest::default()
        };
        let result = wire.node.articles().list_articles(request).await;
        wire.check("a page too large", result, INVALID, &["page_size"])
            .await;
        let request = ListRevisionsRequest {
            article_id: id.clone(),
            page_size,
            page_token: String::new(),
        };
        let result = wire.node.articles().list_revisions(request).await;
        wire.check("a page too large", result, INVALID, &["page_size"])
            .await;
    }
    let (epoch, end) = (
        snapshot.split_once('-').unwrap().0.to_owned(),
        seq(&snapshot),
    );
    let tokens = [
        "x".to_owned(),
        ".".to_owned(),
        snapshot.clone(),
        format!("{token}0"),
        format!("{token}."),
        format!("{snapshot}.-1"),
        format!("{snapshot}.{}", end + 2),
        format!("{snapshot}.99999999999999999999"),
        format!("aaaaaaaa-{end}.1"),
        format!("{epoch}-{}.1", end + 1_000_000),
        format!("{epoch}-9223372036854775807.9223372036854775808"),
        "\u{202e}".repeat(1000),
    ];
    for page_token in tokens {
        let case = format!("token {:.40}", page_token.escape_default().to_string());
        let request = ListArticlesRequest {
            page_token,
            ..ListArticlesRequest::default()
        };
        let result = wire.node.articles().list_articles(request).await;
        wire.check(&case, result, INVALID, &["page_token"]).await;
    }
    for page_token in ["x", "0", "-1", "1.5", "99999999999999999999", "\u{202e}"] {
        let case = format!("token {}", page_token.escape_default());
        let page_token = page_token.to_owned();
        let request = ListRevisionsRequest {
            article_id: id.clone(),
            page_token,
            page_size: 0,
        };
        let result = wire.node.articles().list_revisions(request).await;
        wire.check(&case, result, INVALID, &["page_token"]).await;
    }
    // Tokens that could be of this list give a page of it, perhaps an empty one, and no error.
    for page_token in ["1", "18446744073709551615"] {
        let page_token = page_token.to_owned();
        let request = ListRevisionsRequest {
            article_id: id.clone(),
            page_token,
            page_size: 0,
        };
        let page = wire
            .node
            .articles()
            .list_revisions(request)
            .await
            .unwrap()
            .into_inner();
        assert!(page.deliveries.len() <= 1);
    }
    let request = ListArticlesRequest {
        page_token: format!("{epoch}-0.0"),
        ..ListArticlesRequest::default()
    };
    let page = wire
        .node
        .articles()
        .list_articles(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (page.deliveries.len(), page.next_page_token.as_str()),
        (0, "")
    );
    for article_id in ["", "x", ">", "log.article.>", "\u{202e}"] {
        let case = format!("id {}", article_id.escape_default());
        let article_id = article_id.to_owned();
        let request = ListRevisionsRequest {
            article_id: article_id.clone(),
            ..ListRevisionsRequest::default()
        };
        let result = wire.node.articles().list_revisions(request).await;
        wire.check(&case, result, INVALID, &["article_id"]).await;
        let result = wire
            .node
            .articles()
            .get_article(GetArticleRequest { article_id })
            .await;
        wire.check(&case, result, INVALID, &["article_id"]).await;
    }
}
