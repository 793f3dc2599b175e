//! An embargo holds: nothing of a draft is seen by anybody but the desk before its time; then it goes
//! out once, whatever crashes; and what is left of drafts is erased. Proves invariant 9.

use std::time::{Duration, SystemTime};

use async_nats::{
    Client,
    jetstream::{self, consumer::pull},
};
use barid::wire::proto::v1::{
    Action, Article, CancelEmbargoRequest, Embargo, EmbargoState, ExplainRoutingRequest,
    GetArticleRequest, GetEmbargoRequest, ListArticlesRequest, ListAuditRequest,
    ListEmbargoesRequest, ListRevisionsRequest, MoveEmbargoRequest, PublishRequest,
    PublishResponse, Publishing, ReleaseEmbargoRequest, ReleaseEmbargoResponse, Role, Scope,
    SubscribeRequest, desk_service_client::DeskServiceClient, explain_routing_request::Subject,
    publisher_service_client::PublisherServiceClient, start::From as StartFrom,
};
use futures_util::StreamExt as _;
use hyper::{Method, StatusCode};
use prost_types::Timestamp;
use rand::RngExt as _;
use serde_json::json;
use tokio::time::{sleep, timeout};
use tonic::{Code, Status, transport::Channel};

use crate::{
    access::{Caller, gazette, story},
    harness::{
        LIMIT, Node, Reader, action, article, article_of, eventually, everything, fields, from,
        new_id, noted, refusal, request, seq,
    },
    http_articles::{get, send},
    kills::{contains, files_with, marker},
    nats::Nats,
    web::metric_of,
};

/// Far enough for everything that a test does before.
const LATER: Duration = Duration::from_secs(3600);

pub fn now() -> Duration {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap()
}

fn timestamp(at: Duration) -> Timestamp {
    Timestamp {
        seconds: at.as_secs().try_into().unwrap(),
        nanos: at.subsec_nanos().try_into().unwrap(),
    }
}

pub fn since_1970(time: Timestamp) -> Duration {
    Duration::new(
        time.seconds.try_into().unwrap(),
        time.nanos.try_into().unwrap(),
    )
}

/// A time so long from now.
pub fn ahead(by: Duration) -> Option<Timestamp> {
    Some(timestamp(now() + by))
}

/// An article with a text that can be found anywhere, not to be shown for a while.
pub fn draft(uri: &str, marker: &str, wait: Duration) -> Article {
    Article {
        body: format!("before {marker} after"),
        slugline: format!("slug-{marker}"),
        topics: vec!["ict.telecom".to_owned(), "economy.trade".to_owned()],
        embargoed_until: ahead(wait),
        ..article(uri, &format!("A headline {marker}"))
    }
}

/// Hands a draft in.
pub async fn submit(node: &Node, article: Article) -> PublishResponse {
    let until = article.embargoed_until;
    let held = node.publish(Action::Publish, article).await.unwrap();
    assert_eq!((held.revision, held.cursor.as_str()), (0, ""));
    assert_eq!(held.embargoed_until, until);
    held
}

fn desk(node: &Node) -> DeskServiceClient<Channel> {
    DeskServiceClient::new(node.channel())
}

pub async fn list(node: &Node) -> Vec<Embargo> {
    let request = ListEmbargoesRequest::default();
    let listed = desk(node).list_embargoes(request).await;
    listed.unwrap().into_inner().embargoes
}

pub async fn move_to(
    node: &Node,
    article_id: &str,
    until: Option<Timestamp>,
    expected_version: u64,
) -> Result<Embargo, Status> {
    let request = MoveEmbargoRequest {
        article_id: article_id.to_owned(),
        embargoed_until: until,
        expected_version,
    };
    let moved = desk(node).move_embargo(request).await?.into_inner();
    Ok(moved.embargo.unwrap())
}

pub async fn cancel(node: &Node, article_id: &str, expected_version: u64) -> Result<(), Status> {
    let request = CancelEmbargoRequest {
        article_id: article_id.to_owned(),
        expected_version,
    };
    desk(node).cancel_embargo(request).await.map(drop)
}

async fn release(node: &Node, article_id: &str) -> Result<ReleaseEmbargoResponse, Status> {
    let request = ReleaseEmbargoRequest {
        article_id: article_id.to_owned(),
        expected_version: 0,
    };
    let released = desk(node).release_embargo(request).await?;
    Ok(released.into_inner())
}

pub async fn history(node: &Node) -> Vec<barid::wire::proto::v1::Delivery> {
    node.subscribe(everything()).await.unwrap().history().await
}

/// Drafts and ends of drafts that lie in the log.
async fn left_over(client: &Client) -> usize {
    let stream = jetstream::new(client.clone())
        .get_stream("BARID")
        .await
        .unwrap();
    let subjects = stream.info_with_subjects("log.embargo.>").await.unwrap();
    let counts = subjects.map(|one| one.unwrap().1);
    counts.collect::<Vec<usize>>().await.into_iter().sum()
}

pub async fn nothing_is_left_over(client: &Client) {
    eventually("all drafts are erased", async || {
        left_over(client).await == 0
    })
    .await;
}

/// Every read of a node but the desk's, all in one.
async fn all_reads(node: &Node, id: &str) -> Vec<u8> {
    let mut seen = Vec::new();
    let mut articles = node.articles();
    let get_article = GetArticleRequest {
        article_id: id.to_owned(),
    };
    let status = articles.get_article(get_article).await.unwrap_err();
    assert_eq!(
        refusal(&status),
        (Code::NotFound, "ARTICLE_UNKNOWN".to_owned())
    );
    let revisions = ListRevisionsRequest {
        article_id: id.to_owned(),
        ..Default::default()
    };
    let status = articles.list_revisions(revisions).await.unwrap_err();
    assert_eq!(refusal(&status).1, "ARTICLE_UNKNOWN");
    let explain = ExplainRoutingRequest {
        subject: Some(Subject::ArticleId(id.to_owned())),
        ..Default::default()
    };
    seen.extend(format!("{:?}", articles.explain_routing(explain).await).into_bytes());
    let listed = articles.list_articles(ListArticlesRequest::default()).await;
    seen.extend(format!("{listed:?}").into_bytes());
    for start in [StartFrom::Earliest(()), StartFrom::Last(1000)] {
        let request = SubscribeRequest {
            start: from(start),
            ..Default::default()
        };
        let deliveries = node.subscribe(request).await.unwrap().history().await;
        for delivery in deliveries {
            seen.extend(delivery.article);
        }
    }
    for path in [
        "/v1/articles".to_owned(),
        format!("/v1/articles/{id}"),
        format!("/v1/articles/{id}/revisions"),
        format!("/v1/articles/{id}/related"),
        "/v1/topics".to_owned(),
        "/feeds/all.atom".to_owned(),
        "/feeds/ict.telecom.rss".to_owned(),
        "/feeds/economy.json".to_owned(),
        "/".to_owned(),
        format!("/?article={id}"),
        "/metrics".to_owned(),
        "/readyz".to_owned(),
    ] {
        seen.extend(get(node, &path).await.body);
    }
    seen
}

/// Before its time a draft is in no read but the desk's, in no log of the node, and not to be had from
/// NATS; then it is an ordinary first revision, once.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_draft_is_seen_before_its_time() {
    let node = Node::start_with(&["--log", "trace"]);
    let marker = marker();
    // So that lists and feeds are not empty.
    let other = article("test:other", "of the day");
    node.publish(Action::Publish, other).await.unwrap();
    let mut live = node.subscribe(SubscribeRequest::default()).await.unwrap();
    live.caught_up().await;
    let native = async_nats::connect(&node.nats).await.unwrap();
    let mut core = native.subscribe("news.>").await.unwrap();
    native.flush().await.unwrap();

    let wanted = request(Action::Publish, draft("test:a", &marker, LATER));
    let held = node.publisher().publish(wanted.clone()).await.unwrap();
    let held = held.into_inner();
    assert_eq!((held.revision, held.cursor.as_str()), (0, ""));
    assert_eq!(held.topics, ["ict.telecom", "economy.trade"]);
    let id = held.article_id.clone();
    // The same rules as for any request.
    let again = node.publisher().publish(wanted.clone()).await.unwrap();
    let duplicate = PublishResponse {
        duplicate: true,
        ..held.clone()
    };
    assert_eq!(again.into_inner(), duplicate);
    let mut other = wanted.clone();
    other.article.as_mut().unwrap().byline = "somebody".to_owned();
    let status = node.publisher().publish(other).await.unwrap_err();
    assert_eq!(refusal(&status).1, "REQUEST_ID_REUSED");

    assert!(!contains(&all_reads(&node, &id).await, &marker));
    let lines = node.log();
    assert!(!contains(lines.as_bytes(), &marker), "it is in the log");
    // Which would show it in another form.
    assert!(!lines.contains("JetStream request response"));
    let stream = jetstream::new(native.clone());
    let stream = stream.get_stream_no_info("BARID").await.unwrap();
    for filter in ["log.embargo.>", "log.>", &format!("log.embargo.{id}")] {
        let config = pull::Config {
            name: Some("any".to_owned()),
            filter_subject: filter.to_owned(),
            ..pull::Config::default()
        };
        assert!(stream.create_consumer(config).await.is_err(), "{filter}");
    }
    for subject in [
        "$JS.API.STREAM.MSG.GET.BARID".to_owned(),
        "$JS.API.DIRECT.GET.BARID".to_owned(),
        format!("$JS.API.DIRECT.GET.BARID.log.embargo.{id}"),
        "$JS.API.STREAM.INFO.BARID".to_owned(),
    ] {
        let last = json!({"last_by_subj": format!("log.embargo.{id}")}).to_string();
        let answered = native.request(subject.clone(), last.into());
        let answered = timeout(Duration::from_millis(500), answered).await;
        assert!(!matches!(answered, Ok(Ok(_))), "{subject}");
    }

    let article_id = id.clone();
    let shown = desk(&node)
        .get_embargo(GetEmbargoRequest { article_id })
        .await;
    let shown = shown.unwrap().into_inner();
    let text = shown.article.unwrap();
    assert!(text.body.contains(&marker));
    let listed = list(&node).await;
    assert_eq!(listed, [shown.embargo.unwrap()]);
    assert_eq!(listed[0].headline, text.headline);
    assert_eq!(listed[0].state(), EmbargoState::Scheduled);
    eventually("it is counted", async || {
        metric_of(&node, "barid_embargoes", "scheduled").await == 1.0
    })
    .await;

    let until = ahead(Duration::from_millis(300));
    move_to(&node, &id, until, listed[0].version).await.unwrap();
    let delivery = live.delivery().await;
    assert!(now() >= since_1970(until.unwrap()), "too early");
    assert_eq!((delivery.revision, action(&delivery)), (1, Action::Publish));
    assert_eq!(delivery.topics, held.topics);
    let released = article_of(&delivery);
    assert_eq!(
        (released.body, released.embargoed_until),
        (text.body, until)
    );
    assert!(since_1970(delivery.published_at.unwrap()) >= since_1970(until.unwrap()));
    for topic in &held.topics {
        let copy = timeout(LIMIT, core.next()).await.unwrap().unwrap();
        assert_eq!(copy.subject.as_str(), format!("news.{topic}"));
    }
    nothing_is_left_over(&node.nats_owner().await).await;
    assert_eq!(history(&node).await.len(), 2);
    assert!(list(&node).await.is_empty());
    // What the submission was answered, for ever; and the story lives on.
    let again = node.publisher().publish(wanted).await.unwrap();
    assert_eq!(again.into_inner(), duplicate);
    let next = node
        .publish(Action::Update, article("test:a", "more"))
        .await;
    assert_eq!(next.unwrap().revision, 2);
    // Only what is on the wire was ever counted or shown.
    assert_eq!(live.delivery().await.revision, 2);
}

/// Drafts that were replaced, moved, cancelled or killed leave no byte on the disk, and nothing is
/// sent of them; neither does the draft of a live article that is killed.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_what_is_not_released() {
    let nats = Nats::start().await;
    let node = Node::start_with(&["--nats-url", &nats.url()]);
    let markers: Vec<String> = (0..5).map(|_| marker()).collect();
    let hold = async |uri: &str, marker: &str| submit(&node, draft(uri, marker, LATER)).await;

    let replaced = hold("test:replaced", &markers[0]).await.article_id;
    assert_ne!(
        files_with(&nats.store(), &markers[0]),
        [""; 0],
        "never there"
    );
    let second = draft("test:replaced", "another", LATER);
    // Called whatever the desk calls it: nothing is on the wire yet.
    let correct = Article {
        edition_note: "a figure".to_owned(),
        ..second
    };
    let held = node.publish(Action::Correct, correct).await.unwrap();
    assert_eq!((held.revision, &held.article_id), (0, &replaced));
    assert_eq!(list(&node).await.len(), 1);

    let cancelled = hold("test:cancelled", &markers[1]).await.article_id;
    move_to(&node, &cancelled, ahead(LATER * 2), 0)
        .await
        .unwrap();
    cancel(&node, &cancelled, 0).await.unwrap();
    let status = cancel(&node, &cancelled, 0).await.unwrap_err();
    assert_eq!(
        refusal(&status),
        (Code::NotFound, "EMBARGO_UNKNOWN".to_owned())
    );

    hold("test:killed", &markers[2]).await;
    let kill = request(Action::Kill, noted("test:killed", "why"));
    for is_duplicate in [false, true] {
        let killed = node.publisher().publish(kill.clone()).await.unwrap();
        let killed = killed.into_inner();
        assert_eq!((killed.revision, killed.cursor.as_str()), (0, ""));
        assert_eq!(
            (killed.embargoed_until, killed.duplicate),
            (None, is_duplicate)
        );
    }
    // There is nothing that could be killed for good.
    let status = node.publish(Action::Kill, noted("test:killed", "again"));
    assert_eq!(refusal(&status.await.unwrap_err()).1, "ARTICLE_UNKNOWN");

    let live = article("test:live", "on the wire");
    node.publish(Action::Publish, live).await.unwrap();
    hold("test:live", &markers[3]).await;
    let killed = node.publish(Action::Kill, noted("test:live", "why")).await;
    assert_eq!(killed.unwrap().revision, 2);
    let late = node.publish(Action::Publish, draft("test:live", &markers[4], LATER));
    assert_eq!(refusal(&late.await.unwrap_err()).1, "ARTICLE_KILLED");

    let listed = list(&node).await;
    let ids: Vec<&String> = listed.iter().map(|one| &one.article_id).collect();
    assert_eq!(ids, [&replaced]);
    eventually("only the newest draft is left", async || {
        left_over(&nats.client().await).await == 1
    })
    .await;
    for marker in &markers {
        assert_eq!(files_with(&nats.store(), marker), [""; 0]);
    }
    let actions: Vec<_> = history(&node).await.iter().map(action).collect();
    assert_eq!(actions, [Action::Kill]);
    let released = release(&node, &replaced).await.unwrap();
    assert_eq!(released.revision, 1);
}

/// While a first revision is under embargo nobody puts the article on the wire by accident.
#[tokio::test]
async fn an_embargo_is_not_broken_by_accident() {
    let node = Node::start();
    let id = submit(&node, draft("test:a", "x", LATER)).await.article_id;
    let expected = (Code::FailedPrecondition, "ARTICLE_EMBARGOED".to_owned());
    for asked in [
        Action::Publish,
        Action::Update,
        Action::Correct,
        Action::Withhold,
    ] {
        let status = node.publish(asked, noted("test:a", "why")).await;
        assert_eq!(refusal(&status.unwrap_err()), expected, "{asked:?}");
    }
    let past = Article {
        embargoed_until: Some(timestamp(now() - LATER)),
        ..draft("test:a", "x", LATER)
    };
    let status = node.publish(Action::Publish, past).await.unwrap_err();
    assert_eq!(refusal(&status), expected);
    // By intent it is: then the time of its embargo is over for readers, too.
    let released = release(&node, &id).await.unwrap();
    assert_eq!(released.revision, 1);
    let history = history(&node).await;
    assert_eq!(history.len(), 1);
    assert_eq!(history[0].cursor, released.cursor);
    let until = article_of(&history[0]).embargoed_until.unwrap();
    assert!(since_1970(until) <= now());
    let status = release(&node, &id).await.unwrap_err();
    assert_eq!(refusal(&status).1, "EMBARGO_UNKNOWN");
}

/// The desk moves drafts earlier and later, by their versions, within the bounds.
#[tokio::test]
async fn the_desk_moves_drafts() {
    let node = Node::start();
    let first = submit(&node, draft("test:later", "x", LATER)).await;
    let second = submit(&node, draft("test:earlier", "y", LATER * 2)).await;
    let listed = list(&node).await;
    let uris: Vec<&str> = listed.iter().map(|one| one.uri.as_str()).collect();
    assert_eq!(uris, ["test:later", "test:earlier"]);

    let moved = move_to(
        &node,
        &first.article_id,
        ahead(LATER * 3),
        listed[0].version,
    )
    .await;
    let moved = moved.unwrap();
    assert_ne!(moved.version, listed[0].version);
    let status = move_to(&node, &first.article_id, ahead(LATER), listed[0].version).await;
    let expected = (Code::Aborted, "EMBARGO_CONFLICT".to_owned());
    assert_eq!(refusal(&status.unwrap_err()), expected);
    let status = cancel(&node, &first.article_id, listed[0].version).await;
    assert_eq!(refusal(&status.unwrap_err()), expected);
    // What stands already is no change.
    let same = move_to(&node, &first.article_id, moved.embargoed_until, 0).await;
    assert_eq!(same.unwrap(), moved);

    let year = Duration::from_secs(367 * 86_400);
    let past = timestamp(now() - LATER);
    for until in [None, Some(past), ahead(year)] {
        let status = move_to(&node, &first.article_id, until, 0)
            .await
            .unwrap_err();
        assert_eq!(fields(&status), ["embargoed_until"]);
    }
    let brief = Article {
        expires: ahead(LATER * 2),
        ..draft("test:brief", "b", LATER)
    };
    let brief = submit(&node, brief).await.article_id;
    let status = move_to(&node, &brief, ahead(LATER * 2), 0).await;
    let status = status.unwrap_err();
    assert_eq!(fields(&status), ["embargoed_until"]);
    assert!(
        status.message().contains("when the story expires"),
        "{status}"
    );
    cancel(&node, &brief, 0).await.unwrap();
    let never = Article {
        expires: ahead(LATER),
        ..draft("test:never", "n", LATER)
    };
    let never = node.publish(Action::Publish, never).await.unwrap_err();
    assert_eq!(fields(&never), ["article.expires"]);
    let far = node.publish(Action::Publish, draft("test:far", "z", year));
    assert_eq!(fields(&far.await.unwrap_err()), ["article.embargoed_until"]);
    let status = move_to(&node, "hunter2", ahead(LATER), 0).await;
    assert_eq!(fields(&status.unwrap_err()), ["article_id"]);

    let mut live = node.subscribe(everything()).await.unwrap();
    live.caught_up().await;
    let until = ahead(Duration::from_millis(300));
    move_to(&node, &second.article_id, until, 0).await.unwrap();
    assert_eq!(article_of(&live.delivery().await).uri, "test:earlier");
    assert!(now() >= since_1970(until.unwrap()));
    assert_eq!(list(&node).await.len(), 1);
    // Pages.
    for number in 0..4 {
        submit(&node, draft(&format!("test:{number}"), "p", LATER * 2)).await;
    }
    let (mut seen, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListEmbargoesRequest {
            page_size: 2,
            page_token,
        };
        let page = desk(&node)
            .list_embargoes(request)
            .await
            .unwrap()
            .into_inner();
        seen.extend(page.embargoes.into_iter().map(|one| one.uri));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    seen.sort();
    assert_eq!(seen, ["test:0", "test:1", "test:2", "test:3", "test:later"]);
}

/// A draft of a live article holds the revision that it was written for: whatever comes before its time
/// goes out and blocks it, and the desk hears of that.
#[tokio::test(flavor = "multi_thread")]
async fn a_draft_whose_base_has_moved_is_not_released() {
    let node = Node::start_with_keys(&[]);
    let caller = Caller::desk(&node);
    let mut admin = DeskServiceClient::new(node.channel());
    let mut publisher = PublisherServiceClient::new(node.channel());
    caller.publish(story("test:a", &["ict"])).await.unwrap();
    let soon = Duration::from_secs(3);
    let mut update = story("test:a", &["economy"]);
    update.article.as_mut().unwrap().embargoed_until = ahead(soon);
    let held = publisher.publish(caller.request(update.clone())).await;
    let held = held.unwrap().into_inner();
    assert_eq!(
        (held.revision, held.topics),
        (0, vec!["economy".to_owned(), "ict".to_owned()])
    );

    let mut correct = story("test:a", &["ict"]);
    correct.action = Action::Correct.into();
    correct.article.as_mut().unwrap().edition_note = "a figure".to_owned();
    let corrected = publisher.publish(caller.request(correct)).await.unwrap();
    assert_eq!(corrected.into_inner().revision, 2);
    let mut list = async || {
        let request = caller.request(ListEmbargoesRequest::default());
        let listed = admin.list_embargoes(request).await.unwrap();
        listed.into_inner().embargoes
    };
    let blocked = list().await;
    assert_eq!(blocked[0].state(), EmbargoState::Blocked);
    assert_eq!(
        (blocked[0].base_revision, blocked[0].action()),
        (1, Action::Update)
    );
    sleep(soon * 2).await;
    assert_eq!(list().await, blocked, "it waits for the desk");
    let history = caller
        .subscribe(everything())
        .await
        .unwrap()
        .history()
        .await;
    assert_eq!(history.len(), 2);
    let release = ReleaseEmbargoRequest {
        article_id: held.article_id.clone(),
        expected_version: 0,
    };
    let mut admin = DeskServiceClient::new(node.channel());
    let status = admin.release_embargo(caller.request(release)).await;
    let expected = (Code::FailedPrecondition, "EMBARGO_BASE_MOVED".to_owned());
    assert_eq!(refusal(&status.unwrap_err()), expected);
    let request = caller.request(ListAuditRequest::default());
    let mut lines = admin.list_audit(request).await.unwrap().into_inner();
    let mut audit = Vec::new();
    while let Some(line) = lines.message().await.unwrap() {
        audit.push((line.action, line.target));
    }
    let told = ("embargo.blocked".to_owned(), held.article_id.clone());
    assert!(audit.contains(&told), "{audit:?}");

    // Sent again it is written for what is there now.
    update.request_id = new_id();
    update.article.as_mut().unwrap().embargoed_until = ahead(soon);
    let mut live = caller.subscribe(everything()).await.unwrap();
    live.history().await;
    publisher.publish(caller.request(update)).await.unwrap();
    assert_eq!(list().await[0].state(), EmbargoState::Scheduled);
    let delivery = live.delivery().await;
    assert_eq!((delivery.revision, action(&delivery)), (3, Action::Update));
    assert_eq!(delivery.topics, ["economy", "ict"]);
}

/// Publishers handle drafts through Publish alone, within their grants.
#[tokio::test(flavor = "multi_thread")]
async fn publishers_have_their_own_drafts_only() {
    let node = Node::start_with_keys(&[]);
    let admin = Caller::desk(&node);
    for name in ["gazette", "tribune"] {
        let topics = vec!["ict".to_owned()];
        let scope = Some(Scope {
            topics,
            languages: vec![],
        });
        let mut partner = gazette();
        partner.name = name.to_owned();
        partner.publish = Some(Publishing {
            scope,
            source: String::new(),
            own_articles_only: true,
        });
        admin.partner(partner).await;
    }
    let (_, key) = admin.key("gazette", Role::Publisher, None).await;
    let gazette = Caller::new(&node, &key);
    let (_, key) = admin.key("tribune", Role::Publisher, None).await;
    let tribune = Caller::new(&node, &key);
    let embargoed = |topics: &[&str]| {
        let mut request = story("test:a", topics);
        request.article.as_mut().unwrap().embargoed_until = ahead(LATER);
        request
    };
    eventually("the keys are known", async || {
        let refused = tribune.publish(embargoed(&["economy"])).await.unwrap_err();
        let known = refusal(&refused).1 == "TOPIC_NOT_GRANTED";
        known && gazette.publish(embargoed(&["ict"])).await.is_ok()
    })
    .await;
    let mut kill = story("test:a", &[]);
    kill.action = Action::Kill.into();
    kill.article.as_mut().unwrap().edition_note = "why".to_owned();
    let mut foreign_kill = kill.clone();
    foreign_kill.request_id = new_id();
    for request in [embargoed(&["ict"]), story("test:a", &["ict"]), foreign_kill] {
        let status = tribune.publish(request).await.unwrap_err();
        assert_eq!(refusal(&status).1, "ARTICLE_NOT_OWN");
    }
    // Nor may whoever writes in other languages alone: the first draft of a story is as safe as a story.
    let mut arabic = crate::access::gazette();
    arabic.name = "arabic".to_owned();
    arabic.publish = Some(Publishing {
        scope: Some(Scope {
            topics: vec!["ict".to_owned()],
            languages: vec!["ar".to_owned()],
        }),
        ..Publishing::default()
    });
    admin.partner(arabic).await;
    let arabic = admin.new_caller("arabic", Role::Publisher).await;
    let in_arabic = |mut request: PublishRequest| {
        request.article.as_mut().unwrap().language = "ar".to_owned();
        request
    };
    let mut foreign_kill = kill.clone();
    foreign_kill.request_id = new_id();
    for request in [
        in_arabic(embargoed(&["ict"])),
        in_arabic(story("test:a", &["ict"])),
        foreign_kill,
    ] {
        let status = arabic.publish(request).await.unwrap_err();
        assert_eq!(refusal(&status).1, "LANGUAGE_NOT_GRANTED");
    }
    gazette.publish(embargoed(&["ict.telecom"])).await.unwrap();
    gazette.publish(kill).await.unwrap();
    // Whoever comes next finds nothing.
    tribune.publish(story("test:a", &["ict"])).await.unwrap();
}

/// Whoever's draft goes out has published the article: who hands in the first revision anew is named.
#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_draft_is_its_last_authors() {
    let node = Node::start_with_keys(&[]);
    let admin = Caller::desk(&node);
    admin.partner(gazette()).await;
    let (_, key) = admin.key("gazette", Role::Publisher, None).await;
    let gazette = Caller::new(&node, &key);
    let embargoed = || {
        let mut request = story("test:a", &["ict"]);
        request.article.as_mut().unwrap().embargoed_until = ahead(LATER);
        request
    };
    admin.publish(embargoed()).await.unwrap();
    let listed = async || {
        let request = admin.request(ListEmbargoesRequest::default());
        let listed = desk(&node).list_embargoes(request).await;
        listed.unwrap().into_inner().embargoes.remove(0)
    };
    let first = listed().await;
    eventually("the key is known", async || {
        gazette.publish(embargoed()).await.is_ok()
    })
    .await;
    let second = listed().await;
    assert_ne!(first.partner, "gazette");
    assert_eq!(second.partner, "gazette");
    assert_ne!(first.key_id, second.key_id);
}

/// A release dates what its publisher did not: nobody reads a new story as an old one.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_dated_by_itself() {
    let node = Node::start();
    let own = timestamp(Duration::from_secs(1_700_000_000));
    let dated = Article {
        first_created: Some(own),
        version_created: Some(own),
        ..draft("test:dated", "dated", LATER)
    };
    let undated = draft("test:undated", "undated", LATER);
    let mut ids = Vec::new();
    for article in [dated, undated] {
        ids.push(submit(&node, article).await.article_id);
    }
    let before = timestamp(now());
    for id in &ids {
        release(&node, id).await.unwrap();
    }
    let deliveries = history(&node).await;
    let times = |delivery| {
        let article = article_of(delivery);
        [article.first_created, article.version_created].map(Option::unwrap)
    };
    assert_eq!(times(&deliveries[0]), [own; 2]);
    let published = deliveries[1].published_at.unwrap();
    assert!(since_1970(published) >= since_1970(before));
    assert_eq!(times(&deliveries[1]), [published; 2]);
}

/// Whoever was away at the moment, and was it everybody: the draft goes out at once after the start.
#[tokio::test(flavor = "multi_thread")]
async fn overdue_drafts_go_out_at_start() {
    let mut nats = Nats::start().await;
    let mut node = Node::start_with(&["--nats-url", &nats.url()]);
    let soon = Duration::from_secs(3);
    let held = submit(&node, draft("test:a", &marker(), soon)).await;
    let ended = submit(&node, draft("test:b", &marker(), soon)).await;
    cancel(&node, &ended.article_id, 0).await.unwrap();
    node.kill();
    nats.kill();
    sleep(soon * 2).await;
    let started = now();
    nats.start_again();
    node.start_again().await;
    let mut live = node.subscribe(everything()).await.unwrap();
    let delivery = loop {
        let frame = timeout(LIMIT, live.next()).await.unwrap().unwrap();
        if let barid::wire::proto::v1::subscribe_response::Frame::Delivery(delivery) = frame {
            break delivery;
        }
    };
    assert!(since_1970(held.embargoed_until.unwrap()) < started);
    assert!(since_1970(delivery.published_at.unwrap()) >= started);
    assert_eq!(
        (delivery.revision, article_of(&delivery).uri.as_str()),
        (1, "test:a")
    );
    nothing_is_left_over(&nats.client().await).await;
    assert_eq!(history(&node).await.len(), 1);
}

/// Two nodes, of which one or NATS is killed between any two steps around the time: each draft goes out
/// once, not before its time, and nothing is left of it.
#[tokio::test(flavor = "multi_thread")]
async fn once_whatever_crashes() {
    const ROUNDS: u32 = 10;
    let mut nats = Nats::start().await;
    let mut one = Node::start_with(&["--nats-url", &nats.url()]);
    let other = Node::start_with(&["--nats-url", &nats.url()]);
    let mut expected = Vec::new();
    for round in 0..ROUNDS {
        let wait = Duration::from_millis(800);
        let uris = [format!("test:{round}-a"), format!("test:{round}-b")];
        let markers = uris.each_ref().map(|_| marker());
        let mut until = Duration::ZERO;
        for (uri, marker) in uris.iter().zip(&markers) {
            let held = submit(&one, draft(uri, marker, wait)).await;
            until = since_1970(held.embargoed_until.unwrap());
            expected.push((uri.clone(), until, marker.clone()));
        }
        let left = until.saturating_sub(now());
        // From well before the time to well after the erasure.
        let moment = left + Duration::from_millis(rand::rng().random_range(0..120));
        sleep(moment.saturating_sub(Duration::from_millis(30))).await;
        if round % 3 == 2 {
            nats.kill();
            nats.start_again();
        } else {
            one.kill();
        }
        eventually("both are out", async || {
            let Ok(mut reader) = other.subscribe(everything()).await else {
                return false;
            };
            seen_all(&mut reader).await == Some(expected.len())
        })
        .await;
        if round % 3 != 2 {
            one.start_again().await;
        }
    }
    nothing_is_left_over(&nats.client().await).await;
    for node in [&one, &other] {
        let history = history(node).await;
        assert_eq!(history.len(), expected.len());
        assert!(history.is_sorted_by_key(|delivery| seq(&delivery.cursor)));
        for (uri, until, marker) in &expected {
            let mut found = history.iter().filter(|one| article_of(one).uri == *uri);
            let delivery = found.next().unwrap();
            assert!(found.next().is_none(), "{uri} twice");
            assert_eq!((delivery.revision, action(delivery)), (1, Action::Publish));
            assert!(contains(&delivery.article, marker));
            assert!(
                since_1970(delivery.published_at.unwrap()) >= *until,
                "{uri}"
            );
        }
    }
}

/// How many deliveries a history has; none if it breaks.
async fn seen_all(reader: &mut Reader) -> Option<usize> {
    use barid::wire::proto::v1::subscribe_response::Frame;
    let mut count = 0;
    loop {
        match timeout(LIMIT, reader.next()).await.ok()?.ok()? {
            Frame::Delivery(_) => count += 1,
            Frame::CaughtUp(_) => return Some(count),
            _ => {}
        }
    }
}

/// The node that took a draft dies before the time: another one releases it, a little later at most.
#[tokio::test(flavor = "multi_thread")]
async fn another_node_takes_over() {
    let nats = Nats::start().await;
    let mut one = Node::start_with(&["--nats-url", &nats.url()]);
    let other = Node::start_with(&["--nats-url", &nats.url()]);
    let mut live = other.subscribe(SubscribeRequest::default()).await.unwrap();
    live.caught_up().await;
    submit(&one, draft("test:a", "x", Duration::from_secs(1))).await;
    one.kill();
    assert_eq!(article_of(&live.delivery().await).uri, "test:a");
    nothing_is_left_over(&nats.client().await).await;
    assert!(list(&other).await.is_empty());
}

/// What one node is told every node goes by: a draft that was moved or erased on one is not released by
/// another at the former time.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_go_by_one_log() {
    let nats = Nats::start().await;
    let one = Node::start_with(&["--nats-url", &nats.url()]);
    let other = Node::start_with(&["--nats-url", &nats.url()]);
    let until = Duration::from_millis(800);
    let mut kept = Vec::new();
    for number in 0..20 {
        let uri = format!("test:{number}");
        let id = submit(&one, draft(&uri, "x", until)).await.article_id;
        let changed = match number % 3 {
            0 => move_to(&other, &id, ahead(LATER), 0).await.map(drop),
            1 => cancel(&other, &id, 0).await,
            _ => Ok(()),
        };
        // It may have been out by then; then it is.
        match changed {
            Ok(()) if number % 3 != 2 => {}
            _ => kept.push(uri),
        }
    }
    kept.sort();
    eventually("the rest is out", async || {
        history(&one).await.len() >= kept.len()
    })
    .await;
    sleep(until).await;
    let mut uris: Vec<String> = (history(&other).await.iter())
        .map(|one| article_of(one).uri)
        .collect();
    uris.sort();
    assert_eq!(uris, kept);
}

/// `POST /v1/articles` with embargoedUntil is accepted, and has nothing to be got yet.
#[tokio::test]
async fn drafts_over_http() {
    let node = Node::start();
    let until = jiff::Timestamp::now() + Duration::from_secs(3600);
    let ninjs = |status: &str| {
        json!({
            "uri": "test:a", "language": "en", "pubStatus": status, "edNote": "why",
            "headlines": [{"value": "A headline"}], "embargoedUntil": until.to_string(),
        })
        .to_string()
    };
    let post = async |id: &str, status: &str| {
        let headers = [
            ("content-type", "application/json"),
            ("idempotency-key", id),
        ];
        let body = ninjs(status);
        send(&node.http, Method::POST, "/v1/articles", &headers, body).await
    };
    let id = new_id();
    for is_duplicate in [false, true] {
        let answer = post(&id, "usable").await;
        assert_eq!(answer.status, StatusCode::ACCEPTED);
        assert_eq!((answer.header("etag"), answer.header("location")), ("", ""));
        let said = answer.json();
        assert_eq!(said["revision"], 0);
        assert_eq!(said["duplicate"], is_duplicate);
        let shown: jiff::Timestamp = said["embargoed_until"].as_str().unwrap().parse().unwrap();
        assert_eq!(shown, until);
    }
    // A withdrawal takes effect at once, whatever it says of an embargo.
    let answer = post(&new_id(), "canceled").await;
    assert_eq!((answer.status, answer.header("etag")), (StatusCode::OK, ""));
    assert_eq!(answer.json()["revision"], 0);
    assert!(list(&node).await.is_empty());
}

/// The command line shows and changes what waits.
#[tokio::test(flavor = "multi_thread")]
async fn drafts_on_the_command_line() {
    let node = Node::start();
    let server = crate::command_line::server(&node);
    let run = |args: &[&str]| {
        let mut all = vec!["embargo"];
        all.extend(args);
        all.push(&server);
        crate::command_line::run(&all, b"")
    };
    let until = jiff::Timestamp::now() + Duration::from_secs(3600);
    let mut story = crate::command_line::ninjs("test:a", "A secret headline");
    story["embargoedUntil"] = json!(until.to_string());
    let args = ["publish", "-", &server];
    let said = crate::command_line::run(&args, story.to_string().as_bytes());
    assert!(
        said.stdout.starts_with("embargoed "),
        "{} {}",
        said.stdout,
        said.stderr
    );
    let listed = run(&["list"]).stdout;
    assert!(listed.contains("A secret headline") && listed.contains("scheduled"));
    let shown = run(&["show", "test:a", "--output", "json"]).stdout;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["article"]["uri"], "test:a");
    let version = shown["version"].to_string();
    let moved = run(&["move", "test:a", "2h", "--version-is", &version]).stdout;
    assert!(moved.starts_with("moved "), "{moved}");
    let stale = run(&["cancel", "test:a", "--version-is", &version]);
    assert_eq!(stale.code, Some(1), "{}", stale.stderr);
    let released = run(&["release", "test:a"]).stdout;
    assert!(released.contains("revision 1"), "{released}");
    let gone = run(&["show", "test:a"]);
    assert_eq!(gone.code, Some(1));
    assert!(gone.stderr.contains("there is no draft"), "{}", gone.stderr);
}
