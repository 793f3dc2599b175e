//! Explaining and comparing routing: dry runs over sent and stored articles.

use std::{collections::BTreeMap, mem, sync::Arc};

use futures_util::{Stream, stream};
use tokio::task::{spawn_blocking, yield_now};
use tonic::Status;

use crate::{
    article::{Action, Article, ArticleId, Routing},
    delivery::{
        Entry,
        articles::{article_id, unknown},
        hub::Hub,
        subscription::{Output, SubscribeError, Subscription},
    },
    fault::{Fault, Kind},
    routing::{explain::explain, findings::Findings, route, taxonomy::Taxonomy},
    topic::Topic,
    wire::{
        convert::{self, Start},
        log::ReadError,
        proto::v1::{
            CompareRoutingRequest, CompareRoutingResponse, ExplainRoutingRequest,
            ExplainRoutingResponse, RoutingComparison, RoutingDifference, TopicChange,
            compare_routing_response::Result as Compared, explain_routing_request::Subject,
        },
        record::texts,
        status::status,
    },
};

/// A taxonomy that a caller sends is made away from the runtime: many phrases take a while.
async fn candidate(text: String) -> Result<Arc<Taxonomy>, Fault> {
    let made = spawn_blocking(move || convert::routing::taxonomy(&text)).await;
    made.expect("reading a taxonomy does not panic")
        .map(Arc::new)
}

/// What is explained.
struct Case {
    article: Article,
    inherited: Vec<Topic>,
    routing: Routing,
    /// Where the article stands now, if it is stored.
    head: Option<Arc<Entry>>,
}

impl Hub {
    /// Which topics an article would go to, and why.
    ///
    /// # Errors
    /// A [`Fault`] for its caller.
    pub async fn explain(
        &self,
        request: ExplainRoutingRequest,
    ) -> Result<ExplainRoutingResponse, Fault> {
        let routing = convert::routing::routing(request.routing)?;
        let taxonomy = if request.taxonomy.is_empty() {
            self.taxonomy()
        } else {
            candidate(request.taxonomy).await?
        };
        let case = match request.subject {
            None => {
                let message = "neither article nor article_id is given; give one of them";
                return Err(Fault::field("FIELD_INVALID", "subject", message));
            }
            Some(Subject::ArticleId(text)) => self.stored_case(article_id(&text)?).await?,
            Some(Subject::Article(article)) => self.sent_case(article, routing).await?,
        };
        let Case {
            article,
            inherited,
            routing,
            head,
        } = case;
        let explained = spawn_blocking(move || {
            let is_inferred = routing == Routing::Inferred;
            let explained = explain(
                &article,
                Action::Publish,
                &inherited,
                is_inferred,
                &taxonomy,
            );
            explained.map(|explained| convert::routing::explanation(explained, &taxonomy))
        });
        let explained = explained.await.expect("explaining does not panic");
        let mut response = explained.map_err(|error| error.fault())?;
        if let Some(head) = head {
            let record = &head.stored.record;
            response.stored_topics = texts(&record.topics);
            response.stored_reasons.clone_from(&record.topic_reasons);
        }
        Ok(response)
    }

    /// The newest revision of a stored article, as if it were published now.
    async fn stored_case(&self, id: ArticleId) -> Result<Case, Fault> {
        let read = |error: ReadError| error.fault();
        let head = self.live_head(id).await?.ok_or_else(|| unknown(id))?;
        let record = &head.stored.record;
        if record.action.is_notice() {
            return Err(withheld());
        }
        let prior = match record.prior_revision_seq {
            0 => None,
            seq => self.entry_at(seq).await.map_err(read)?,
        };
        let unread = |source| {
            read(ReadError::Corrupt {
                seq: head.seq(),
                source,
            })
        };
        Ok(Case {
            article: convert::routing::routed(&record.article).map_err(unread)?,
            inherited: prior.map_or_else(Vec::new, |prior| prior.stored.record.topics.clone()),
            routing: record.routing,
            head: Some(head),
        })
    }

    /// An article that is sent, as the next revision of the stored one if there is one.
    async fn sent_case(
        &self,
        article: crate::wire::proto::v1::Article,
        routing: Routing,
    ) -> Result<Case, Fault> {
        let (id, mut article) = convert::routing::explained(article)?;
        let head = match id {
            Some(id) => self.live_head(id).await?,
            None => None,
        };
        if let Some(head) = &head {
            article.language = Some(head.facets().language.clone());
        }
        if article.language.is_none() {
            let message = "is empty, and no stored article says it; name it, such as ar or en";
            return Err(Fault::field("FIELD_INVALID", "article.language", message));
        }
        let stored = head.as_ref().map(|head| head.stored.record.topics.clone());
        Ok(Case {
            article,
            inherited: stored.unwrap_or_default(),
            routing,
            head,
        })
    }

    /// The newest revision of an article that is not killed.
    async fn live_head(&self, id: ArticleId) -> Result<Option<Arc<Entry>>, Fault> {
        if !self.log().is_fresh() {
            return Err(ReadError::Behind.fault());
        }
        let head = self.head(id).await.map_err(|error| error.fault())?;
        let is_killed =
            |head: &Arc<Entry>| head.stored.record.action == Action::Kill || self.is_killed(head);
        if head.as_ref().is_some_and(is_killed) {
            let message = "the article is killed; its text is not there any more";
            return Err(Fault::new(Kind::Precondition, "ARTICLE_KILLED", message));
        }
        Ok(head)
    }

    /// What another taxonomy would have done with the revisions of the log.
    ///
    /// # Errors
    /// A [`Fault`] for its caller.
    pub async fn compare(
        &self,
        request: CompareRoutingRequest,
    ) -> Result<impl Stream<Item = Result<CompareRoutingResponse, Status>> + use<>, Fault> {
        if request.taxonomy.is_empty() {
            let message = "is empty; give the text of the taxonomy to compare with";
            return Err(Fault::field("FIELD_INVALID", "taxonomy", message));
        }
        let filter = convert::filter(request.filter)?;
        let start = match &request.since {
            None => Start::Earliest,
            Some(since) => convert::time(Some(since))
                .map(Start::Since)
                .ok_or_else(|| {
                    let message = format!(
                        "{} s from 1970 is not a time of 1900 to 9999",
                        since.seconds
                    );
                    Fault::field("FIELD_INVALID", "since", message)
                })?,
        };
        let after = candidate(request.taxonomy).await?;
        let history = self.subscribe(filter, start).await;
        let comparison = Comparison {
            history: history.map_err(|error| error.fault())?,
            before: self.taxonomy(),
            after,
            compared_count: 0,
            different_count: 0,
            changes: BTreeMap::new(),
        };
        Ok(stream::unfold(Some(comparison), |comparison| async {
            let mut comparison = comparison?;
            match comparison.next().await {
                Ok(Some(difference)) => {
                    let result = Some(Compared::Difference(difference));
                    Some((Ok(CompareRoutingResponse { result }), Some(comparison)))
                }
                Ok(None) => {
                    let result = Some(Compared::Summary(comparison.summary()));
                    Some((Ok(CompareRoutingResponse { result }), None))
                }
                Err(error) => Some((Err(status(&error.fault())), None)),
            }
        }))
    }
}

/// A walk through the log under two taxonomies.
struct Comparison {
    history: Subscription,
    before: Arc<Taxonomy>,
    after: Arc<Taxonomy>,
    compared_count: u64,
    different_count: u64,
    /// How many revisions each topic would gain and lose.
    changes: BTreeMap<Topic, (u64, u64)>,
}

impl Comparison {
    /// The next revision that differs; none where history ends.
    async fn next(&mut self) -> Result<Option<RoutingDifference>, SubscribeError> {
        loop {
            // Each takes a fraction of a millisecond, and history never waits.
            yield_now().await;
            match self.history.next().await? {
                Output::Delivery(entry) => {
                    if let Some(difference) = self.compare(&entry)? {
                        return Ok(Some(difference));
                    }
                }
                // What is gone can't be compared.
                Output::Gap(_) | Output::Heartbeat(_) => {}
                Output::CaughtUp(_) => return Ok(None),
            }
        }
    }

    fn compare(&mut self, entry: &Entry) -> Result<Option<RoutingDifference>, ReadError> {
        let record = &entry.stored.record;
        if record.action.is_notice() {
            return Ok(None);
        }
        let (seq, routing) = (entry.seq(), record.routing);
        let article = convert::routing::routed(&record.article)
            .map_err(|source| ReadError::Corrupt { seq, source })?;
        let before = own_topics(&article, routing, &self.before);
        let after = own_topics(&article, routing, &self.after);
        self.compared_count += 1;
        if before == after {
            return Ok(None);
        }
        self.different_count += 1;
        for topic in after.iter().filter(|topic| !before.contains(topic)) {
            self.changes.entry(topic.clone()).or_default().0 += 1;
        }
        for topic in before.iter().filter(|topic| !after.contains(topic)) {
            self.changes.entry(topic.clone()).or_default().1 += 1;
        }
        Ok(Some(RoutingDifference {
            cursor: entry.cursor.to_string(),
            article_id: record.article_id.to_string(),
            revision: record.revision.get(),
            headline: article.headline,
            before: texts(&before),
            after: texts(&after),
        }))
    }

    fn summary(&mut self) -> RoutingComparison {
        let changes = mem::take(&mut self.changes).into_iter();
        RoutingComparison {
            compared_count: self.compared_count,
            different_count: self.different_count,
            changes: changes
                .map(|(topic, (gained_count, lost_count))| TopicChange {
                    topic: topic.to_string(),
                    gained_count,
                    lost_count,
                })
                .collect(),
        }
    }
}

/// The topics that a revision has by itself under a taxonomy. Topics that the publisher named and
/// this taxonomy does not know are not among them: it would have refused them.
fn own_topics(article: &Article, routing: Routing, taxonomy: &Taxonomy) -> Vec<Topic> {
    let mut article = article.clone();
    article
        .topics
        .retain(|topic| taxonomy.resolve(topic).is_some());
    let findings = match routing {
        Routing::Inferred => Findings::read(&article, taxonomy),
        Routing::Stated => Findings::default(),
    };
    route(&article, Action::Publish, &[], &findings, taxonomy)
        // With neither unknown nor inherited topics nothing is left that could fail.
        .map_or_else(|_| Vec::new(), |route| route.topics)
}

fn withheld() -> Fault {
    let message = "the article is withheld; its text is not shown while it is";
    Fault::new(Kind::Precondition, "ARTICLE_WITHHELD", message)
}
