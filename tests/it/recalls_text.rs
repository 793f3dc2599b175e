//! Corrections beyond the grant, where only the texts of earlier revisions tell whom they follow.

use barid::wire::proto::v1::{
    Action, Filter, PublishRequest, RecallState, SubscribeRequest, start::From as StartFrom,
};

use crate::{
    access::story,
    durable::{Bot, named},
    harness::{Node, action, article_of, eventually, filter, from},
    recalls::{Endpoint, health},
    recalls_past::Narrowed,
};

/// A webhook and a durable subscription of the same filter.
struct Both<'a> {
    at: &'a Narrowed,
    bot: Bot,
    hook: String,
    /// How much both have got.
    taken: u64,
}

impl<'a> Both<'a> {
    async fn start(at: &'a Narrowed, endpoint: &Endpoint, wanted: &Filter) -> Self {
        Self {
            at,
            bot: Self::open(at, wanted).await,
            hook: at.add_wanting(&endpoint.url, wanted.clone()).await,
            taken: 0,
        }
    }

    async fn open(at: &Narrowed, wanted: &Filter) -> Bot {
        let wish = SubscribeRequest {
            start: from(StartFrom::Now(())),
            ..named("bot", wanted.clone())
        };
        let mut bot = Bot::open_as(&at.node, wish, Some(&at.bot())).await.unwrap();
        bot.reader.caught_up().await;
        bot
    }

    /// Its grant loses the stories' topic.
    async fn narrow(&mut self, wanted: &Filter) {
        self.at.narrow().await;
        self.bot = Self::open(self.at, wanted).await;
    }

    /// Both get this next, and acknowledge it.
    async fn get(&mut self, uri: &str, expected: Action) {
        let got = self.bot.reader.delivery().await;
        assert_eq!((&*article_of(&got).uri, action(&got)), (uri, expected));
        let bot = self.at.bot();
        let acknowledged = self
            .bot
            .acknowledge_as(&self.at.node, &got.cursor, Some(&bot));
        acknowledged.await.unwrap();
        self.taken += 1;
        eventually("the webhook has it", async || {
            health(&self.at.hooks(), &self.hook).await.taken >= self.taken
        })
        .await;
    }

    /// What both have of a recall, after all that they got.
    async fn assert_states(&self, uri: &str, expected: RecallState) {
        let taken = health(&self.at.hooks(), &self.hook).await.taken;
        assert_eq!(taken, self.taken);
        for name in ["bot", &self.hook] {
            assert_eq!(self.at.state(uri, name).await, expected, "{name} {uri}");
        }
    }
}

/// A story of a topic that is taken from the grant, or of one that stays.
pub fn titled(uri: &str, topic: &str, headline: &str) -> PublishRequest {
    let mut message = story(uri, &[topic]);
    message.article.as_mut().unwrap().headline = headline.to_owned();
    message
}

/// Under a filter of words the earlier text tells who was sent it, and gets its correction.
#[tokio::test(flavor = "multi_thread")]
async fn words_tell_who_had_a_story() {
    let at = Narrowed::start().await;
    at.grant(&["ict", "economy"]).await;
    let endpoint = Endpoint::start().await;
    let wanted = Filter {
        words: vec!["talks".to_owned()],
        ..filter(&[])
    };
    let mut both = Both::start(&at, &endpoint, &wanted).await;
    for (uri, headline) in [("test:had", "Talks go on"), ("test:other", "A cable")] {
        let published = at.desk.publish(titled(uri, "ict", headline)).await;
        published.unwrap();
    }
    both.get("test:had", Action::Publish).await;
    both.narrow(&wanted).await;
    for uri in ["test:other", "test:had"] {
        at.publish(Action::Correct, uri).await;
    }
    let last = titled("test:last", "economy", "Talks about trade");
    at.desk.publish(last).await.unwrap();
    both.get("test:had", Action::Correct).await;
    both.get("test:last", Action::Publish).await;
    both.assert_states("test:had", RecallState::Acknowledged)
        .await;
    both.assert_states("test:other", RecallState::NeverHad)
        .await;
}

/// Who was sent only that a story is withheld gets no correction of its text beyond the grant, but a
/// kill.
#[tokio::test(flavor = "multi_thread")]
async fn a_notice_is_no_text() {
    let at = Narrowed::start().await;
    at.grant(&["ict", "economy"]).await;
    at.publish(Action::Publish, "test:before").await;
    let endpoint = Endpoint::start().await;
    let wanted = filter(&[]);
    let mut both = Both::start(&at, &endpoint, &wanted).await;
    at.publish(Action::Withhold, "test:before").await;
    both.get("test:before", Action::Withhold).await;
    both.narrow(&wanted).await;
    for back in [Action::Publish, Action::Correct] {
        at.publish(back, "test:before").await;
    }
    let last = titled("test:last", "economy", "Trade");
    at.desk.publish(last).await.unwrap();
    both.get("test:last", Action::Publish).await;
    both.assert_states("test:before", RecallState::NeverHad)
        .await;
    at.publish(Action::Kill, "test:before").await;
    both.get("test:before", Action::Kill).await;
    both.assert_states("test:before", RecallState::Acknowledged)
        .await;
}

/// A correction that went to whoever may have had the story, and was acknowledged through another node,
/// is surely had: the next one follows it beyond the grant.
#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_elsewhere_tells_what_followed() {
    let at = Narrowed::start().await;
    at.grant(&["ict", "economy"]).await;
    let nats_url = at.node.nats_url();
    let mut other = Node::start_with_keys(&["--nats-url", &nats_url]);
    let open = async |node: &Node, topics: &[&str]| {
        let wish = named("bot", filter(topics));
        let mut bot = Bot::open_as(node, wish, Some(&at.bot())).await.unwrap();
        bot.reader.caught_up().await;
        bot
    };
    let mut bot = open(&other, &["ict", "economy"]).await;
    at.publish(Action::Publish, "test:perhaps").await;
    bot.reader.delivery().await;
    // It says of nothing any more that it was sent.
    other.kill();
    other.start_again().await;
    let mut bot = open(&other, &["economy"]).await;
    at.publish(Action::Correct, "test:perhaps").await;
    let followed = bot.reader.delivery().await;
    assert_eq!(action(&followed), Action::Correct);
    let key = at.bot();
    let acknowledged = bot.acknowledge_as(&at.node, &followed.cursor, Some(&key));
    acknowledged.await.unwrap();
    let state = at.state("test:perhaps", "bot").await;
    assert_eq!(state, RecallState::Acknowledged);
    other.kill();
    at.narrow().await;
    let mut bot = open(&at.node, &["economy"]).await;
    at.publish(Action::Correct, "test:perhaps").await;
    let last = titled("test:last", "economy", "Trade");
    at.desk.publish(last).await.unwrap();
    let next = bot.reader.delivery().await;
    assert_eq!(
        (&*article_of(&next).uri, action(&next)),
        ("test:perhaps", Action::Correct)
    );
}
