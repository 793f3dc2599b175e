//! Reading single stories and lists: by filter, in pages under one snapshot, and never more of a
//! withdrawn story than its notice.

use std::collections::BTreeMap;

use barid::wire::proto::v1::{
    Action, Article, Delivery, Filter, GetArticleRequest, ListArticlesRequest,
    ListArticlesResponse, ListRevisionsRequest, ListRevisionsResponse, PublishResponse,
    PublishStreamRequest, PublishStreamResponse, publish_stream_response::Result as Answer,
};
use prost::Message as _;
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::{
    harness::{
        LIMIT, Node, action, after, article, article_of, eventually, filter, new_id, noted,
        refusal, request, seq,
    },
    raw_log,
};

/// Bytes at which a page ends.
const PAGE_BYTES_MAX: usize = 3 * 1024 * 1024;
/// What a gRPC client takes unless it is told otherwise.
const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

fn uri(number: usize) -> String {
    format!("https://wire.example/{number}")
}

/// Reads until the node can tell: one that has just been written to, on a busy machine, may not have
/// read its log to the end within a second.
async fn read<T>(mut call: impl AsyncFnMut() -> Result<tonic::Response<T>, Status>) -> T {
    let mut found = None;
    eventually("an answer to a read", async || match call().await {
        Err(status) if status.code() == Code::Unavailable => false,
        other => {
            found = Some(other.unwrap().into_inner());
            true
        }
    })
    .await;
    found.unwrap()
}

async fn page(node: &Node, request: ListArticlesRequest) -> ListArticlesResponse {
    read(async || node.articles().list_articles(request.clone()).await).await
}

/// All pages of a list. Every page may be as small as none, but each must lead on.
async fn list(node: &Node, wanted: Filter, page_size: u32) -> Vec<Delivery> {
    let mut request = ListArticlesRequest {
        filter: Some(wanted),
        page_size,
        page_token: String::new(),
    };
    let mut found = Vec::new();
    loop {
        let page = page(node, request.clone()).await;
        assert!(page.deliveries.len() <= page_size as usize);
        found.extend(page.deliveries);
        if page.next_page_token.is_empty() {
            return found;
        }
        assert_ne!(
            page.next_page_token, request.page_token,
            "the list stands still"
        );
        request.page_token = page.next_page_token;
    }
}

async fn get(node: &Node, article_id: &str) -> Delivery {
    let article_id = article_id.to_owned();
    let request = GetArticleRequest { article_id };
    let response = read(async || node.articles().get_article(request.clone()).await).await;
    response.delivery.unwrap()
}

async fn revisions(node: &Node, request: ListRevisionsRequest) -> ListRevisionsResponse {
    read(async || node.articles().list_revisions(request.clone()).await).await
}

/// Publishes all on one stream; returns the answers. The log may take different articles in another
/// order.
async fn publish_all(node: &Node, articles: Vec<Article>) -> Vec<PublishResponse> {
    let requests: Vec<_> = articles
        .into_iter()
        .map(|article| PublishStreamRequest {
            publish: Some(request(Action::Publish, article)),
        })
        .collect();
    let answers = node
        .publisher()
        .publish_stream(tokio_stream::iter(requests))
        .await;
    let mut answers = answers.unwrap().into_inner();
    let mut responses = Vec::new();
    while let Some(answer) = timeout(LIMIT, answers.message()).await.unwrap().unwrap() {
        match answer {
            PublishStreamResponse {
                result: Some(Answer::Published(one)),
                ..
            } => {
                responses.push(one);
            }
            other => panic!("{other:?}"),
        }
    }
    responses
}

fn headlines(deliveries: &[Delivery]) -> Vec<String> {
    deliveries
        .iter()
        .map(|one| article_of(one).headline)
        .collect()
}

/// Proves that Get shows the newest revision, ListRevisions all of them oldest first, and that an
/// unknown article is missing.
#[tokio::test]
async fn an_article_is_read_with_its_history() {
    let node = Node::start();
    let mut id = String::new();
    for number in 1..=5 {
        let article = article(&uri(1), &format!("headline {number}"));
        id = node
            .publish(Action::Publish, article)
            .await
            .unwrap()
            .article_id;
        let found = get(&node, &id).await;
        assert_eq!(found.revision, number);
        assert_eq!(article_of(&found).headline, format!("headline {number}"));
    }
    let mut request = ListRevisionsRequest {
        article_id: id.clone(),
        page_size: 2,
        page_token: String::new(),
    };
    let mut found = Vec::new();
    loop {
        let page = revisions(&node, request.clone()).await;
        assert!(page.deliveries.len() <= 2);
        found.extend(page.deliveries.iter().map(|one| one.revision));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(found, [1, 2, 3, 4, 5]);

    let unknown = (Code::NotFound, "ARTICLE_UNKNOWN".to_owned());
    let article_id = new_id();
    let request = GetArticleRequest {
        article_id: article_id.clone(),
    };
    let status = node.articles().get_article(request).await.unwrap_err();
    assert_eq!(refusal(&status), unknown);
    let request = ListRevisionsRequest {
        article_id,
        ..ListRevisionsRequest::default()
    };
    let status = node.articles().list_revisions(request).await.unwrap_err();
    assert_eq!(refusal(&status), unknown);
}

/// Proves that a list has each article once, by its newest revision, latest first, and that every
/// part of a filter counts.
#[tokio::test]
async fn a_list_is_what_the_filter_says_latest_first() {
    let node = Node::start();
    let story = |number, language: &str, topic: &str, urgency, body: &str| Article {
        language: language.to_owned(),
        topics: vec![topic.to_owned()],
        urgency,
        body: body.to_owned(),
        ..article(&uri(number), &format!("headline {number}"))
    };
    let stories = [
        story(1, "en", "ict.telecom", 1, "fibre in the harbour"),
        story(2, "ar-EG", "ict", 5, "كابل في الميناء"),
        story(3, "ar", "economy.trade", 6, "مِيناءٌ جديد"),
        story(4, "en", "economy.trade", 4, "a new Harbour"),
        // Again, now first: no longer urgent, but it was, and no longer about fibre.
        story(1, "en", "ict.telecom", 9, "a harbour"),
    ];
    for story in stories {
        node.publish(Action::Publish, story).await.unwrap();
    }
    let words = |words: &[&str]| Filter {
        words: words.iter().map(|word| (*word).to_owned()).collect(),
        ..Filter::default()
    };
    let languages = |range: &str| Filter {
        languages: vec![range.to_owned()],
        ..Filter::default()
    };
    let urgency = |urgency| Filter {
        urgency,
        ..Filter::default()
    };
    let cases = [
        ("all", Filter::default(), vec![1, 4, 3, 2]),
        ("ict", filter(&["ict"]), vec![1, 2]),
        (
            "two topics",
            filter(&["ict.telecom", "economy"]),
            vec![1, 4, 3],
        ),
        ("no such story", filter(&["diplomacy"]), vec![]),
        ("ar", languages("ar"), vec![3, 2]),
        ("ar-EG", languages("AR-eg"), vec![2]),
        ("any language", languages("*"), vec![1, 4, 3, 2]),
        ("urgency ever", urgency(4), vec![1, 4]),
        ("flash ever", urgency(1), vec![1]),
        ("harbour", words(&["harbour"]), vec![1, 4]),
        ("word of an old revision", words(&["fibre"]), vec![]),
        ("two words", words(&["new", "HARBOUR"]), vec![4]),
        ("arabic", words(&["ميناء"]), vec![3]),
        ("headline", words(&["headline"]), vec![1, 4, 3, 2]),
        (
            "all parts",
            Filter {
                urgency: 4,
                ..filter(&["economy"])
            },
            vec![4],
        ),
    ];
    for (case, wanted, expected) in cases {
        for page_size in [1, 100] {
            let found = list(&node, wanted.clone(), page_size).await;
            let expected: Vec<String> = expected
                .iter()
                .map(|one| format!("headline {one}"))
                .collect();
            assert_eq!(headlines(&found), expected, "{case}");
        }
    }
}

/// Proves that while an article is withheld, and for ever once it is killed, every read shows
/// notices only; and that a withheld one comes back whole.
#[tokio::test]
async fn a_withdrawn_article_shows_its_notice_only() {
    let node = Node::start();
    let secret = |body: &str| Article {
        body: format!("SECRET {body}"),
        ..noted(&uri(1), "why")
    };
    let first = node.publish(Action::Publish, secret("one")).await.unwrap();
    node.publish(Action::Update, secret("two")).await.unwrap();
    let steps = [
        (
            Action::Withhold,
            vec![Action::Publish, Action::Update, Action::Withhold],
        ),
        (Action::Publish, vec![]),
        (
            Action::Withhold,
            vec![
                Action::Publish,
                Action::Update,
                Action::Withhold,
                Action::Publish,
                Action::Withhold,
            ],
        ),
        (Action::Kill, vec![Action::Kill]),
    ];
    for (asked, history) in steps {
        let response = node.publish(asked, secret("three")).await.unwrap();
        let id = first.article_id.clone();
        let found = get(&node, &id).await;
        let listed = list(&node, Filter::default(), 10).await;
        assert_eq!(listed, std::slice::from_ref(&found), "{asked:?}");
        assert_eq!((action(&found), found.revision), (asked, response.revision));
        let request = ListRevisionsRequest {
            article_id: id,
            ..ListRevisionsRequest::default()
        };
        let revisions = revisions(&node, request).await.deliveries;
        if asked == Action::Publish {
            assert_eq!(article_of(&found).body, "SECRET three");
            assert_eq!(article_of(&revisions[0]).body, "SECRET one");
            continue;
        }
        let actions: Vec<Action> = revisions.iter().map(action).collect();
        assert_eq!(actions, history, "{asked:?}");
        assert_eq!(article_of(&found).edition_note, "why");
        for delivery in revisions.iter().chain([&found]) {
            let text = String::from_utf8_lossy(&delivery.article);
            assert!(
                !text.contains("SECRET") && !text.contains("a headline"),
                "{asked:?}: {text}"
            );
        }
    }
    // Its word is forgotten with it; the notice is not held back by that.
    let words = Filter {
        words: vec!["SECRET".to_owned()],
        ..Filter::default()
    };
    assert_eq!(list(&node, words, 10).await.len(), 1);
}

/// Proves that all pages show one state of the log: what changes while one pages is neither missed
/// nor shown twice, what is withdrawn shows its notice, and a subscription after the snapshot goes
/// on exactly there.
#[tokio::test]
async fn pages_show_one_snapshot_while_articles_change() {
    const ARTICLES: usize = 60;
    let node = Node::start();
    let all = (0..ARTICLES).map(|number| article(&uri(number), &format!("headline {number}")));
    let mut published = publish_all(&node, all.collect()).await;
    // Each page is followed by changes before and behind it, of every kind.
    let mut changes = BTreeMap::new();
    let mut request = ListArticlesRequest {
        page_size: 7,
        ..ListArticlesRequest::default()
    };
    let (mut found, mut snapshot) = (Vec::new(), String::new());
    for round in 0.. {
        let page = page(&node, request.clone()).await;
        if round > 0 {
            assert_eq!(page.snapshot_cursor, snapshot);
        }
        snapshot = page.snapshot_cursor;
        found.extend(page.deliveries);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
        let mut change = async |asked, number: usize| {
            let response = node
                .publish(asked, noted(&uri(number), "why"))
                .await
                .unwrap();
            changes.insert(seq(&response.cursor), (response.article_id, asked));
        };
        change(Action::Update, (round * 5 + 40) % ARTICLES).await;
        change(Action::Correct, round).await;
        change(Action::Publish, ARTICLES + round).await;
        change(Action::Withhold, 20 + round).await;
        change(Action::Kill, 30 + round).await;
    }
    let shown: Vec<String> = found.iter().map(|one| article_of(one).id).collect();
    published.sort_by_key(|one| std::cmp::Reverse(seq(&one.cursor)));
    let expected: Vec<String> = published.into_iter().map(|one| one.article_id).collect();
    assert_eq!(shown, expected);
    for delivery in &found {
        // A revision of the snapshot, or the notice that came after it.
        let is_notice = matches!(action(delivery), Action::Withhold | Action::Kill);
        assert!(
            is_notice || seq(&delivery.cursor) <= seq(&snapshot),
            "{delivery:?}"
        );
        assert!(!is_notice || article_of(delivery).headline.is_empty());
    }
    let killed = |one: &&Delivery| action(one) == Action::Kill;
    assert!(found.iter().any(|one| killed(&one)), "no page saw a kill");

    let mut reader = node.subscribe(after(&snapshot)).await.unwrap();
    let newer: Vec<u64> = reader
        .history()
        .await
        .iter()
        .map(|one| seq(&one.cursor))
        .collect();
    // Texts of what was killed later are gone; nothing else is.
    let erased = |place: &u64| {
        let (id, _) = &changes[place];
        changes
            .range(place + 1..)
            .any(|(_, (other, asked))| other == id && *asked == Action::Kill)
    };
    let expected: Vec<u64> = changes
        .keys()
        .copied()
        .filter(|place| !erased(place))
        .collect();
    assert_eq!(newer, expected);
}

/// Proves that a page ends by bytes: large bodies fit what a gRPC client takes by default, and none
/// is lost between pages.
#[tokio::test]
async fn a_page_ends_by_bytes() {
    const ARTICLES: usize = 17;
    let node = Node::start();
    let large = |uri: &str, number: usize| Article {
        body: format!("{number} ").repeat(500 * 1024 / 3),
        ..article(uri, &format!("headline {number}"))
    };
    let articles: Vec<Article> = (0..ARTICLES).map(|one| large(&uri(one), one)).collect();
    let mut published: Vec<(u64, usize)> = publish_all(&node, articles)
        .await
        .iter()
        .zip(0..)
        .map(|(one, number)| (seq(&one.cursor), number))
        .collect();
    published.sort_unstable();
    let same = (0..ARTICLES).map(|one| large(&uri(100), one)).collect();
    let revised = publish_all(&node, same).await;

    let mut request = ListArticlesRequest {
        page_size: 100,
        ..ListArticlesRequest::default()
    };
    let (mut found, mut pages) = (Vec::new(), 0);
    loop {
        let page = page(&node, request.clone()).await;
        check_page(page.encoded_len(), &page.deliveries);
        found.extend(headlines(&page.deliveries));
        pages += 1;
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let mut expected: Vec<String> = published
        .iter()
        .map(|(_, number)| format!("headline {number}"))
        .collect();
    expected.push(format!("headline {}", ARTICLES - 1));
    expected.reverse();
    assert_eq!(found, expected);
    assert!(pages > 2);

    let mut request = ListRevisionsRequest {
        article_id: revised[0].article_id.clone(),
        page_size: 100,
        ..ListRevisionsRequest::default()
    };
    let mut found = Vec::new();
    loop {
        let page = revisions(&node, request.clone()).await;
        check_page(page.encoded_len(), &page.deliveries);
        found.extend(page.deliveries.iter().map(|one| one.revision as usize));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(found, (1..=ARTICLES).collect::<Vec<_>>());
}

fn check_page(encoded_len: usize, deliveries: &[Delivery]) {
    assert!(encoded_len <= MESSAGE_BYTES_MAX, "{encoded_len}");
    let (_, all_but_last) = deliveries.split_last().unwrap();
    let bytes: usize = all_but_last.iter().map(|one| one.article.len()).sum();
    assert!(bytes < PAGE_BYTES_MAX, "{bytes}");
}

/// Proves that lists and `last` go on where a node's index ends: a node that has started again
/// knows the newest 100,000 sequences only, and finds what is older in windows of the log, under
/// the same rules.
#[tokio::test]
async fn a_list_goes_on_beyond_the_index() {
    use barid::wire::proto::v1::start::From;
    const ARTICLES: usize = 150;
    let mut node = Node::start();
    let all = (0..ARTICLES).map(|number| Article {
        topics: vec![["ict.telecom", "economy"][number % 2].to_owned()],
        body: format!("SECRET {}", ["harbour", "airport", "station"][number % 3]),
        ..article(&uri(number), &format!("headline {number}"))
    });
    let published = publish_all(&node, all.collect()).await;
    node.publish(Action::Correct, noted(&uri(3), "old"))
        .await
        .unwrap();
    raw_log::append_filler(&node.nats_owner().await, 100_000).await;
    assert_eq!(node.stop().await, Some(0));
    node.start_again().await;
    node.publish(Action::Correct, noted(&uri(10), "new"))
        .await
        .unwrap();
    node.publish(Action::Withhold, noted(&uri(20), "new"))
        .await
        .unwrap();
    node.publish(Action::Kill, noted(&uri(30), "new"))
        .await
        .unwrap();

    let mut expected: Vec<usize> = (0..ARTICLES)
        .filter(|one| ![3, 10, 20, 30].contains(one))
        .collect();
    expected.sort_by_key(|number| seq(&published[*number].cursor));
    expected.extend([3, 10, 20, 30]);
    expected.reverse();
    let names = |found: &[Delivery]| -> Vec<usize> {
        let place = |one: &Delivery| {
            published
                .iter()
                .position(|response| response.article_id == article_of(one).id)
        };
        found.iter().map(|one| place(one).unwrap()).collect()
    };
    let found = list(&node, Filter::default(), 40).await;
    assert_eq!(names(&found), expected);
    for delivery in found.iter().filter(|one| action(one) != Action::Publish) {
        assert_eq!(article_of(delivery).body, "");
    }
    let ict = |number: &usize| number.is_multiple_of(2) || *number == 10;
    let wanted = list(&node, filter(&["ict"]), 40).await;
    assert_eq!(
        names(&wanted),
        expected.iter().copied().filter(ict).collect::<Vec<_>>()
    );
    // Recalls go to whoever asks for words.
    let harbour = |number: &usize| number.is_multiple_of(3) || [10, 20, 30].contains(number);
    let words = Filter {
        words: vec!["harbour".to_owned()],
        ..Filter::default()
    };
    let wanted = list(&node, words.clone(), 40).await;
    assert_eq!(
        names(&wanted),
        expected.iter().copied().filter(harbour).collect::<Vec<_>>()
    );

    let last = barid::wire::proto::v1::SubscribeRequest {
        filter: Some(words),
        start: crate::harness::from(From::Last(10)),
        ..Default::default()
    };
    let mut reader = node.subscribe(last).await.unwrap();
    let found = reader.history().await;
    assert_eq!(found.len(), 10);
    assert_eq!(names(&found)[7..], [10, 20, 30]);
}
