//! Nodes that hear nothing of what others write: each consumer of theirs may be gone with the server
//! that it was on, of which only a silence tells.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use async_nats::jetstream;
use barid::wire::proto::v1::{Action, RecallState, Role, subscribe_response::Frame};
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::Code;

use crate::{
    access::{Caller, gazette, story},
    durable::{Bot, named},
    harness::{LIMIT, Node, article_of, eventually, everything, filter, refusal, seq},
    nats::Nats,
    recalls::{Endpoint, SLOW, add, health, publish, states},
    web,
    webhooks::{CALLS, Hooks},
};

/// In how long a node hears again, or is silent itself: some tenths of seconds longer than it takes
/// when nothing is amiss. By itself NATS' client notices after ten seconds.
const NOTICES: Duration = Duration::from_secs(3);

/// Ends all consumers that there are of a bucket.
async fn deafen(client: &async_nats::Client, bucket: &str) {
    let stream = jetstream::new(client.clone());
    let stream = stream.get_stream(format!("KV_{bucket}")).await.unwrap();
    let consumers: Vec<String> = stream.consumer_names().try_collect().await.unwrap();
    assert!(!consumers.is_empty(), "nobody follows {bucket}");
    for consumer in consumers {
        stream.delete_consumer(&consumer).await.unwrap();
    }
}

/// A stream that was taken over elsewhere, under another filter, sends nothing more that nobody knows
/// of: the story's kill would reach nobody, and nobody would know that it must.
#[tokio::test(flavor = "multi_thread")]
async fn a_former_stream_is_silent_though_nobody_tells_it() {
    let nats = Nats::start().await;
    let one = Node::start_with(&["--nats-url", &nats.url()]);
    publish(&one, Action::Publish, "test:first").await;
    let mut former = Bot::open(&one, named("bot", filter(&["ict"])))
        .await
        .unwrap();
    let first = former.reader.delivery().await.cursor;
    former.acknowledge(&one, &first).await.unwrap();
    former.reader.caught_up().await;
    let other = Node::start_with(&["--nats-url", &nats.url()]);
    deafen(&nats.client().await, "barid-subscriptions").await;

    let mut bot = Bot::open(&other, named("bot", filter(&["economy"])))
        .await
        .unwrap();
    let since = Instant::now();
    publish(&other, Action::Publish, "test:second").await;
    let status = loop {
        match timeout(LIMIT, former.reader.next()).await.unwrap() {
            Ok(Frame::Delivery(delivery)) => panic!("{}", article_of(&delivery).uri),
            Ok(_) => {}
            Err(status) => break status,
        }
    };
    assert!(since.elapsed() < NOTICES, "{:?}", since.elapsed());
    assert_eq!(refusal(&status).1, "SUBSCRIPTION_TAKEN_OVER");
    bot.reader.caught_up().await;
    // The stream that counts is not held up for long, either.
    let kill = publish(&other, Action::Kill, "test:first").await;
    assert_eq!(bot.reader.delivery().await.cursor, kill);
    publish(&other, Action::Kill, "test:second").await;
    for node in [&one, &other] {
        let state = states(node, "test:second").await["bot"];
        assert_eq!(state, RecallState::NeverHad);
    }
}

/// What a node says of a recall counts what others have written before it is asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_recall_knows_of_whom_another_node_has_sent_it() {
    let nats = Nats::start().await;
    let nodes = [(); 2].map(|()| Node::start_with(&["--nats-url", &nats.url()]));
    publish(&nodes[0], Action::Publish, "test:story").await;
    let client = nats.client().await;
    deafen(&client, "barid-subscriptions").await;
    let mut bot = Bot::open(&nodes[1], named("bot", filter(&["ict"])))
        .await
        .unwrap();
    bot.reader.delivery().await;
    bot.reader.caught_up().await;
    let kill = publish(&nodes[1], Action::Kill, "test:story").await;
    bot.reader.delivery().await;
    bot.acknowledge(&nodes[1], &kill).await.unwrap();
    for node in &nodes {
        let states = states(node, "test:story").await;
        assert_eq!(states.get("bot"), Some(&RecallState::Acknowledged));
    }
}

/// Entries that change while a node reads them anew come later, or not as they were: that is no reason
/// to end a stream, nor to leave anybody out of a recall.
#[tokio::test(flavor = "multi_thread")]
async fn what_changes_as_it_is_read_anew_is_not_lost() {
    const BOTS: usize = 40;
    /// So many that reading them takes a while.
    const OTHERS: usize = 20_000;
    const CUTS: usize = 3;
    let nats = Nats::start().await;
    let node = Node::start_with(&["--nats-url", &nats.url()]);
    publish(&node, Action::Publish, "test:story").await;
    let mut bots = Vec::new();
    for number in 0..BOTS {
        let name = format!("bot-{number}");
        let mut bot = Bot::open(&node, named(&name, filter(&["ict"])))
            .await
            .unwrap();
        bot.reader.delivery().await;
        bot.reader.caught_up().await;
        bots.push((name, bot.reader));
    }
    publish(&node, Action::Kill, "test:story").await;
    for (_, reader) in &mut bots {
        reader.delivery().await;
    }

    let client = nats.client().await;
    let bucket = jetstream::new(client.clone());
    let bucket = bucket.get_key_value("barid-subscriptions").await.unwrap();
    let entry = bucket.get("_.bot-0").await.unwrap().unwrap();
    let fill = futures_util::stream::iter(0..OTHERS).map(|number| {
        let (bucket, entry) = (&bucket, entry.clone());
        async move { bucket.put(format!("other.{number}"), entry).await.unwrap() }
    });
    fill.buffer_unordered(100).count().await;
    // As another node writes that takes acknowledgements: the same again and again.
    let mut writers = JoinSet::new();
    for (name, _) in &bots {
        let (bucket, key) = (bucket.clone(), format!("_.{name}"));
        writers.spawn(async move {
            let entry = bucket.get(&key).await.unwrap().unwrap();
            loop {
                bucket.put(&key, entry.clone()).await.unwrap();
            }
        });
    }

    for cut in 0..CUTS {
        deafen(&client, "barid-subscriptions").await;
        // Within this it follows again.
        let until = Instant::now() + Duration::from_millis(1500);
        while Instant::now() < until {
            let found = states(&node, "test:story").await;
            for (name, _) in &bots {
                assert_eq!(found.get(name), Some(&RecallState::Sent), "{cut}: {name}");
            }
        }
        let news = publish(&node, Action::Publish, &format!("test:{cut}")).await;
        for (name, reader) in &mut bots {
            match reader.next_of_substance().await {
                Ok(Frame::Delivery(delivery)) => assert_eq!(delivery.cursor, news, "{name}"),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}

/// What was purged leaves no mark, of which anybody would hear: whoever learns of it by asking ends what
/// is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_whose_entry_was_purged() {
    let nats = Nats::start().await;
    let node = Node::start_with(&["--nats-url", &nats.url()]);
    let cursor = publish(&node, Action::Publish, "test:story").await;
    let mut bot = Bot::open(&node, named("bot", filter(&["ict"])))
        .await
        .unwrap();
    bot.reader.delivery().await;
    bot.reader.caught_up().await;
    let stream = jetstream::new(nats.client().await);
    let stream = stream.get_stream("KV_barid-subscriptions").await.unwrap();
    stream.purge().await.unwrap();
    let gone = (Code::NotFound, "SUBSCRIPTION_UNKNOWN".to_owned());
    let refused = bot.acknowledge(&node, &cursor).await.unwrap_err();
    assert_eq!(refusal(&refused), gone);
    let end = bot.reader.next_of_substance().await.unwrap_err();
    assert_eq!(refusal(&end), gone);
    publish(&node, Action::Kill, "test:story").await;
    assert!(states(&node, "test:story").await.is_empty());
}

/// A node that can't know its recipients says so, serves all others, and does not fill its log with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_says_that_it_knows_not_all_recipients() {
    const OVER: Duration = Duration::from_secs(4);
    let mut nats = Nats::start().await;
    let node = Node::start_with(&["--nats-url", &nats.url()]);
    let known = async || {
        let (status, said) = web::readiness(&node).await;
        assert_eq!((status.as_u16(), &said["ready"]), (200, &true.into()));
        said["recipients"]["caught_up"].as_bool().unwrap()
    };
    let age = async || web::metric_of(&node, "barid_recipients_confirmed_age_seconds", "").await;
    eventually("all recipients are known", known).await;
    let mut bot = Bot::open(&node, named("bot", filter(&["ict"])))
        .await
        .unwrap();
    bot.reader.caught_up().await;
    let mut reader = node.subscribe(everything()).await.unwrap();
    reader.caught_up().await;
    let client = jetstream::new(nats.client().await);
    let stream = "KV_barid-subscriptions";
    client.delete_stream(stream).await.unwrap();
    eventually("it says that it does not", async || !known().await).await;
    nats.kill();
    nats.start_again();
    let story = publish(&node, Action::Publish, "test:story").await;
    assert_eq!(reader.delivery().await.cursor, story);
    let silent = timeout(OVER, bot.reader.next_of_substance()).await;
    assert!(silent.is_err(), "{silent:?}");
    let (_, said) = web::readiness(&node).await;
    let known_ago = said["recipients"]["confirmed_age_seconds"].as_f64();
    // Nothing is confirmed meanwhile: it only grows.
    assert!((OVER.as_secs_f64()..=age().await).contains(&known_ago.unwrap()));
    let complaints = node
        .log()
        .matches("subscriptions can't be followed")
        .count();
    assert!((1..=12).contains(&complaints), "{complaints}");
}

/// A revoked key's streams end on every node, also where nobody is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_ends_though_nobody_tells() {
    let one = Node::start_with_keys(&[]);
    let other = Node::start_with_keys(&["--nats-url", &one.nats_url()]);
    let desk = Caller::desk(&one);
    desk.partner(gazette()).await;
    let (id, key) = desk.key("gazette", Role::Subscriber, None).await;
    let caller = Caller::new(&other, &key);
    let mut reader = None;
    // The key is on its way to that node.
    eventually("a stream", async || {
        reader = caller.subscribe(everything()).await.ok();
        reader.is_some()
    })
    .await;
    let mut reader = reader.unwrap();
    reader.caught_up().await;
    deafen(&one.nats_owner().await, "barid-partners").await;
    desk.revoke(&id).await;
    let since = Instant::now();
    let status = timeout(LIMIT, reader.next()).await.unwrap().unwrap_err();
    assert!(since.elapsed() < NOTICES, "{:?}", since.elapsed());
    assert_eq!(
        refusal(&status),
        (Code::Unauthenticated, "KEY_INVALID".to_owned())
    );
    desk.publish(story("test:1", &["ict"])).await.unwrap();
}

/// What a node could not let go, because NATS was away when another node came, it lets go later:
/// nobody else works it as long as that node lives.
#[tokio::test(flavor = "multi_thread")]
async fn every_webhook_is_worked_after_an_outage_in_mid_handover() {
    const HOOKS: usize = 12;
    let mut nats = Nats::start().await;
    let url = nats.url();
    let args = [&["--nats-url", &url][..], &CALLS].concat();
    let one = Node::start_with(&args);
    let hooks = Hooks::open(&one);
    let (mut endpoints, mut ids) = (Vec::new(), Vec::new());
    for _ in 0..HOOKS {
        let endpoint = Endpoint::start().await;
        ids.push(add(&hooks, &endpoint.url).await);
        endpoints.push(endpoint);
    }
    publish(&one, Action::Publish, "test:before").await;
    let came = |count: usize| {
        let counts = endpoints
            .iter()
            .map(|one| one.count.load(std::sync::atomic::Ordering::SeqCst));
        counts.filter(|came| *came >= count).count()
    };
    eventually("all are worked", async || came(1) == HOOKS).await;
    for endpoint in &endpoints {
        endpoint.answers(SLOW);
    }

    let store = jetstream::new(nats.client().await);
    let store = store.get_key_value("barid-webhooks").await.unwrap();
    let mut beats = store.watch_with_history("node.>").await.unwrap();
    let other = Node::start_with(&args);
    publish(&one, Action::Publish, "test:under-way").await;
    eventually("requests are under way", async || came(2) == HOOKS).await;
    let mut nodes = HashSet::new();
    while nodes.len() < 2 {
        nodes.insert(beats.next().await.unwrap().unwrap().key);
    }
    // The one has heard of the other and lets go of its share, with a request under way to each.
    nats.kill();
    // Longer than it tries to keep what was taken, and that it is let go.
    sleep(Duration::from_secs(4)).await;
    nats.start_again();
    for endpoint in &endpoints {
        endpoint.answers(200);
    }
    let after = publish(&other, Action::Publish, "test:after").await;
    eventually("all are worked again", async || {
        for id in &ids {
            if seq(&health(&hooks, id).await.cursor) < seq(&after) {
                return false;
            }
        }
        true
    })
    .await;
}
