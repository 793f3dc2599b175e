//! The desk's pages as bytes: drafts under embargo, subscriptions, webhooks, recalls; whose each sees;
//! and what becomes of forms whose session is over. What they do in a browser is tested there.

use std::time::Duration;

use barid::wire::proto::v1::{Action, Role, WebhookState};
use http::{Method, StatusCode};
use jiff::Timestamp;

use crate::{
    access::{Caller, gazette, story},
    durable::{Bot, named},
    embargoes::{ahead, cancel, draft, list, move_to, submit},
    harness::{Node, article, eventually, filter, noted},
    http_articles::{Answer, get, send},
    sessions::begin,
    status::form,
    webhooks::{CALLS, Hooks, receiver::Receiver, wanting},
};

const HOUR: Duration = Duration::from_secs(3600);
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const PAGE: (&str, &str) = ("accept", "text/html");
const OURS: (&str, &str) = ("sec-fetch-site", "same-origin");

/// The value of a page's first hidden field of this name.
pub fn hidden(page: &Answer, name: &str) -> String {
    let begin = format!("name=\"{name}\" value=\"");
    let (_, rest) = page.text().split_once(&begin).unwrap_or_else(|| {
        panic!("no field {name}: {}", page.text());
    });
    let value = rest.split('"').next().unwrap();
    value.replace("&quot;", "\"").replace("&amp;", "&")
}

/// A time as a form has it, so many seconds from now.
pub fn written(seconds: i64) -> String {
    let at = Timestamp::from_second(crate::access::now() + seconds).unwrap();
    at.strftime("%Y-%m-%dT%H:%M").to_string()
}

/// Drafts are moved, released and erased in forms that say which draft they mean, and are refused
/// with what was written still in them.
#[tokio::test]
async fn drafts_are_changed_in_forms() {
    let node = Node::start();
    let held = submit(&node, draft("test:form", "marker", HOUR)).await;
    let path = format!("/desk/embargoes/{}", held.article_id);
    let queue = get(&node, "/desk/embargoes").await;
    assert!(queue.text().contains(&path), "{}", queue.text());
    let page = get(&node, &path).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(
        page.text().contains("before marker after"),
        "{}",
        page.text()
    );
    let version = hidden(&page, "version");
    let post = async |act: &str, version: &str, more: &[(&str, &str)]| {
        let fields = [&[("act", act), ("version", version)], more].concat();
        form(&node, &path, &[], &fields).await
    };

    // Without a version, with one that is none, without an act: nothing is done.
    let later = written(7200);
    for (act, version, status) in [
        ("move", "", StatusCode::CONFLICT),
        ("release", "0", StatusCode::CONFLICT),
        ("move", "x", StatusCode::CONFLICT),
        ("burn", version.as_str(), StatusCode::BAD_REQUEST),
    ] {
        let more = [("until", later.as_str()), ("confirm", "yes")];
        assert_eq!(
            post(act, version, &more).await.status,
            status,
            "{act} {version}"
        );
    }
    // A time that is over, and texts that are none.
    let past = written(-7200);
    for (until, said) in [
        (past.as_str(), "Give a time in the future"),
        ("", "Give a day and an hour in the future"),
        ("tomorrow", "is no time. Give day and hour"),
        ("2026-13-40T99:99", "is no time. Give day and hour"),
    ] {
        let refused = post("move", &version, &[("until", until)]).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{until}");
        let text = refused.text();
        assert!(text.contains(said), "{text}");
        assert!(
            text.contains(&format!("name=\"until\" value=\"{until}\"")),
            "{text}"
        );
    }
    for act in ["release", "cancel"] {
        let refused = post(act, &version, &[]).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{act}");
        assert!(
            refused.text().contains("Tick the box"),
            "{}",
            refused.text()
        );
    }
    assert_eq!(list(&node).await[0].embargoed_until, held.embargoed_until);

    // As it stands in the form it stays, to the nanosecond; another is another.
    let same = hidden(&page, "until");
    let kept = post("move", &version, &[("until", &same)]).await;
    assert_eq!(kept.status, StatusCode::SEE_OTHER, "{}", kept.text());
    assert_eq!(list(&node).await[0].embargoed_until, held.embargoed_until);
    let moved = post("move", &version, &[("until", &later)]).await;
    assert_eq!(moved.header("location"), format!("{path}?did=move"));
    let shown = get(&node, moved.header("location")).await;
    assert!(
        shown.text().contains("Moved. It goes out:"),
        "{}",
        shown.text()
    );
    assert_eq!(hidden(&shown, "until"), later);

    // Whoever looked at it before hears so, keeps what was written, and can send it again.
    let mine = written(10_800);
    for (act, more) in [
        ("move", ("until", mine.as_str())),
        ("release", ("confirm", "yes")),
        ("cancel", ("confirm", "yes")),
    ] {
        let refused = post(act, &version, &[more]).await;
        assert_eq!(refused.status, StatusCode::CONFLICT, "{act}");
        let text = refused.text();
        assert!(
            text.contains("somebody changed this draft meanwhile"),
            "{text}"
        );
        if act == "move" {
            assert_eq!(hidden(&refused, "until"), mine);
            let newer = hidden(&refused, "version");
            let again = post("move", &newer, &[more]).await;
            assert_eq!(again.status, StatusCode::SEE_OTHER, "{}", again.text());
        }
    }
    assert_eq!(list(&node).await.len(), 1);

    let version = list(&node).await[0].version.to_string();
    let out = post("release", &version, &[("confirm", "yes")]).await;
    let place = format!("/desk/articles/{}?done=1", held.article_id);
    assert_eq!(out.header("location"), place);
    let story = get(&node, &place).await;
    assert!(story.text().contains("before marker after"));
    // There is nothing left to move; what was written is still said.
    let late = post("move", &version, &[("until", &mine)]).await;
    assert_eq!(late.status, StatusCode::NOT_FOUND);
    assert!(
        late.text().contains(&mine) && late.text().contains("no draft any more"),
        "{}",
        late.text()
    );
    assert_eq!(get(&node, &path).await.status, StatusCode::NOT_FOUND);

    let other = submit(&node, draft("test:cancel", "other", HOUR)).await;
    let path = format!("/desk/embargoes/{}", other.article_id);
    let version = list(&node).await[0].version.to_string();
    let fields = [
        ("act", "cancel"),
        ("version", version.as_str()),
        ("confirm", "yes"),
    ];
    let gone = form(&node, &format!("{path}?ui=ar"), &[], &fields).await;
    assert_eq!(gone.header("location"), "/desk/embargoes?did=cancel&ui=ar");
    assert!(list(&node).await.is_empty());
    let said = get(&node, gone.header("location")).await;
    assert!(said.text().contains("مُحيت المسودة"), "{}", said.text());
}

/// What a typing error would send to everybody at once, or put over another story, is refused at its
/// field; a draft that can't go out does not say that it will.
#[tokio::test]
async fn new_stories_are_checked() {
    let node = Node::start();
    let sent_as = async |id: &str, more: &[(&str, &str)]| {
        let fields = [
            ("request_id", id),
            ("headline", "Budget"),
            ("language", "en"),
            ("urgency", "5"),
        ];
        form(&node, "/desk/new", &[], &[&fields[..], more].concat()).await
    };
    let sent = async |more: &[(&str, &str)]| sent_as(&crate::harness::new_id(), more).await;
    let revisions = async || {
        let list = get(&node, "/v1/articles").await;
        let articles = list.json()["articles"].as_array().unwrap().clone();
        let versions = articles.iter().map(|one| one["version"].clone());
        versions.collect::<Vec<_>>()
    };
    let past = written(-60);
    for field in ["embargoed_until", "expires"] {
        let refused = sent(&[(field, &past)]).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{field}");
        let page = refused.text();
        assert!(
            page.contains("is over already") && page.contains(&past),
            "{page}"
        );
    }
    assert!(revisions().await.is_empty());

    let uri = ("uri", "test:same");
    // The same form again, as after an answer that was lost, is the same story.
    let id = crate::harness::new_id();
    let first = sent_as(&id, &[uri]).await;
    assert_eq!(first.status, StatusCode::SEE_OTHER);
    let again = sent_as(&id, &[uri]).await;
    assert_eq!(again.header("location"), first.header("location"));
    let refused = sent(&[uri]).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let page = refused.text();
    assert!(page.contains("Another story has this identifier"), "{page}");
    assert_eq!(revisions().await, ["1"]);

    // A draft is not replaced by who has not said so, and the form that made it may come again.
    let (until, id) = (written(3600), crate::harness::new_id());
    let held = [("uri", "test:held"), ("embargoed_until", until.as_str())];
    for _ in 0..2 {
        let kept = sent_as(&id, &held).await;
        assert_eq!(kept.status, StatusCode::SEE_OTHER, "{}", kept.text());
    }
    let version = list(&node).await[0].version;
    let refused = sent(&held).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let page = refused.text();
    assert!(
        page.contains("A draft under embargo has this identifier") && page.contains("f-confirm"),
        "{page}"
    );
    assert_eq!(list(&node).await[0].version, version);
    // Confirmed is the one that was shown, and no other that came since.
    for (replaces, status) in [
        (version - 1, StatusCode::UNPROCESSABLE_ENTITY),
        (version, StatusCode::SEE_OTHER),
    ] {
        let replaces = replaces.to_string();
        let more = [("confirm", "yes"), ("replaces", &*replaces)];
        let other = sent(&[&held[..], &more].concat()).await;
        assert_eq!(other.status, status, "{}", other.text());
    }
    let drafts = list(&node).await;
    assert!(drafts.len() == 1 && drafts[0].version != version);
    // Of two who have seen the same one is too late, however fast.
    let replaces = drafts[0].version.to_string();
    let shown = [("confirm", "yes"), ("replaces", &*replaces)];
    let both = [held[0], held[1], shown[0], shown[1]];
    let (one, other) = tokio::join!(sent(&both), sent(&both));
    let mut statuses = [one.status, other.status];
    statuses.sort();
    assert_eq!(
        statuses,
        [StatusCode::SEE_OTHER, StatusCode::UNPROCESSABLE_ENTITY]
    );
    // Likewise where it waits for a story that is there.
    let waiting = submit(&node, draft("test:same", "next", HOUR)).await;
    let update = format!("/desk/articles/{}/update", waiting.article_id);
    let page = get(&node, &update).await;
    let seen = hidden(&page, "seen");
    let id = crate::harness::new_id();
    let fields = [
        ("request_id", &*id),
        ("seen", &seen),
        ("headline", "Mine"),
        ("urgency", "5"),
        ("embargoed_until", &until),
    ];
    let refused = form(&node, &update, &[], &fields).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let page = refused.text();
    assert!(
        page.contains("A draft of this story waits already"),
        "{page}"
    );
    let replaces = hidden(&refused, "replaces");
    let more = [("confirm", "yes"), ("replaces", &*replaces)];
    let replaced = form(&node, &update, &[], &[&fields[..], &more].concat()).await;
    assert_eq!(
        replaced.status,
        StatusCode::SEE_OTHER,
        "{}",
        replaced.text()
    );
    cancel(&node, &waiting.article_id, 0).await.unwrap();
    // A form that has been sent is another one with another text.
    let first = sent_as(&id, &[("uri", "test:reused")]).await;
    assert_eq!(first.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_ne!(hidden(&first, "request_id"), id);
    let never = [held[1], ("expires", until.as_str())];
    let refused = sent(&never).await;
    let page = refused.text();
    assert!(page.contains("nobody would ever see it"), "{page}");
    let status = move_to(&node, &drafts[0].article_id, ahead(HOUR * 2), 0).await;
    assert!(status.is_ok());
    cancel(&node, &drafts[0].article_id, 0).await.unwrap();

    // A draft that follows a revision which another one has followed meanwhile.
    let held = submit(&node, draft("test:same", "next", HOUR)).await;
    let path = format!("/desk/embargoes/{}", held.article_id);
    let update = noted("test:same", "faster");
    node.publish(Action::Update, update).await.unwrap();
    eventually("the draft is blocked", async || {
        get(&node, &path)
            .await
            .text()
            .contains("It does not go out")
    })
    .await;
    let version = list(&node).await[0].version.to_string();
    let later = written(7200);
    let fields = [
        ("act", "move"),
        ("version", version.as_str()),
        ("until", later.as_str()),
    ];
    let moved = form(&node, &path, &[], &fields).await;
    let page = get(&node, moved.header("location")).await;
    assert!(
        page.text().contains("It does not go out") && !page.text().contains("Moved."),
        "{}",
        page.text()
    );
}

/// Drafts are listed a page at a time, and one that the command line has moved on since its form was
/// opened is not cancelled by it.
#[tokio::test]
async fn drafts_are_listed_in_pages() {
    let node = Node::start();
    for number in 0..101 {
        submit(
            &node,
            draft(&format!("test:{number}"), &format!("m{number}-"), HOUR),
        )
        .await;
    }
    let first = get(&node, "/desk/embargoes").await;
    assert!(first.text().contains("headline m0-") && !first.text().contains("headline m100-"));
    let (_, link) = first.text().split_once("rel=\"next\" href=\"").unwrap();
    let link = link.split('"').next().unwrap().replace("&amp;", "&");
    let second = get(&node, &link).await;
    assert!(second.text().contains("headline m100-") && !second.text().contains("headline m0-"));
    // The same draft as another saw it, moved by the command line's way.
    let one = list(&node).await.remove(0);
    move_to(&node, &one.article_id, ahead(2 * HOUR), one.version)
        .await
        .unwrap();
    let path = format!("/desk/embargoes/{}", one.article_id);
    let version = one.version.to_string();
    let fields = [
        ("act", "cancel"),
        ("version", version.as_str()),
        ("confirm", "yes"),
    ];
    let refused = form(&node, &path, &[], &fields).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
}

struct Wire {
    node: Node,
    desk: Caller,
}

impl Wire {
    /// Two partners of ict.
    async fn start() -> Self {
        let node = Node::start_with_keys(&CALLS);
        let desk = Caller::desk(&node);
        for name in ["gazette", "tribune"] {
            let mut partner = gazette();
            partner.name = name.to_owned();
            desk.partner(partner).await;
        }
        Self { node, desk }
    }

    async fn key(&self, partner: &str, role: Role) -> String {
        let (_, key) = self.desk.key(partner, role, None).await;
        let caller = Caller::new(&self.node, &key);
        eventually("the node knows the key", async || {
            let request = caller.request(barid::wire::proto::v1::ListTopicsRequest {});
            caller.admin().list_topics(request).await.is_ok()
        })
        .await;
        key
    }

    async fn page(&self, key: &str, path: &str) -> Answer {
        let bearer = format!("Bearer {key}");
        let headers = [PAGE, ("authorization", bearer.as_str())];
        send(&self.node.http, Method::GET, path, &headers, "").await
    }

    async fn post(&self, key: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let bearer = format!("Bearer {key}");
        form(
            &self.node,
            path,
            &[PAGE, ("authorization", &bearer)],
            fields,
        )
        .await
    }
}

/// A subscriber sees its own partner's subscriptions and webhooks and does with them what it may by
/// gRPC; the desk sees all, and it alone who has been told of a recall.
#[tokio::test(flavor = "multi_thread")]
async fn recipients_see_their_own() {
    let wire = Wire::start().await;
    let receiver = Receiver::start();
    let desk = wire.node.key("desk");
    let [ours, theirs] = [
        wire.key("gazette", Role::Subscriber).await,
        wire.key("tribune", Role::Subscriber).await,
    ];
    let publisher = wire.key("gazette", Role::Publisher).await;
    let mut bots = Vec::new();
    let mut hooks = Vec::new();
    for (name, key) in [("ours", &ours), ("theirs", &theirs)] {
        let caller = Caller::new(&wire.node, key);
        let request = named(name, filter(&["ict"]));
        bots.push(
            Bot::open_as(&wire.node, request, Some(&caller))
                .await
                .unwrap(),
        );
        let owner = Hooks::keyed(&wire.node, key);
        let hook = owner.add(&receiver, name, wanting(filter(&["ict"]))).await;
        hooks.push((owner, hook));
    }
    let id = wire
        .desk
        .publish(story("test:told", &["ict"]))
        .await
        .unwrap();
    bots[0].reader.caught_up().await;
    let delivery = bots[0].reader.delivery().await;
    let caller = Caller::new(&wire.node, &ours);
    let done = bots[0].acknowledge_as(&wire.node, &delivery.cursor, Some(&caller));
    done.await.unwrap();

    let list = "/desk/subscriptions";
    let mine = wire.page(&ours, list).await;
    assert_eq!(mine.status, StatusCode::OK);
    assert!(mine.text().contains(">ours<") && !mine.text().contains(">theirs<"));
    assert!(mine.text().contains(&delivery.cursor), "{}", mine.text());
    let all = wire.page(&desk, list).await;
    assert!(all.text().contains(">ours<") && all.text().contains(">theirs<"));
    let one = wire
        .page(&desk, "/desk/subscriptions?partner=tribune")
        .await;
    assert!(!one.text().contains(">ours<") && one.text().contains(">theirs<"));
    // Theirs has acknowledged nothing.
    assert!(one.text().contains("1 articles"), "{}", one.text());
    for (key, path, status, reason) in [
        (
            &ours,
            "/desk/subscriptions?partner=tribune",
            403,
            "ROLE_MISSING",
        ),
        (&publisher, list, 403, "ROLE_MISSING"),
        (&publisher, "/desk/webhooks", 403, "ROLE_MISSING"),
        (&ours, "/desk/embargoes", 403, "ROLE_MISSING"),
        (&desk, "/desk/subscriptions?page=.", 400, "FIELD_INVALID"),
        (&desk, "/desk/webhooks?page=x", 400, "FIELD_INVALID"),
        (&desk, "/desk/webhooks?partner=X", 400, "FIELD_INVALID"),
        (&desk, "/desk/webhooks/nonsense", 400, "FIELD_INVALID"),
    ] {
        let refused = wire.page(key, path).await;
        assert_eq!(refused.status.as_u16(), status, "{path}");
        assert!(
            refused.text().contains(reason),
            "{path}: {}",
            refused.text()
        );
    }

    let (owner, hook) = &hooks[0];
    let path = format!("/desk/webhooks/{}", hook.id);
    let mine = wire.page(&ours, "/desk/webhooks").await;
    assert!(mine.text().contains("/ours</a>") && !mine.text().contains("/theirs"));
    let other = wire.page(&theirs, &path).await;
    assert_eq!(other.status, StatusCode::NOT_FOUND);
    for act in ["pause", "test", "retry"] {
        let refused = wire.post(&theirs, &path, &[("act", act)]).await;
        assert_eq!(refused.status, StatusCode::NOT_FOUND, "{act}");
    }
    let paused = wire.post(&ours, &path, &[("act", "pause")]).await;
    assert_eq!(paused.header("location"), format!("{path}?did=pause"));
    let state = owner.get(&hook.id).await.unwrap().state();
    assert_eq!(state, WebhookState::Paused);
    let shown = wire.page(&ours, paused.header("location")).await;
    assert!(shown.text().contains("It is paused"), "{}", shown.text());
    wire.post(&desk, &path, &[("act", "resume")]).await;
    let state = owner.get(&hook.id).await.unwrap().state();
    assert_eq!(state, WebhookState::Active);
    let tested = wire.post(&ours, &path, &[("act", "test")]).await;
    assert_eq!(tested.status, StatusCode::OK);
    assert!(
        tested.text().contains("The test was taken"),
        "{}",
        tested.text()
    );

    for name in ["ours", "theirs"] {
        eventually("the story has reached both webhooks", async || {
            let taken = receiver.taken(name);
            let uris = taken.iter().filter_map(|taken| taken.uri.as_deref());
            uris.into_iter().any(|uri| uri == "test:told")
        })
        .await;
    }
    // Before anything is taken back there is nobody to tell.
    let told = format!("/desk/articles/{id}/recall");
    let early = wire.page(&desk, &told).await;
    assert!(early.text().contains("NOT_RECALLED"), "{}", early.text());
    let kill = barid::wire::proto::v1::PublishRequest {
        article: Some(noted("test:told", "wrong")),
        ..crate::harness::request(Action::Kill, article("test:told", ""))
    };
    wire.desk.publish(kill).await.unwrap();
    bots[0].reader.delivery().await;
    eventually("the kill has reached the webhook", async || {
        let page = wire.page(&desk, &told).await;
        let text = page.text().to_owned();
        // Both webhooks took it, one subscription was sent it.
        text.matches("<td>acknowledged</td>").count() == 2
            && text.contains("<td>sent</td>")
            && text.contains("KILLED")
    })
    .await;
    let refused = wire.page(&ours, &told).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let opened = wire
        .page(&desk, &format!("/desk/articles/{id}?done=2"))
        .await;
    assert!(
        opened.text().contains(&told) && opened.text().contains("See who has been told"),
        "{}",
        opened.text()
    );
}

/// What an endpoint refuses for good is listed with its reason, without what may be secret, and is
/// sent again from its page, once.
#[tokio::test(flavor = "multi_thread")]
async fn parked_revisions_are_sent_again() {
    let node = Node::start_with(&CALLS);
    let receiver = Receiver::start();
    let hooks = Hooks::open(&node);
    let name = "a-path-that-is-long-enough-to-be-a-secret";
    let hook = hooks.add(&receiver, name, wanting(filter(&[]))).await;
    let secret = receiver.secret(name);
    receiver.expect(name, &hook, &[&secret], &[400]);
    node.publish(Action::Publish, article("test:parked", "Parked"))
        .await
        .unwrap();
    let path = format!("/desk/webhooks/{}", hook.id);
    eventually("it is parked", async || {
        let page = get(&node, &path).await;
        page.text().contains("Send again") && page.text().contains("400")
    })
    .await;
    for path in [path.as_str(), "/desk/webhooks"] {
        let page = get(&node, path).await;
        assert!(page.text().contains("/a-path-that-…"), "{}", page.text());
        assert!(!page.text().contains("secret"), "{}", page.text());
    }
    receiver.expect(name, &hook, &[&secret], &[200]);
    let cursor = hidden(&get(&node, &path).await, "cursor");
    let wrong = form(
        &node,
        &path,
        &[],
        &[("act", "retry"), ("cursor", "aaaaaaaa-1")],
    )
    .await;
    assert_eq!(wrong.status, StatusCode::NOT_FOUND);
    assert!(wrong.text().contains("PARKED_UNKNOWN"), "{}", wrong.text());
    let fields = [("act", "retry"), ("cursor", cursor.as_str())];
    let sent = form(&node, &path, &[], &fields).await;
    assert_eq!(sent.header("location"), format!("{path}?did=retry"));
    eventually("it was taken", async || {
        let page = get(&node, &path).await;
        receiver.taken(name).len() == 1 && page.text().contains("Nothing is parked")
    })
    .await;
}

/// A form of a session that is over, or of another one, comes back on a page with what was written,
/// and is sent from there; what can't be taken back is confirmed anew.
#[tokio::test(flavor = "multi_thread")]
async fn forms_outlive_their_session() {
    let node = Node::start_with_keys(&[]);
    let (cookie, begun) = begin(&node, &node.key("desk")).await;
    let csrf = begun["csrf_token"].as_str().unwrap();
    let id = crate::harness::new_id();
    let text = "Written \"long\" ago & <kept>";
    let fields = [
        ("csrf", csrf),
        ("request_id", &id),
        ("headline", text),
        ("language", "en"),
        ("urgency", "5"),
        ("topics", "ict"),
        ("topics", "economy"),
        ("confirm", "yes"),
    ];
    let headers = [PAGE, OURS, ("cookie", cookie.as_str())];
    let escaped = "Written &quot;long&quot; ago &amp; &lt;kept&gt;";
    let published = async || {
        let bearer = format!("Bearer {}", node.key("subscriber"));
        let headers = [("authorization", bearer.as_str())];
        let list = send(&node.http, Method::GET, "/v1/articles", &headers, "").await;
        list.json()["articles"].as_array().unwrap().len()
    };

    // Of another session.
    let (_, other) = begin(&node, &node.key("desk")).await;
    let mut stale = fields;
    stale[0].1 = other["csrf_token"].as_str().unwrap();
    let refused = form(&node, "/desk/new", &headers, &stale).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let page = refused.text();
    assert!(
        page.contains("CSRF_TOKEN_INVALID") && page.contains(escaped),
        "{page}"
    );
    assert!(page.contains("action=\"/desk/new\"") && page.contains("value=\"economy\""));
    assert!(!page.contains("name=\"confirm\""), "{page}");
    assert_eq!(hidden(&refused, "csrf"), csrf);
    // A program, and the page of another, hear a problem and nothing else.
    let program = form(&node, "/desk/new", &headers[2..], &stale).await;
    assert_eq!(program.header("content-type"), "application/problem+json");
    let unsaid = form(&node, "/desk/new", &[PAGE, headers[2]], &stale).await;
    assert!(!unsaid.text().contains("kept"), "{}", unsaid.text());
    let foreign = [PAGE, headers[2], ("sec-fetch-site", "cross-site")];
    let foreign = form(&node, "/desk/new", &foreign, &fields).await;
    assert_eq!(foreign.status, StatusCode::FORBIDDEN);
    assert!(foreign.header("content-type").starts_with("text/html"));
    assert!(!foreign.text().contains("kept"), "{}", foreign.text());

    // Of a draft: which act, and what was written.
    let csrf_of_other = stale[0];
    let fields_of_draft = [
        csrf_of_other,
        ("act", "move"),
        ("version", "7"),
        ("until", "2031-05-06T07:08"),
    ];
    let path = format!("/desk/embargoes/{id}");
    let refused = form(&node, &path, &headers, &fields_of_draft).await;
    let page = refused.text();
    assert!(
        page.contains("<dd dir=\"auto\">Move</dd>") && page.contains(">2031-05-06T07:08<"),
        "{page}"
    );

    // The session ends while the form is open.
    let end = [("cookie", cookie.as_str()), ("x-csrf-token", csrf)];
    let end = send(&node.http, Method::DELETE, "/v1/session", &end, "").await;
    assert_eq!(end.status, StatusCode::NO_CONTENT);
    // By reading: a form that came before its end would be taken.
    eventually("the session has ended", async || {
        let answer = send(&node.http, Method::GET, "/desk/new", &headers, "").await;
        answer.status == StatusCode::UNAUTHORIZED
    })
    .await;
    assert_eq!(published().await, 0);
    for headers in [&headers[..], &headers[..2]] {
        let asked = form(&node, "/desk/new", headers, &fields).await;
        assert_eq!(asked.status, StatusCode::UNAUTHORIZED);
        let page = asked.text();
        assert!(
            page.contains("Your session has ended") && page.contains(escaped),
            "{page}"
        );
        assert!(
            page.contains("name=\"kept:headline\"") && !page.contains(csrf),
            "{page}"
        );
        assert_eq!(hidden(&asked, "target"), "/desk/new");
    }
    let foreign = form(
        &node,
        "/desk/new",
        &[PAGE, ("sec-fetch-site", "cross-site")],
        &fields,
    );
    assert!(!foreign.await.text().contains("kept:"));
    let long = "x".repeat(600 * 1024);
    let lost = form(&node, "/desk/new", &[PAGE, OURS], &[("body", &long)]).await;
    assert_eq!(lost.status, StatusCode::UNAUTHORIZED);
    assert!(
        lost.text().contains("too long to be kept"),
        "{}",
        lost.text()
    );

    // A wrong key keeps it; the right one leads to the page from which it is sent.
    let key = node.key("desk");
    let enter = async |key: &str| {
        let carried = [
            ("target", "/desk/new"),
            ("key", key),
            ("kept:request_id", &id),
            ("kept:headline", text),
            ("kept:language", "en"),
            ("kept:urgency", "5"),
        ];
        form(&node, "/desk/session", &[PAGE, OURS], &carried).await
    };
    let wrong = enter("barid_nonsense").await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert!(wrong.text().contains(escaped) && wrong.text().contains("KEY_INVALID"));
    let entered = enter(&key).await;
    assert_eq!(entered.status, StatusCode::OK);
    assert!(entered.text().contains(escaped), "{}", entered.text());
    let cookie = crate::sessions::cookie(&entered.headers);
    let fresh = hidden(&entered, "csrf");
    let again = [
        ("csrf", fresh.as_str()),
        ("request_id", &id),
        ("headline", text),
        ("language", "en"),
        ("urgency", "5"),
    ];
    let sent = form(
        &node,
        "/desk/new",
        &[PAGE, OURS, ("cookie", &cookie)],
        &again,
    )
    .await;
    assert_eq!(sent.status, StatusCode::SEE_OTHER, "{}", sent.text());
    assert_eq!(published().await, 1);
}

/// Where this machine reads without a key, a form of a session that is over is kept, too.
#[tokio::test(flavor = "multi_thread")]
async fn forms_outlive_their_session_where_reading_is_free() {
    let node = Node::start_with_keys(&["--local-reads-without-key"]);
    let fields = [("headline", "Written long ago"), ("language", "en")];
    let asked = form(&node, "/desk/new", &[PAGE, OURS], &fields).await;
    assert_eq!(asked.status, StatusCode::UNAUTHORIZED);
    assert!(
        asked.text().contains("name=\"kept:headline\""),
        "{}",
        asked.text()
    );
}

/// A proxy that asks by another name does not make our own pages foreign, and opens to no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_before_us_is_known() {
    let node = Node::start_with_keys(&["--public-url", "https://wire.example"]);
    let (cookie, begun) = begin(&node, &node.key("desk")).await;
    let csrf = begun["csrf_token"].as_str().unwrap();
    let cookie = ("cookie", cookie.as_str());
    for (origin, status) in [
        ("https://wire.example", StatusCode::SEE_OTHER),
        ("http://barid.test", StatusCode::SEE_OTHER),
        ("http://wire.example", StatusCode::FORBIDDEN),
        ("https://wire.example:444", StatusCode::FORBIDDEN),
        ("https://desk.wire.example", StatusCode::FORBIDDEN),
        ("https://wire.example.evil.example", StatusCode::FORBIDDEN),
        ("null", StatusCode::FORBIDDEN),
    ] {
        let id = crate::harness::new_id();
        let fields = [
            ("csrf", csrf),
            ("request_id", &id),
            ("headline", origin),
            ("language", "en"),
            ("urgency", "5"),
        ];
        let sent = form(&node, "/desk/new", &[cookie, ("origin", origin)], &fields).await;
        assert_eq!(sent.status, status, "{origin}: {}", sent.text());
    }
    // Logging in through it, too.
    let key = node.key("desk");
    for (origin, status) in [
        ("https://wire.example", StatusCode::SEE_OTHER),
        ("https://evil.example", StatusCode::FORBIDDEN),
    ] {
        let fields = [("target", "/"), ("key", key.as_str())];
        let entered = form(&node, "/desk/session", &[("origin", origin)], &fields).await;
        assert_eq!(entered.status, status, "{origin}");
    }
    // Without the setting it is a stranger.
    let other = Node::start_with_keys(&[]);
    let headers = [FORM, ("origin", "https://wire.example")];
    let body = format!("target=%2F&key={}", other.key("desk"));
    let refused = send(&other.http, Method::POST, "/desk/session", &headers, body).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
}
