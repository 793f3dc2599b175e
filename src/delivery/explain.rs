//! Explaining and comparing routing: dry runs over sent and stored articles.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    sync::Arc,
    time::Duration,
};

use futures_util::{Stream, stream};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::{JoinSet, spawn_blocking},
    time::Instant,
};
use tonic::Status;

use crate::{
    access::author::Author,
    article::{Action, Article, ArticleId, Revision, Routing},
    cursor::Cursor,
    delivery::{
        Entry,
        articles::{article_id, unknown},
        hub::Hub,
    },
    fault::{Fault, Kind},
    filter::Filter,
    routing::{explain::explain, findings::Findings, route, taxonomy::Taxonomy},
    topic::Topic,
    wire::{
        convert,
        log::{ReadError, page::Walk},
        proto::v1::{
            CompareRoutingRequest, CompareRoutingResponse, ExplainRoutingRequest,
            ExplainRoutingResponse, RoutingComparison, RoutingDifference, TopicChange,
            compare_routing_response::Result as Compared, explain_routing_request::Subject,
        },
        record::texts,
        status::status,
    },
};

/// Most comparisons that a node has open, each with a taxonomy of its own. Full: refused, with a time.
const COMPARISONS_MAX: usize = 16;
/// When a comparison beyond those is to be tried again.
const COMPARISONS_RETRY: Duration = Duration::from_secs(5);
/// How long a comparison computes before the next has its turn.
const TURN: Duration = Duration::from_millis(20);
/// Turns of a comparison whose client has not taken yet what they found. Full: it waits.
const AHEAD_TURNS_MAX: usize = 1;

/// Dry runs of routing compute one after the other, away from the runtime: however many there are,
/// publishing and delivery have the other processors.
#[derive(Debug)]
pub struct DryRuns {
    turns: Arc<Semaphore>,
    comparisons: Arc<Semaphore>,
}

impl DryRuns {
    /// None yet.
    pub fn none() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(1)),
            comparisons: Arc::new(Semaphore::new(COMPARISONS_MAX)),
        }
    }

    /// Computes, when everybody who came before has had a turn.
    ///
    /// Not from the body of an answer: while its client stands still nobody polls that. It would be
    /// given its turn all the same, and keep it from everybody else.
    async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let turn = turn.expect("never closed");
        // The turn goes with the work: a caller that goes away does not end it.
        let done = spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        done.await.expect("a dry run does not panic")
    }

    /// A taxonomy that a caller sends: many phrases take a while.
    async fn candidate(&self, text: String) -> Result<Arc<Taxonomy>, Fault> {
        let made = self.compute(move || convert::routing::taxonomy(&text));
        made.await.map(Arc::new)
    }

    /// Room for one more comparison.
    fn begin_comparison(&self) -> Result<OwnedSemaphorePermit, Fault> {
        Arc::clone(&self.comparisons)
            .try_acquire_owned()
            .map_err(|_| {
                let message = format!(
                    "this node has {COMPARISONS_MAX} comparisons open, as many as it takes; wait \
                     for one to end, or ask another node"
                );
                Fault {
                    retry_after: Some(COMPARISONS_RETRY),
                    ..Fault::new(Kind::Exhausted, "COMPARISONS_TOO_MANY", message)
                }
            })
    }
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
    /// A [`Fault`] for its caller, who could be the author of what is asked about.
    pub async fn explain(
        &self,
        request: ExplainRoutingRequest,
        author: &Author,
    ) -> Result<ExplainRoutingResponse, Fault> {
        let routing = convert::routing::routing(request.routing)?;
        let taxonomy = if request.taxonomy.is_empty() {
            self.taxonomy()
        } else {
            self.dry_runs().candidate(request.taxonomy).await?
        };
        let case = match request.subject {
            None => {
                let message = "neither article nor article_id is given; give one of them";
                return Err(Fault::field("FIELD_INVALID", "subject", message));
            }
            Some(Subject::ArticleId(text)) => {
                let id = article_id(&text)?;
                self.stored_case(id, author).await?
            }
            Some(Subject::Article(article)) => self.sent_case(article, routing, author).await?,
        };
        let Case {
            article,
            inherited,
            routing,
            head,
        } = case;
        let explained = self.dry_runs().compute(move || {
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
        let mut response = explained.await.map_err(|error| error.fault())?;
        if let Some(head) = head {
            let record = &head.stored.record;
            response.stored_topics = texts(&record.topics);
            response.stored_reasons.clone_from(&record.topic_reasons);
        }
        Ok(response)
    }

    /// The newest revision of a stored article, as if it were published now.
    async fn stored_case(&self, id: ArticleId, author: &Author) -> Result<Case, Fault> {
        let read = |error: ReadError| error.fault();
        // To whoever could not publish over it, it is not there.
        let may_ask = |head: &Entry| check_read(author, head).map_err(|_| unknown(id));
        let head = self.shown_head(id, may_ask).await?;
        let record = &head.stored.record;
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
        author: &Author,
    ) -> Result<Case, Fault> {
        let (id, mut article) = convert::routing::explained(article)?;
        let head = match id {
            Some(id) => self.live_head(id, |head| check_read(author, head)).await?,
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

    /// The newest revision of an article whose text may be shown.
    ///
    /// # Errors
    /// What `may_ask` says of it; the article is nobody's, killed or withheld, or the log can't be
    /// read.
    pub async fn shown_head(
        &self,
        id: ArticleId,
        may_ask: impl FnOnce(&Entry) -> Result<(), Fault>,
    ) -> Result<Arc<Entry>, Fault> {
        let head = self.live_head(id, may_ask).await?;
        let head = head.ok_or_else(|| unknown(id))?;
        if head.stored.record.action.is_notice() {
            return Err(withheld());
        }
        Ok(head)
    }

    /// The newest revision of an article that is not killed.
    async fn live_head(
        &self,
        id: ArticleId,
        may_ask: impl FnOnce(&Entry) -> Result<(), Fault>,
    ) -> Result<Option<Arc<Entry>>, Fault> {
        if !self.log().is_fresh() {
            return Err(ReadError::Behind.fault());
        }
        let head = self.head(id).await.map_err(|error| error.fault())?;
        let Some(head) = head else {
            return Ok(None);
        };
        // First: what has become of it is not everybody's to know.
        may_ask(&head)?;
        if head.stored.record.action == Action::Kill || self.is_killed(&head) {
            let message = "the article is killed; its text is not there any more";
            return Err(Fault::new(Kind::Precondition, "ARTICLE_KILLED", message));
        }
        Ok(Some(head))
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
        let since = convert::since(request.since.as_ref())?;
        let room = self.dry_runs().begin_comparison()?;
        let after = self.dry_runs().candidate(request.taxonomy).await?;
        let filter = self.known(filter).await.map_err(|error| error.fault())?;
        let read = |error: ReadError| error.fault();
        let log = self.log();
        let end = log.confirm().await.map_err(read)?;
        let first = match since {
            Some(time_ns) => log.seq_at(time_ns).await.map_err(read)?,
            None => 1,
        };
        let judge = Judge {
            hub: self.clone(),
            filter,
            before: self.taxonomy(),
            after,
        };
        let walk = log.walk(first.saturating_sub(1));
        let (turns_in, turns) = mpsc::channel(AHEAD_TURNS_MAX);
        let mut judging = JoinSet::new();
        judging.spawn(Arc::new(judge).walk(walk, end, turns_in));
        let comparison = Comparison {
            hub: self.clone(),
            _room: room,
            judging,
            turns,
            judged: VecDeque::new(),
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

/// A walk through the log under two taxonomies, as its client takes it.
struct Comparison {
    hub: Hub,
    _room: OwnedSemaphorePermit,
    /// The walk, in a task of its own that ends with this. Not left to the answer's body: nobody polls
    /// that while its client stands still, and its places among those who read pages and compute would
    /// stay taken.
    judging: JoinSet<Result<(), ReadError>>,
    /// What it has judged, turn by turn.
    turns: mpsc::Receiver<VecDeque<Judged>>,
    /// What was judged and not told yet.
    judged: VecDeque<Judged>,
    compared_count: u64,
    different_count: u64,
    /// How many revisions each topic would gain and lose.
    changes: BTreeMap<Topic, (u64, u64)>,
}

/// What a comparison judges by.
struct Judge {
    hub: Hub,
    filter: Filter,
    before: Arc<Taxonomy>,
    after: Arc<Taxonomy>,
}

/// A revision under both taxonomies, without its text: it may wait for long.
struct Judged {
    cursor: Cursor,
    article_id: ArticleId,
    revision: Revision,
    headline: String,
    before: Vec<Topic>,
    after: Vec<Topic>,
}

impl Judge {
    /// Reads and judges all up to where the log ended, as far as there is room for what it finds.
    async fn walk(
        self: Arc<Self>,
        mut walk: Walk,
        end: u64,
        turns: mpsc::Sender<VecDeque<Judged>>,
    ) -> Result<(), ReadError> {
        loop {
            let mut page = VecDeque::from(self.hub.page(&mut walk, end).await?);
            if page.is_empty() {
                return Ok(());
            }
            while !page.is_empty() {
                let judge = Arc::clone(&self);
                let judged = self.hub.dry_runs().compute(move || {
                    let judged = judge.judge(&mut page);
                    judged.map(|judged| (judged, page))
                });
                let (judged, rest) = judged.await?;
                page = rest;
                // Waits for the client, and only here: without a page's place in the pool or a turn.
                if turns.send(judged).await.is_err() {
                    return Ok(());
                }
            }
        }
    }

    /// Judges for a turn; what is left of the page waits for the next.
    fn judge(&self, page: &mut VecDeque<Arc<Entry>>) -> Result<VecDeque<Judged>, ReadError> {
        let until = Instant::now() + TURN;
        let mut judged = VecDeque::new();
        while let Some(entry) = page.pop_front() {
            let record = &entry.stored.record;
            let is_wanted = entry.matches(&self.filter) && !self.hub.is_killed(&entry);
            if is_wanted && !record.action.is_notice() {
                let (seq, routing) = (entry.seq(), record.routing);
                let article = convert::routing::routed(&record.article)
                    .map_err(|source| ReadError::Corrupt { seq, source })?;
                judged.push_back(Judged {
                    cursor: entry.cursor,
                    article_id: record.article_id,
                    revision: record.revision,
                    before: own_topics(&article, routing, &self.before),
                    after: own_topics(&article, routing, &self.after),
                    headline: article.headline,
                });
            }
            if Instant::now() >= until {
                break;
            }
        }
        Ok(judged)
    }
}

impl Comparison {
    /// The next revision that differs; none where history ends.
    async fn next(&mut self) -> Result<Option<RoutingDifference>, ReadError> {
        loop {
            while let Some(judged) = self.judged.pop_front() {
                // Asked again: a kill may have come while it waited.
                let killed = self.hub.log().killed();
                if !killed.covers(judged.article_id, judged.cursor.seq)
                    && let Some(difference) = self.count(judged)
                {
                    return Ok(Some(difference));
                }
            }
            match self.turns.recv().await {
                Some(judged) => self.judged = judged,
                None => break,
            }
        }
        while let Some(ended) = self.judging.join_next().await {
            ended.expect("judging does not panic")?;
        }
        Ok(None)
    }

    /// Counts a revision; the difference, if there is one.
    fn count(&mut self, judged: Judged) -> Option<RoutingDifference> {
        let Judged {
            cursor,
            article_id,
            revision,
            headline,
            before,
            after,
        } = judged;
        self.compared_count += 1;
        if before == after {
            return None;
        }
        self.different_count += 1;
        for topic in after.iter().filter(|topic| !before.contains(topic)) {
            self.changes.entry(topic.clone()).or_default().0 += 1;
        }
        for topic in before.iter().filter(|topic| !after.contains(topic)) {
            self.changes.entry(topic.clone()).or_default().1 += 1;
        }
        Some(RoutingDifference {
            cursor: cursor.to_string(),
            article_id: article_id.to_string(),
            revision: revision.get(),
            headline,
            before: texts(&before),
            after: texts(&after),
        })
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

fn check_read(author: &Author, head: &Entry) -> Result<(), Fault> {
    let record = &head.stored.record;
    author.check_read(&record.owner, &record.topics, head.facets().language)
}

fn withheld() -> Fault {
    let message = "the article is withheld; its text is not shown while it is";
    Fault::new(Kind::Precondition, "ARTICLE_WITHHELD", message)
}
