//! Whom a recall has reached: what is said of it is what is known of it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
    time::Duration,
};

use barid::{
    article::ArticleId,
    wire::proto::v1::{
        Action, GetRecallRequest, RecallState, ResetSubscriptionRequest, Webhook, WebhookHealth,
        recipient_service_client::RecipientServiceClient, reset_subscription_request::To,
        start::From as StartFrom,
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::sleep,
};

use tonic::Request;

use crate::{
    access::Caller,
    durable::{Bot, named},
    harness::{Node, action, article_of, eventually, filter, noted},
    web,
    webhooks::{CALLS, Hooks, wanting},
};

/// Reads a request and hangs up.
const HANGS_UP: u16 = 0;
/// Reads a request and says nothing until its sender hangs up.
pub const HOLDS: u16 = 1;

/// Takes a request, and says so after a while.
pub const SLOW: u16 = 2;

/// A receiver that answers each request with one status, and ends the connection. Its port is closed
/// when it is dropped.
pub struct Endpoint {
    pub url: String,
    status: Arc<AtomicU16>,
    /// How many requests came whole.
    pub count: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Endpoint {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let status = Arc::new(AtomicU16::new(200));
        let count = Arc::new(AtomicUsize::new(0));
        let (answers, counts) = (Arc::clone(&status), Arc::clone(&count));
        let task = tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                answer(socket, answers.load(Ordering::SeqCst), &counts).await;
            }
        });
        Self {
            url,
            status,
            count,
            task,
        }
    }

    pub fn answers(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    async fn close(mut self) {
        self.task.abort();
        let _aborted = (&mut self.task).await;
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(mut socket: TcpStream, status: u16, count: &AtomicUsize) {
    let mut request = Vec::new();
    // Its head, and of its body so much as that says.
    loop {
        let text = String::from_utf8_lossy(&request).to_lowercase();
        let parts = text.split_once("\r\n\r\n");
        let is_whole = parts.is_some_and(|(head, body)| {
            let length = head.split("content-length: ").nth(1);
            let length = length.and_then(|rest| rest.lines().next());
            length.is_none_or(|length| body.len() >= length.parse().unwrap())
        });
        if is_whole {
            break;
        }
        if socket.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return;
        }
    }
    count.fetch_add(1, Ordering::SeqCst);
    let status = if status == SLOW {
        sleep(Duration::from_millis(1500)).await;
        200
    } else {
        status
    };
    if status == HOLDS {
        let _gone = socket.read_buf(&mut request).await;
    } else if status != HANGS_UP {
        // Whoever is to be parked is so soon, and whoever is away is tried soon.
        let again = if status == 422 || status == 503 {
            "retry-after: 1\r\n"
        } else {
            ""
        };
        let answer = format!(
            "HTTP/1.1 {status} Said\r\n{again}content-length: 0\r\nconnection: close\r\n\r\n"
        );
        let _gone = socket.write_all(answer.as_bytes()).await;
    }
}

/// Publishes of ICT; returns the cursor.
pub async fn publish(node: &Node, action: Action, uri: &str) -> String {
    let mut article = noted(uri, "a reason");
    article.topics = vec!["ict".to_owned()];
    node.publish(action, article).await.unwrap().cursor
}

/// What each recipient has of a story's recall, by name.
pub async fn states(node: &Node, uri: &str) -> BTreeMap<String, RecallState> {
    states_for(node, None, uri).await
}

/// The same, for whoever asks with a key.
pub async fn states_for(
    node: &Node,
    caller: Option<&Caller>,
    uri: &str,
) -> BTreeMap<String, RecallState> {
    let (mut states, mut page_token) = (BTreeMap::new(), String::new());
    loop {
        let request = GetRecallRequest {
            article_id: ArticleId::from_uri(uri).to_string(),
            page_token,
            ..GetRecallRequest::default()
        };
        let request = match caller {
            Some(caller) => caller.request(request),
            None => Request::new(request),
        };
        let mut recipients = RecipientServiceClient::new(node.channel());
        let page = recipients.get_recall(request).await.unwrap().into_inner();
        let found = page.recipients.into_iter();
        states.extend(found.map(|one| (one.name.clone(), one.state())));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return states;
        }
    }
}

async fn open_count(node: &Node) -> f64 {
    web::metric_of(node, "barid_recalls_open", "").await
}

pub async fn add(hooks: &Hooks, url: &str) -> String {
    let webhook = Webhook {
        url: url.to_owned(),
        ..wanting(filter(&["ict"]))
    };
    hooks.create(webhook).await.unwrap().webhook.unwrap().id
}

pub async fn health(hooks: &Hooks, id: &str) -> WebhookHealth {
    hooks.get(id).await.unwrap().health.unwrap()
}

/// A recall was sent to a webhook only if it may have taken it: not if it was never reached, or answers
/// that it does not take it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_was_not_sent() {
    let node = Node::start_with(&CALLS);
    let hooks = Hooks::open(&node);
    let mut endpoints = BTreeMap::new();
    for name in ["closed", "hangs up", "400", "500", "410"] {
        let endpoint = Endpoint::start().await;
        let id = add(&hooks, &endpoint.url).await;
        endpoints.insert(name, (endpoint, id));
    }
    publish(&node, Action::Publish, "test:had").await;
    for (_, id) in endpoints.values() {
        eventually("each has taken the story", async || {
            health(&hooks, id).await.taken == 1
        })
        .await;
    }
    let (closed, closed_id) = endpoints.remove("closed").unwrap();
    closed.close().await;
    for (name, (endpoint, _)) in &endpoints {
        endpoint.answers(name.parse().unwrap_or(HANGS_UP));
    }
    publish(&node, Action::Kill, "test:had").await;
    let fails = async |id: &str| {
        eventually("a try has failed", async || {
            health(&hooks, id).await.failures > 0
        })
        .await;
    };
    fails(&closed_id).await;
    for (_, id) in endpoints.values() {
        fails(id).await;
    }
    let found = states(&node, "test:had").await;
    assert_eq!(found[&closed_id], RecallState::Outstanding);
    for (name, (_, id)) in &endpoints {
        let expected = match *name {
            "hangs up" => RecallState::Sent,
            _ => RecallState::Outstanding,
        };
        assert_eq!(found[id], expected, "{name}");
    }

    // Whoever may have taken it may have so still when it is there no more; and who answers at last has
    // not.
    let (hangs_up, id) = endpoints.remove("hangs up").unwrap();
    let (_, refuses) = endpoints.remove("400").unwrap();
    hangs_up.close().await;
    hooks.resume(&id).await;
    hooks.resume(&refuses).await;
    fails(&refuses).await;
    eventually("it was not reached", async || {
        let health = health(&hooks, &id).await;
        health.failures == 1 && health.failure.contains("refused")
    })
    .await;
    let found = states(&node, "test:had").await;
    assert_eq!(found[&id], RecallState::Sent);
    assert_eq!(found[&refuses], RecallState::Outstanding);
}

/// Whoever is still behind a story was sent nothing of it: there is nothing to be taken back from it,
/// and no alarm. It gets the recall in its turn.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_behind_a_story_never_had_it() {
    let node = Node::start_with(&CALLS);
    let hooks = Hooks::open(&node);
    let open = async |name: &str| {
        let mut bot = Bot::open(&node, named(name, filter(&["ict"])))
            .await
            .unwrap();
        bot.reader.caught_up().await;
        bot
    };
    drop(open("behind").await);
    let mut had = open("had").await;
    let endpoint = Endpoint::start().await;
    let took = add(&hooks, &endpoint.url).await;
    let paused = add(&hooks, &endpoint.url).await;
    hooks.pause(&paused).await;
    let left = async |name: &str| {
        eventually("its stream has ended", async || {
            let kept = crate::durable::shown(&node, name).await;
            kept.connected_to.is_empty()
        })
        .await;
    };
    left("behind").await;

    publish(&node, Action::Publish, "test:taken-back").await;
    had.reader.delivery().await;
    eventually("one webhook has it", async || {
        health(&hooks, &took).await.taken == 1
    })
    .await;
    hooks.pause(&took).await;
    drop(had);
    left("had").await;
    publish(&node, Action::Kill, "test:taken-back").await;
    let told = async || {
        let found = states(&node, "test:taken-back").await;
        ["behind", &paused, "had", &took].map(|name: &str| found[name])
    };
    let [never, outstanding] = [RecallState::NeverHad, RecallState::Outstanding];
    assert_eq!(told().await, [never, never, outstanding, outstanding]);
    eventually("the recall is open", async || {
        open_count(&node).await == 1.0
    })
    .await;

    hooks.resume(&took).await;
    let mut had = Bot::open(&node, named("had", filter(&["ict"])))
        .await
        .unwrap();
    let kill = had.reader.delivery().await;
    assert_eq!(action(&kill), Action::Kill);
    had.acknowledge(&node, &kill.cursor).await.unwrap();
    eventually("all that had it know", async || {
        open_count(&node).await == 0.0
    })
    .await;
    let done = RecallState::Acknowledged;
    assert_eq!(told().await, [never, never, done, done]);

    let mut behind = Bot::open(&node, named("behind", filter(&["ict"])))
        .await
        .unwrap();
    let got = behind.reader.delivery().await;
    assert_eq!(got.cursor, kill.cursor);
    assert_eq!(
        states(&node, "test:taken-back").await["behind"],
        RecallState::Sent
    );
}

/// A node that dies with a request under way has said nothing of it: its receiver may have the story,
/// and gets the recall, whatever its filter is by then.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_dying_node_sent_is_taken_back() {
    let mut node = Node::start_with(&CALLS);
    let hooks = Hooks::open(&node);
    let mut endpoints = Vec::new();
    for _ in 0..2 {
        let endpoint = Endpoint::start().await;
        endpoint.answers(HOLDS);
        let id = add(&hooks, &endpoint.url).await;
        endpoints.push((endpoint, id));
    }
    let came = async |count: usize| {
        eventually("each endpoint has it", async || {
            let mut all = endpoints.iter();
            all.all(|(endpoint, _)| endpoint.count.load(Ordering::SeqCst) >= count)
        })
        .await;
    };
    publish(&node, Action::Publish, "test:cut-off").await;
    came(1).await;
    node.kill();
    for (endpoint, _) in &endpoints {
        endpoint.answers(200);
    }
    node.start_again().await;
    let hooks = Hooks::open(&node);
    // One wants something else by now.
    let (endpoint, id) = &endpoints[0];
    let webhook = Webhook {
        id: id.clone(),
        url: endpoint.url.clone(),
        ..wanting(filter(&["economy"]))
    };
    hooks.update(webhook).await;
    publish(&node, Action::Kill, "test:cut-off").await;
    for (_, id) in &endpoints {
        eventually("the recall was taken", async || {
            states(&node, "test:cut-off").await[id] == RecallState::Acknowledged
        })
        .await;
    }
    came(2).await;
}

/// Whoever is set to a later place leaves out the news before it, but not what takes back what it had.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_out_is_taken_back() {
    let node = Node::start_with(&CALLS);
    let hooks = Hooks::open(&node);
    let endpoint = Endpoint::start().await;
    let id = add(&hooks, &endpoint.url).await;
    let wish = named("bot", filter(&["ict"]));
    let mut bot = Bot::open(&node, wish.clone()).await.unwrap();
    publish(&node, Action::Publish, "test:had").await;
    let took = async |count: u64| {
        eventually("it was taken", async || {
            health(&hooks, &id).await.taken == count
        })
        .await;
    };
    took(1).await;
    bot.reader.caught_up().await;
    bot.reader.delivery().await;
    drop(bot);
    hooks.pause(&id).await;
    publish(&node, Action::Publish, "test:between").await;
    publish(&node, Action::Kill, "test:had").await;

    hooks.replay(&id, StartFrom::Now(())).await;
    let reset = ResetSubscriptionRequest {
        name: "bot".to_owned(),
        to: Some(To::Now(())),
        ..ResetSubscriptionRequest::default()
    };
    let mut recipients = RecipientServiceClient::new(node.channel());
    recipients.reset_subscription(reset).await.unwrap();
    hooks.resume(&id).await;
    took(2).await;
    let found = states(&node, "test:had").await;
    assert_eq!(found[&id], RecallState::Acknowledged);
    assert_eq!(found["bot"], RecallState::Outstanding);

    let mut bot = Bot::open(&node, wish).await.unwrap();
    let history = bot.reader.history().await;
    let actions: Vec<Action> = history.iter().map(action).collect();
    assert_eq!(actions, [Action::Kill]);
    bot.acknowledge(&node, &history[0].cursor).await.unwrap();
    let found = states(&node, "test:had").await;
    assert_eq!(found["bot"], RecallState::Acknowledged);
    // All that comes after is theirs again, and nothing between was.
    publish(&node, Action::Publish, "test:after").await;
    took(3).await;
    assert_eq!(endpoint.count.load(Ordering::SeqCst), 3);
    assert_eq!(article_of(&bot.reader.delivery().await).uri, "test:after");
}

/// Nobody never had what is on its way to them.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_may_be_had() {
    let node = Node::start_with(&CALLS);
    let hooks = Hooks::open(&node);
    let endpoint = Endpoint::start().await;
    endpoint.answers(HOLDS);
    let id = add(&hooks, &endpoint.url).await;
    publish(&node, Action::Publish, "test:under-way").await;
    eventually("it is there", async || {
        endpoint.count.load(Ordering::SeqCst) == 1
    })
    .await;
    publish(&node, Action::Kill, "test:under-way").await;
    let found = states(&node, "test:under-way").await;
    assert_eq!(found[&id], RecallState::Outstanding);
}
