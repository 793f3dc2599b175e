//! Model test: random steps against a real node, and a check of the whole history of what every
//! client saw. Proves invariants 1 to 6, 8 and 9.
//!
//! `BARID_MODEL_SEED=n` runs one seed again; `BARID_SOAK=1` runs many.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use barid::{
    article::RequestId,
    wire::proto::v1::{
        Action, Article, CancelEmbargoRequest, Delivery, Filter, GetArticleRequest, PublishRequest,
        PublishResponse, ReleaseEmbargoRequest, SubscribeRequest,
        desk_service_client::DeskServiceClient, start::From as StartFrom,
        subscribe_response::Frame,
    },
};
use futures_util::StreamExt as _;
use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tonic::{Code, transport::Channel};

use crate::harness::{
    self, LIMIT, Node, action, article_of, eventually, from, new_id, refusal, seq,
};

const SEEDS: [u64; 4] = [1, 2, 3, 4];
const STEPS: usize = 90;
/// Sizes of the ring: of everything, of a few revisions, and of none, so that readers fall out of it
/// and join it all the time.
const RINGS: [&str; 3] = ["64MiB", "8KiB", "1"];
const TOPICS: [&str; 5] = [
    "ict",
    "ict.telecom",
    "economy.trade",
    "diplomacy.visits",
    "general",
];
const LANGUAGES: [&str; 3] = ["en", "ar-EG", "ar"];
const WORDS: [&str; 3] = ["harbour", "ميناء", "fibre"];

/// One accepted revision.
#[derive(Clone, Debug)]
struct Accepted {
    request: PublishRequest,
    response: PublishResponse,
    /// What the request was answered: for a released draft, that it is one.
    answer: PublishResponse,
    /// The id under which the log has the revision: a release has one of its own.
    logged_id: String,
    action: Action,
    language: String,
    urgencies: Vec<u32>,
}

/// What the model knows of an article.
#[derive(Clone, Debug, Default)]
struct State {
    revisions: Vec<Accepted>,
}

impl State {
    fn last_action(&self) -> Action {
        self.revisions.last().unwrap().action
    }
}

/// A draft that waits.
#[derive(Clone, Debug)]
struct Held {
    request: PublishRequest,
    response: PublishResponse,
    /// Revisions that the article had.
    base: usize,
}

/// A logical reader over any number of connections.
struct Client {
    filter: Filter,
    /// What it must see comes after this sequence...
    after: u64,
    /// ...but for the newest N of what was there, if it asked for that.
    seen: Vec<Delivery>,
    /// Where it resumes: the last thing that it was told.
    cursor: String,
    connection: Option<Connection>,
}

struct Connection {
    frames: mpsc::UnboundedReceiver<Frame>,
    task: JoinHandle<()>,
}

struct World {
    node: Node,
    rng: StdRng,
    articles: BTreeMap<String, State>,
    /// By sequence: everything that was accepted, in the log's order.
    log: BTreeMap<u64, Accepted>,
    killed: HashSet<String>,
    clients: Vec<Client>,
    /// By uri: drafts that wait for the desk.
    drafts: BTreeMap<String, Held>,
    /// Texts of drafts that came to nothing.
    dropped: Vec<String>,
    /// Subjects of the log that belong to no revision: answers about drafts.
    answers: Vec<String>,
    held_count: usize,
}

#[tokio::test]
async fn every_client_sees_each_matching_revision_in_order_once() {
    let seeds: Vec<u64> = match (
        std::env::var("BARID_MODEL_SEED"),
        std::env::var("BARID_SOAK"),
    ) {
        (Ok(seed), _) => vec![seed.parse().unwrap()],
        (Err(_), Ok(_)) => (0..100).collect(),
        (Err(_), Err(_)) => SEEDS.into(),
    };
    for seed in seeds {
        eprintln!("model: BARID_MODEL_SEED={seed}");
        run(seed).await;
    }
}

async fn run(seed: u64) {
    let mut world = World {
        node: Node::start_with(&["--ring-bytes", RINGS[seed as usize % RINGS.len()]]),
        rng: StdRng::seed_from_u64(seed),
        articles: BTreeMap::new(),
        log: BTreeMap::new(),
        killed: HashSet::new(),
        clients: Vec::new(),
        drafts: BTreeMap::new(),
        dropped: Vec::new(),
        answers: Vec::new(),
        held_count: 0,
    };
    for _ in 0..STEPS {
        world.step().await;
    }
    world.check_clients().await;
    world.check_replay().await;
    world.check_log().await;
}

impl World {
    async fn step(&mut self) {
        match self.rng.random_range(0..115) {
            100..106 => self.hold().await,
            106..109 => self.release().await,
            109..111 => self.cancel().await,
            111.. => self.release_by_time().await,
            0..25 => self.publish_new().await,
            25..50 => self.revise().await,
            50..56 => self.withdraw(Action::Withhold).await,
            56..61 => self.withdraw(Action::Kill).await,
            61..67 => self.retry().await,
            67..70 => self.reuse_request().await,
            70..74 => self.race().await,
            74..84 => self.connect_new().await,
            84..89 => self.disconnect(),
            89..94 => self.resume().await,
            94..97 => self.node.kill_nats(),
            _ => {
                self.node.kill();
                self.node.start_again().await;
            }
        }
    }

    /// Sends one request again and again until it is answered for good.
    async fn send(&self, request: &PublishRequest) -> Result<PublishResponse, tonic::Status> {
        let mut result = None;
        eventually("an answer to a publish", async || {
            match self.node.publisher().publish(request.clone()).await {
                Err(status) if status.code() == Code::Unavailable => false,
                other => {
                    result = Some(other.map(tonic::Response::into_inner));
                    true
                }
            }
        })
        .await;
        result.unwrap()
    }

    fn record(&mut self, request: PublishRequest, response: PublishResponse, action: Action) {
        let (answer, logged_id) = (response.clone(), request.request_id.clone());
        self.record_as(request, response, action, (answer, logged_id));
    }

    fn record_as(
        &mut self,
        request: PublishRequest,
        response: PublishResponse,
        action: Action,
        (answer, logged_id): (PublishResponse, String),
    ) {
        let article = request.article.clone().unwrap();
        let state = self.articles.entry(article.uri.clone()).or_default();
        let before = state.revisions.last();
        // Invariant 3: revisions are gapless from 1.
        assert_eq!(
            response.revision as usize,
            state.revisions.len() + 1,
            "{response:?}"
        );
        let mut urgencies = before.map(|one| one.urgencies.clone()).unwrap_or_default();
        if article.urgency != 0 {
            urgencies.push(article.urgency);
        } else if !matches!(action, Action::Withhold | Action::Kill) {
            urgencies.push(5);
        }
        let language = before.map_or(article.language.clone(), |one| one.language.clone());
        // Nobody misses a recall: every topic of an earlier revision is still there.
        if let Some(before) = before {
            assert!(
                before
                    .response
                    .topics
                    .iter()
                    .all(|one| response.topics.contains(one))
            );
        }
        let accepted = Accepted {
            request,
            response,
            answer,
            logged_id,
            action,
            language,
            urgencies,
        };
        state.revisions.push(accepted.clone());
        // Invariant 4: a later answer has a higher place.
        let place = seq(&accepted.response.cursor);
        assert!(self.log.keys().next_back().is_none_or(|last| *last < place));
        self.log.insert(place, accepted);
    }

    fn new_article(&mut self, uri: String) -> Article {
        let mut topics: Vec<String> = Vec::new();
        for _ in 0..self.rng.random_range(0..3) {
            topics.push((*TOPICS.choose(&mut self.rng).unwrap()).to_owned());
        }
        Article {
            uri,
            headline: format!("A story with {}", WORDS.choose(&mut self.rng).unwrap()),
            body: format!("secret text {:x}", self.rng.next_u64()),
            topics,
            urgency: self.rng.random_range(0..10),
            ..Article::default()
        }
    }

    async fn publish_new(&mut self) {
        let uri = format!("https://wire.example/{}", self.articles.len());
        let mut article = self.new_article(uri);
        article.language = (*LANGUAGES.choose(&mut self.rng).unwrap()).to_owned();
        self.accept(Action::Publish, article, Action::Publish).await;
    }

    async fn accept(&mut self, asked: Action, article: Article, done: Action) {
        let request = harness::request(asked, article);
        let response = self.send(&request).await.unwrap();
        self.record(request, response, done);
    }

    fn choose(&mut self) -> Option<String> {
        let uris: Vec<&String> = self.articles.keys().collect();
        uris.choose(&mut self.rng).map(|uri| (*uri).clone())
    }

    async fn revise(&mut self) {
        let Some(uri) = self.choose() else { return };
        let mut article = self.new_article(uri.clone());
        let asked = *[Action::Publish, Action::Update, Action::Correct]
            .choose(&mut self.rng)
            .unwrap();
        if asked == Action::Correct {
            article.edition_note = "corrects a figure".to_owned();
        }
        let expected = match (self.articles[&uri].last_action(), asked) {
            (Action::Kill, _) => Err("ARTICLE_KILLED"),
            (Action::Withhold, Action::Publish) => Ok(Action::Publish),
            (Action::Withhold, _) => Err("ARTICLE_WITHHELD"),
            (_, Action::Publish) => Ok(Action::Update),
            (_, asked) => Ok(asked),
        };
        match expected {
            Ok(done) => self.accept(asked, article, done).await,
            Err(reason) => self.refuse(asked, article, reason).await,
        }
    }

    async fn refuse(&mut self, asked: Action, article: Article, reason: &str) {
        let request = harness::request(asked, article);
        let status = self.send(&request).await.unwrap_err();
        assert_eq!(
            refusal(&status),
            (Code::FailedPrecondition, reason.to_owned())
        );
    }

    async fn withdraw(&mut self, asked: Action) {
        let Some(uri) = self.choose() else { return };
        let article = Article {
            uri: uri.clone(),
            edition_note: "withdrawn".to_owned(),
            ..Article::default()
        };
        let state = self.articles[&uri].clone();
        match (state.last_action(), asked) {
            (Action::Kill, Action::Kill) => {
                let request = harness::request(asked, article);
                let response = self.send(&request).await.unwrap();
                assert!(response.duplicate);
                assert_eq!(response.revision as usize, state.revisions.len());
            }
            (Action::Kill, _) => self.refuse(asked, article, "ARTICLE_KILLED").await,
            (Action::Withhold, Action::Withhold) => {
                self.refuse(asked, article, "ARTICLE_WITHHELD").await;
            }
            _ => {
                self.accept(asked, article, asked).await;
                if asked == Action::Kill {
                    self.drop_draft(&uri);
                    self.killed.insert(uri.clone());
                    self.check_killed(&uri).await;
                }
            }
        }
    }

    /// Invariant 3: the same request gives the same answer, whatever came between.
    async fn retry(&mut self) {
        let all: Vec<Accepted> = self.log.values().cloned().collect();
        let Some(accepted) = all.choose(&mut self.rng) else {
            return;
        };
        let again = self.send(&accepted.request).await.unwrap();
        assert_eq!(
            again,
            PublishResponse {
                duplicate: true,
                ..accepted.answer.clone()
            }
        );
    }

    async fn reuse_request(&mut self) {
        let all: Vec<Accepted> = self.log.values().cloned().collect();
        let Some(accepted) = all.choose(&mut self.rng) else {
            return;
        };
        let mut request = accepted.request.clone();
        request
            .article
            .as_mut()
            .unwrap()
            .headline
            .push_str(" changed");
        let status = self.send(&request).await.unwrap_err();
        assert_eq!(refusal(&status).1, "REQUEST_ID_REUSED");
    }

    /// A draft of a new article, or of one that is there, for a time that does not come by itself.
    async fn hold(&mut self) {
        let Some((uri, request)) = self.draft(Duration::from_secs(3600)) else {
            return;
        };
        if self.killed.contains(&uri) {
            let status = self.send(&request).await.unwrap_err();
            assert_eq!(refusal(&status).1, "ARTICLE_KILLED");
            return;
        }
        self.submit(uri.clone(), request).await;
        if !self.articles.contains_key(&uri) {
            // Nobody breaks its embargo by accident.
            let article = Article {
                language: "en".to_owned(),
                ..self.new_article(uri)
            };
            self.refuse(Action::Publish, article, "ARTICLE_EMBARGOED")
                .await;
        }
    }

    fn draft(&mut self, ahead: Duration) -> Option<(String, PublishRequest)> {
        let uri = match self.rng.random_range(0..3) {
            0 => {
                let uris: Vec<String> = self.drafts.keys().cloned().collect();
                uris.choose(&mut self.rng)?.clone()
            }
            1 => self.choose()?,
            _ => {
                self.held_count += 1;
                format!("https://wire.example/held-{}", self.held_count)
            }
        };
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let until = since.unwrap() + ahead;
        let mut article = self.new_article(uri.clone());
        article.embargoed_until = Some(prost_types::Timestamp {
            seconds: until.as_secs() as i64,
            nanos: until.subsec_nanos() as i32,
        });
        if !self.articles.contains_key(&uri) {
            article.language = (*LANGUAGES.choose(&mut self.rng).unwrap()).to_owned();
        }
        Some((uri, harness::request(Action::Publish, article)))
    }

    async fn submit(&mut self, uri: String, request: PublishRequest) {
        let response = self.send(&request).await.unwrap();
        assert_eq!((response.revision, response.cursor.as_str()), (0, ""));
        self.keep(uri, request, response);
    }

    /// A draft waits, perhaps in the place of another.
    fn keep(&mut self, uri: String, request: PublishRequest, response: PublishResponse) {
        self.drop_draft(&uri);
        let answer = format!("log.request.anon.{}", request.request_id);
        self.answers.push(answer);
        let base = self.articles.get(&uri);
        let base = base.map_or(0, |state| state.revisions.len());
        let held = Held {
            request,
            response,
            base,
        };
        self.drafts.insert(uri, held);
    }

    /// A draft came to nothing.
    fn drop_draft(&mut self, uri: &str) {
        if let Some(held) = self.drafts.remove(uri) {
            self.dropped.push(held.request.article.unwrap().body);
        }
    }

    fn choose_draft(&mut self) -> Option<(String, Held)> {
        let uris: Vec<String> = self.drafts.keys().cloned().collect();
        let uri = uris.choose(&mut self.rng)?.clone();
        let held = self.drafts[&uri].clone();
        Some((uri, held))
    }

    /// A call of the desk, again and again until it is answered for good.
    async fn ask_desk<T>(
        &self,
        mut call: impl AsyncFnMut(DeskServiceClient<Channel>) -> Result<T, tonic::Status>,
    ) -> Result<T, tonic::Status> {
        let mut result = None;
        eventually("an answer of the desk", async || {
            match call(DeskServiceClient::new(self.node.channel())).await {
                Err(status) if status.code() == Code::Unavailable => false,
                other => {
                    result = Some(other);
                    true
                }
            }
        })
        .await;
        result.unwrap()
    }

    /// The desk lets a draft out.
    async fn release(&mut self) {
        let Some((uri, held)) = self.choose_draft() else {
            return;
        };
        let request = ReleaseEmbargoRequest {
            article_id: held.response.article_id.clone(),
            expected_version: 0,
        };
        let released = self.ask_desk(async |mut desk| desk.release_embargo(request.clone()).await);
        let released = released.await;
        let revisions = self.articles.get(&uri);
        if revisions.map_or(0, |state| state.revisions.len()) != held.base {
            let expected = (Code::FailedPrecondition, "EMBARGO_BASE_MOVED".to_owned());
            assert_eq!(refusal(&released.unwrap_err()), expected);
            return;
        }
        if let Err(status) = released {
            // By a call whose answer was lost.
            assert_eq!(refusal(&status).1, "EMBARGO_UNKNOWN");
        }
        self.see_released(uri).await;
    }

    /// The desk erases a draft, or its publisher does.
    async fn cancel(&mut self) {
        let Some((uri, held)) = self.choose_draft() else {
            return;
        };
        if held.base == 0 && !self.articles.contains_key(&uri) && self.rng.random_bool(0.5) {
            let request = harness::request(Action::Kill, harness::noted(&uri, "withdrawn"));
            let killed = self.send(&request).await.unwrap();
            assert_eq!(killed.revision, 0);
            let answer = format!("log.request.anon.{}", request.request_id);
            self.answers.push(answer);
        } else {
            let request = CancelEmbargoRequest {
                article_id: held.response.article_id,
                expected_version: 0,
            };
            let ended = self.ask_desk(async |mut desk| desk.cancel_embargo(request.clone()).await);
            if let Err(status) = ended.await {
                assert_eq!(refusal(&status).1, "EMBARGO_UNKNOWN");
            }
        }
        self.drop_draft(&uri);
    }

    /// A draft whose time comes, whatever crashes.
    async fn release_by_time(&mut self) {
        let ahead = Duration::from_millis(self.rng.random_range(100..300));
        let Some((uri, request)) = self.draft(ahead) else {
            return;
        };
        if self.killed.contains(&uri) {
            return;
        }
        let response = self.send(&request).await.unwrap();
        if response.revision > 0 {
            // The node was away for so long that there was nothing to wait for.
            self.drop_draft(&uri);
            let action = self.next_action(&uri);
            self.record(request, response, action);
            return;
        }
        self.keep(uri.clone(), request, response);
        match self.rng.random_range(0..3) {
            0 => self.node.kill_nats(),
            1 => {
                self.node.kill();
                self.node.start_again().await;
            }
            _ => {}
        }
        self.see_released(uri).await;
    }

    fn next_action(&self, uri: &str) -> Action {
        match self.articles.get(uri).map(State::last_action) {
            None | Some(Action::Withhold) => Action::Publish,
            Some(_) => Action::Update,
        }
    }

    /// Waits until a draft is on the wire.
    async fn see_released(&mut self, uri: String) {
        let held = self.drafts.remove(&uri).unwrap();
        let wanted = held.base as u32 + 1;
        let mut found = None;
        eventually("a draft is released", async || {
            let request = GetArticleRequest {
                article_id: held.response.article_id.clone(),
            };
            let got = self.node.articles().get_article(request).await;
            let delivery = got.ok().and_then(|got| got.into_inner().delivery);
            found = delivery.filter(|delivery| delivery.revision == wanted);
            found.is_some()
        })
        .await;
        let delivery = found.unwrap();
        let response = PublishResponse {
            revision: delivery.revision,
            cursor: delivery.cursor,
            topics: delivery.topics,
            embargoed_until: None,
            ..held.response.clone()
        };
        // As it was told when it was submitted.
        assert_eq!(response.topics, held.response.topics);
        let request_id: RequestId = held.request.request_id.parse().unwrap();
        let logged_id = request_id.of_release().to_string();
        let action = self.next_action(&uri);
        self.record_as(held.request, response, action, (held.response, logged_id));
    }

    /// Two desks correct one article at once: one wins.
    async fn race(&mut self) {
        let Some(uri) = self.choose() else { return };
        let state = self.articles[&uri].clone();
        if matches!(state.last_action(), Action::Kill | Action::Withhold) {
            return;
        }
        let requests = [0, 1].map(|_| PublishRequest {
            routing: 0,
            request_id: new_id(),
            expected_revision: Some(state.revisions.len() as u32),
            action: Action::Correct.into(),
            article: Some(Article {
                edition_note: "a race".to_owned(),
                ..self.new_article(uri.clone())
            }),
        });
        let (one, other) = tokio::join!(self.send(&requests[0]), self.send(&requests[1]));
        let [first, second] = requests;
        match (one, other) {
            (Ok(response), Err(status)) => {
                assert_eq!(
                    refusal(&status),
                    (Code::Aborted, "REVISION_CONFLICT".to_owned())
                );
                self.record(first, response, Action::Correct);
            }
            (Err(status), Ok(response)) => {
                assert_eq!(
                    refusal(&status),
                    (Code::Aborted, "REVISION_CONFLICT".to_owned())
                );
                self.record(second, response, Action::Correct);
            }
            other => panic!("not exactly one won: {other:?}"),
        }
    }

    async fn connect_new(&mut self) {
        let mut filter = Filter::default();
        if self.rng.random_bool(0.5) {
            filter
                .topics
                .push((*TOPICS.choose(&mut self.rng).unwrap()).to_owned());
        }
        if self.rng.random_bool(0.3) {
            filter
                .languages
                .push((*LANGUAGES.choose(&mut self.rng).unwrap()).to_owned());
        }
        if self.rng.random_bool(0.3) {
            filter.urgency = self.rng.random_range(1..10);
        }
        if self.rng.random_bool(0.3) {
            filter
                .words
                .push((*WORDS.choose(&mut self.rng).unwrap()).to_owned());
        }
        let matching: Vec<u64> = self.matching(&filter);
        let newest = self.log.keys().next_back().copied().unwrap_or(0);
        let (start, after) = match self.rng.random_range(0..4) {
            0 => (StartFrom::Now(()), newest),
            1 => (StartFrom::Earliest(()), 0),
            2 => {
                let count = self.rng.random_range(1..6);
                let shown: Vec<u64> = matching
                    .into_iter()
                    .filter(|one| !self.is_erasable(*one))
                    .collect();
                let after = shown
                    .len()
                    .checked_sub(count as usize)
                    .map_or(0, |skip| shown[skip] - 1);
                (StartFrom::Last(count), after)
            }
            _ => match self
                .log
                .keys()
                .copied()
                .collect::<Vec<_>>()
                .choose(&mut self.rng)
            {
                Some(place) => (
                    StartFrom::After(self.log[place].response.cursor.clone()),
                    *place,
                ),
                None => (StartFrom::Earliest(()), 0),
            },
        };
        let request = SubscribeRequest {
            filter: Some(filter.clone()),
            start: from(start),
            ..Default::default()
        };
        let (connection, cursor) = self.connect(request).await;
        self.clients.push(Client {
            filter,
            after,
            seen: Vec::new(),
            cursor,
            connection: Some(connection),
        });
    }

    /// Opens a stream that a task reads to its end. Returns once it is open: what it shows is
    /// counted from here.
    async fn connect(&self, request: SubscribeRequest) -> (Connection, String) {
        let mut reader = None;
        eventually("a subscription", async || {
            match self.node.subscribe(request.clone()).await {
                Ok(opened) => {
                    reader = Some(opened);
                    true
                }
                Err(status) => {
                    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
                    false
                }
            }
        })
        .await;
        let mut reader = reader.unwrap();
        let (sender, frames) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            while let Ok(frame) = reader.next().await {
                if sender.send(frame).is_err() {
                    break;
                }
            }
        });
        (Connection { frames, task }, String::new())
    }

    fn disconnect(&mut self) {
        let count = self.clients.len();
        if count > 0 {
            let index = self.rng.random_range(0..count);
            self.clients[index].disconnect();
        }
    }

    async fn resume(&mut self) {
        let count = self.clients.len();
        if count > 0 {
            let index = self.rng.random_range(0..count);
            self.reconnect(index).await;
        }
    }

    async fn reconnect(&mut self, index: usize) {
        let client = &mut self.clients[index];
        client.disconnect();
        if client.cursor.is_empty() {
            // It never learned of any place: it begins where it began.
            let epoch = self
                .log
                .values()
                .next()
                .map(|one| one.response.cursor.clone());
            let Some(epoch) = epoch else { return };
            client.cursor = format!("{}-{}", epoch.split_once('-').unwrap().0, client.after);
        }
        let request = SubscribeRequest {
            filter: Some(client.filter.clone()),
            start: from(StartFrom::After(client.cursor.clone())),
            ..Default::default()
        };
        let (connection, _) = self.connect(request).await;
        self.clients[index].connection = Some(connection);
    }

    /// Invariants 4, 5 and 6, on the whole history of every client.
    async fn check_clients(&mut self) {
        for index in 0..self.clients.len() {
            self.reconnect(index).await;
            if self.clients[index].connection.is_none() {
                continue;
            }
            self.clients[index].read_to_the_end().await;
            let client = &self.clients[index];
            let seen: Vec<u64> = client.seen.iter().map(|one| seq(&one.cursor)).collect();
            assert!(
                seen.is_sorted_by(|one, next| one < next),
                "not rising: {seen:?}"
            );
            let expected: Vec<u64> = self
                .matching(&client.filter)
                .into_iter()
                .filter(|place| *place > client.after)
                // Earlier revisions of a killed article may be missing.
                .filter(|place| !self.is_erasable(*place) || seen.contains(place))
                .collect();
            assert_eq!(seen, expected, "client {index} with {:?}", client.filter);
            for delivery in &client.seen {
                self.check_delivery(delivery);
            }
        }
    }

    fn check_delivery(&self, delivery: &Delivery) {
        let accepted = &self.log[&seq(&delivery.cursor)];
        assert_eq!(delivery.cursor, accepted.response.cursor);
        assert_eq!(delivery.revision, accepted.response.revision);
        assert_eq!(delivery.topics, accepted.response.topics);
        assert_eq!(action(delivery), accepted.action);
        let (sent, got) = (
            accepted.request.article.as_ref().unwrap(),
            article_of(delivery),
        );
        if matches!(accepted.action, Action::Withhold | Action::Kill) {
            assert_eq!((got.headline.as_str(), got.body.as_str()), ("", ""));
            assert_eq!(got.edition_note, sent.edition_note);
        } else {
            assert_eq!((&got.headline, &got.body), (&sent.headline, &sent.body));
        }
        assert_eq!(got.uri, sent.uri);
    }

    /// Invariant 8: right after the answer, no read gives a text of a killed article.
    async fn check_killed(&mut self, uri: &str) {
        let id = self.articles[uri].revisions[0].response.article_id.clone();
        let mut articles = self.node.articles();
        let request = barid::wire::proto::v1::ListRevisionsRequest {
            article_id: id,
            ..Default::default()
        };
        // NATS may have been killed a moment ago: what comes must be right, whenever it comes.
        let mut revisions = None;
        eventually("the revisions of a killed article", async || {
            revisions = articles.list_revisions(request.clone()).await.ok();
            revisions.is_some()
        })
        .await;
        for delivery in revisions.unwrap().into_inner().deliveries {
            assert_eq!(article_of(&delivery).body, "");
            assert_eq!(action(&delivery), Action::Kill);
        }
        self.check_replay().await;
    }

    /// A replay from the beginning shows every accepted revision but the erased ones, and these
    /// never.
    async fn check_replay(&mut self) {
        let request = SubscribeRequest {
            start: from(StartFrom::Earliest(())),
            ..SubscribeRequest::default()
        };
        let (connection, _) = self.connect(request).await;
        let mut client = Client {
            filter: Filter::default(),
            after: 0,
            seen: Vec::new(),
            cursor: String::new(),
            connection: Some(connection),
        };
        if !client.read_to_the_end().await {
            // NATS or the node was killed in between: the final replay tells.
            return;
        }
        let seen: Vec<u64> = client.seen.iter().map(|one| seq(&one.cursor)).collect();
        let expected: Vec<u64> = self
            .log
            .keys()
            .copied()
            .filter(|place| !self.is_erasable(*place))
            .collect();
        assert_eq!(seen, expected, "replay");
    }

    /// Invariants 1 and 2: every accepted revision lies in the log whole, and nothing else does.
    async fn check_log(&mut self) {
        let client = self.node.nats_owner().await;
        let stream = async_nats::jetstream::new(client)
            .get_stream("BARID")
            .await
            .unwrap();
        let pending = async || {
            let mut subjects = stream.info_with_subjects("log.erase.>").await.unwrap();
            subjects.next().await.is_some()
        };
        eventually("all erasures are done", async || !pending().await).await;
        let drafts = async || {
            let subjects = stream.info_with_subjects("log.embargo.>").await.unwrap();
            let counts = subjects.map(|one| one.unwrap().1).collect::<Vec<usize>>();
            counts.await.into_iter().sum::<usize>()
        };
        let waiting = self.drafts.len();
        eventually("all drafts but those that wait are erased", async || {
            drafts().await == waiting
        })
        .await;

        let mut found: HashMap<u64, String> = HashMap::new();
        let last = stream.get_info().await.unwrap().state.last_sequence;
        for place in 1..=last {
            if let Ok(message) = stream.get_raw_message(place).await {
                found.insert(place, message.subject.to_string());
                let text = String::from_utf8_lossy(&message.payload);
                assert!(!self.is_secret(&text), "a killed text at {place}");
            }
        }
        for (place, accepted) in &self.log {
            let id = &accepted.response.article_id;
            let mut wanted = vec![format!("log.article.{id}")];
            wanted.extend(
                accepted
                    .response
                    .topics
                    .iter()
                    .map(|topic| format!("log.news.{topic}")),
            );
            let is_erased = self.is_erasable(*place);
            for (offset, subject) in (0..).zip(wanted) {
                let expected = (!is_erased).then_some(subject);
                assert_eq!(
                    found.remove(&(place + offset)),
                    expected,
                    "at {place}+{offset}"
                );
            }
            let answer = place + 1 + accepted.response.topics.len() as u64;
            let subject = format!("log.request.anon.{}", accepted.logged_id);
            assert_eq!(found.remove(&answer), Some(subject));
        }
        let mut rest: Vec<String> = found.into_values().collect();
        let mut expected = self.answers.clone();
        let places = self.drafts.values();
        expected.extend(places.map(|held| format!("log.embargo.{}", held.response.article_id)));
        rest.sort();
        expected.sort();
        assert_eq!(rest, expected, "messages of no accepted revision");
    }

    fn is_secret(&self, text: &str) -> bool {
        let is_dropped = self.dropped.iter().any(|body| text.contains(body));
        is_dropped
            || self.log.iter().any(|(place, accepted)| {
                let body = &accepted.request.article.as_ref().unwrap().body;
                self.is_erasable(*place) && !body.is_empty() && text.contains(body)
            })
    }

    /// Whether a revision is an earlier one of a killed article.
    fn is_erasable(&self, place: u64) -> bool {
        let accepted = &self.log[&place];
        let uri = &accepted.request.article.as_ref().unwrap().uri;
        self.killed.contains(uri) && accepted.action != Action::Kill
    }

    /// The places of all accepted revisions that a filter wants: a naive matcher.
    fn matching(&self, filter: &Filter) -> Vec<u64> {
        let under = |topic: &String, wanted: &String| {
            topic == wanted || topic.starts_with(&format!("{wanted}."))
        };
        let speaks = |language: &str, range: &String| {
            language == range || language.starts_with(&format!("{range}-"))
        };
        let wants = |accepted: &Accepted| {
            let article = accepted.request.article.as_ref().unwrap();
            let topics = &accepted.response.topics;
            let is_recall = matches!(
                accepted.action,
                Action::Correct | Action::Withhold | Action::Kill
            ) || accepted.action == Action::Publish
                && accepted.response.revision > 1;
            (filter.topics.is_empty()
                || filter
                    .topics
                    .iter()
                    .any(|want| topics.iter().any(|has| under(has, want))))
                && (filter.languages.is_empty()
                    || filter
                        .languages
                        .iter()
                        .any(|range| speaks(&accepted.language, range)))
                && (filter.urgency == 0
                    || accepted.urgencies.iter().any(|one| *one <= filter.urgency))
                && (is_recall
                    || filter
                        .words
                        .iter()
                        .all(|word| article.headline.contains(word)))
        };
        self.log
            .iter()
            .filter(|(_, one)| wants(one))
            .map(|(place, _)| *place)
            .collect()
    }
}

impl Client {
    fn disconnect(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            connection.task.abort();
            while let Ok(frame) = connection.frames.try_recv() {
                self.see(frame);
            }
        }
    }

    fn see(&mut self, frame: Frame) -> bool {
        match frame {
            Frame::Delivery(delivery) => {
                self.cursor.clone_from(&delivery.cursor);
                self.seen.push(delivery);
                false
            }
            Frame::CaughtUp(frame) => {
                self.cursor = frame.cursor;
                true
            }
            Frame::Heartbeat(frame) => {
                self.cursor = frame.cursor;
                false
            }
            Frame::Gap(gap) => panic!("nothing is lost here: {gap:?}"),
            Frame::Opened(opened) => panic!("it has no name: {opened:?}"),
        }
    }

    /// Reads until history has ended; false if the connection broke before.
    async fn read_to_the_end(&mut self) -> bool {
        let mut connection = self.connection.take().unwrap();
        loop {
            let frame = timeout(LIMIT, connection.frames.recv())
                .await
                .expect("history ends");
            match frame {
                Some(frame) if self.see(frame.clone()) => return true,
                Some(_) => {}
                None => return false,
            }
        }
    }
}
