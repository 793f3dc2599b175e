//! `barid.v1.ArticleService`: single stories and lists.

use std::{pin::Pin, sync::Arc};

use futures_util::Stream;
use tonic::{Request, Response, Status};

use crate::{
    access::scope::Scope,
    article::{ArticleId, check::shown},
    cursor::{Cursor, Place},
    delivery::{
        Entry,
        hub::{Hub, WINDOWS_MAX},
        start::{Beyond, SubscribeError, granted},
    },
    fault::{Fault, Kind},
    filter::Filter,
    gate::caller::{self, Reader},
    wire::{
        convert,
        log::ReadError,
        proto::v1::{
            CompareRoutingRequest, CompareRoutingResponse, Delivery, ExplainRoutingRequest,
            ExplainRoutingResponse, GetArticleRequest, GetArticleResponse, ListArticlesRequest,
            ListArticlesResponse, ListRevisionsRequest, ListRevisionsResponse,
            article_service_server::ArticleService,
        },
        status::status,
    },
};

/// Articles of a page where the request names no number.
const PAGE_SIZE: u32 = 20;
/// Most articles of a page.
const PAGE_SIZE_MAX: u32 = 100;
/// Bytes at which a page ends, so that it stays below gRPC's usual 4 MiB.
const PAGE_BYTES_MAX: usize = 3 * 1024 * 1024;
/// About what a delivery takes beside its article and topics' names: cursor, times, lengths.
const ENVELOPE_BYTES: usize = 256;
/// Candidates that are taken from the index at a time.
const CANDIDATES: usize = 128;
/// Steps that the search for an article's state at a snapshot may go back.
const STEPS_MAX: usize = 1000;

/// The article service.
#[derive(Clone, Debug)]
pub struct Articles {
    hub: Hub,
}

/// Where a list goes on: the state that all its pages show, and the sequence below which the next
/// page begins. Text form `<cursor>.<sequence>`.
#[derive(Clone, Copy, Debug)]
struct PageToken {
    snapshot: Cursor,
    before: u64,
}

/// A page as it grows.
struct Page {
    entries: Vec<Arc<Entry>>,
    bytes: usize,
    size_max: usize,
}

impl Page {
    fn new(size_max: usize) -> Self {
        Self {
            entries: Vec::new(),
            bytes: 0,
            size_max,
        }
    }

    fn push(&mut self, entry: Arc<Entry>) {
        let record = &entry.stored.record;
        let topic_bytes: usize = record.topics.iter().map(|topic| topic.as_str().len()).sum();
        self.bytes += record.article.len() + topic_bytes + ENVELOPE_BYTES;
        self.entries.push(entry);
    }

    fn is_full(&self) -> bool {
        self.entries.len() >= self.size_max || self.bytes >= PAGE_BYTES_MAX
    }
}

impl Articles {
    /// The service over a hub.
    pub fn new(hub: Hub) -> Self {
        Self { hub }
    }

    /// The newest revision of an article.
    ///
    /// # Errors
    /// The id is none, or nobody's, or the log can't be read.
    pub async fn get(
        &self,
        request: GetArticleRequest,
        reader: &Reader,
    ) -> Result<Delivery, Fault> {
        let id = article_id(&request.article_id)?;
        self.check_fresh()?;
        let head = self.hub.head(id).await.map_err(|error| error.fault())?;
        let head = head
            .filter(|head| opens(reader, head))
            .ok_or_else(|| unknown(id))?;
        // A kill that came while we read.
        let head = if self.hub.is_killed(&head) {
            self.shown(head).await.map_err(|error| error.fault())?
        } else {
            head
        };
        Ok(head.delivery())
    }

    /// A page of the revisions of an article, oldest first. While the article is withdrawn, those
    /// that are no notices come without their text.
    ///
    /// # Errors
    /// The id or the page is none, or the log can't be read.
    pub async fn revisions(
        &self,
        request: ListRevisionsRequest,
        reader: &Reader,
    ) -> Result<ListRevisionsResponse, Fault> {
        let id = article_id(&request.article_id)?;
        let mut page = Page::new(page_size(request.page_size)?);
        let mut first = match request.page_token.as_str() {
            "" => 1,
            text => text
                .parse()
                .ok()
                // The log begins at 1.
                .filter(|first| *first > 0)
                .ok_or_else(|| bad_token(text))?,
        };
        self.check_fresh()?;
        let read = |error: ReadError| error.fault();
        let head = self
            .hub
            .head(id)
            .await
            .map_err(read)?
            .filter(|head| opens(reader, head))
            .ok_or_else(|| unknown(id))?;
        while first <= head.seq() {
            let found = self.hub.revisions(id, first).await.map_err(read)?;
            if found.is_empty() {
                return Err(ReadError::Behind.fault());
            }
            for entry in found {
                if page.is_full() {
                    return Ok(self.revisions_page(&page, &head, first.to_string()));
                }
                first = entry.seq() + 1;
                if opens(reader, &entry) {
                    page.push(entry);
                }
            }
        }
        Ok(self.revisions_page(&page, &head, String::new()))
    }

    fn revisions_page(
        &self,
        page: &Page,
        head: &Entry,
        next_page_token: String,
    ) -> ListRevisionsResponse {
        // Judged last: a kill may have come while we read.
        let kept = page
            .entries
            .iter()
            .filter(|entry| !self.hub.is_killed(entry));
        let deliveries = kept.map(|entry| delivery_beside(entry, head)).collect();
        ListRevisionsResponse {
            deliveries,
            next_page_token,
        }
    }

    /// A page of the articles that a filter wants and that have not expired, by their newest
    /// revision, latest first.
    ///
    /// # Errors
    /// The filter or the page is none, or the log can't be read.
    pub async fn list(
        &self,
        request: ListArticlesRequest,
        scope: &Scope,
    ) -> Result<ListArticlesResponse, Fault> {
        let filter = convert::filter(request.filter)?;
        let mut page = Page::new(page_size(request.page_size)?);
        let subscribe = |error: SubscribeError| error.fault();
        let filter = self.hub.known(filter).await.map_err(subscribe)?;
        let filter = granted(&filter, scope, Beyond::Cut).map_err(subscribe)?;
        let read = |error: ReadError| error.fault();
        let last_seq = self.hub.log().confirm().await.map_err(read)?;
        let epochs = self.hub.log().epochs();
        let token = match request.page_token.as_str() {
            "" => PageToken {
                snapshot: epochs.cursor(last_seq),
                before: last_seq + 1,
            },
            text => text.parse().map_err(|()| bad_token(text))?,
        };
        // A list of a part that the log has lost begins anew.
        if !matches!(epochs.place(token.snapshot), Place::Known(seq) if seq <= last_seq)
            || token.before > token.snapshot.seq + 1
        {
            return Err(bad_token(&request.page_token));
        }
        let rest = self.fill(&mut page, &filter, token).await.map_err(read)?;
        let mut deliveries = Vec::with_capacity(page.entries.len());
        for entry in page.entries {
            // Judged last: a kill may have come while we read.
            let entry = if self.hub.is_killed(&entry) {
                self.shown(entry).await.map_err(read)?
            } else {
                entry
            };
            deliveries.push(entry.delivery());
        }
        let next_page_token = rest.map(|before| PageToken { before, ..token }.to_string());
        Ok(ListArticlesResponse {
            deliveries,
            next_page_token: next_page_token.unwrap_or_default(),
            snapshot_cursor: token.snapshot.to_string(),
        })
    }

    /// Fills a page; returns the sequence below which the next one begins, if there may be one.
    async fn fill(
        &self,
        page: &mut Page,
        filter: &Filter,
        token: PageToken,
    ) -> Result<Option<u64>, ReadError> {
        let (snapshot, mut before) = (token.snapshot.seq, token.before);
        let now = self.hub.now();
        loop {
            let (candidates, known_after) = self.hub.backwards(before, filter, CANDIDATES);
            if candidates.is_empty() {
                before = before.min(known_after + 1);
                break;
            }
            for (item, next) in candidates {
                if page.is_full() {
                    return Ok(Some(before));
                }
                before = item.seq;
                if next.is_some_and(|next| next <= snapshot) || item.is_expired(now) {
                    continue;
                }
                let Some(entry) = self.hub.entry_at(item.seq).await? else {
                    // Erased: the kill's notice stands in for it.
                    self.push_notice(page, item.article_id).await?;
                    continue;
                };
                if !entry.matches(filter) {
                    continue;
                }
                // Changed since the snapshot: perhaps withdrawn.
                page.push(if next.is_some() {
                    self.shown(entry).await?
                } else {
                    entry
                });
            }
        }
        for _ in 0..WINDOWS_MAX {
            if before <= self.hub.log().retained_from() {
                return Ok(None);
            }
            let (entries, first) = self.hub.window(before).await?;
            for entry in entries {
                if page.is_full() {
                    return Ok(Some(before));
                }
                before = entry.seq();
                if entry.matches(filter)
                    && !entry.is_expired(now)
                    && self.is_head_at(&entry, snapshot).await?
                {
                    page.push(self.shown(entry).await?);
                }
            }
            before = first;
        }
        Ok(Some(before))
    }

    async fn push_notice(&self, page: &mut Page, id: ArticleId) -> Result<(), ReadError> {
        if let Some(head) = self.hub.head(id).await?
            && head.stored.record.action.is_notice()
        {
            page.push(head);
        }
        Ok(())
    }

    /// What may be shown in place of a revision: itself, or the notice of a later withdrawal.
    async fn shown(&self, entry: Arc<Entry>) -> Result<Arc<Entry>, ReadError> {
        let head = self.hub.head(entry.article_id()).await?;
        Ok(match head {
            Some(head) if head.stored.record.action.is_notice() => head,
            Some(_) | None => entry,
        })
    }

    /// Whether a revision was its article's newest at a snapshot.
    async fn is_head_at(&self, entry: &Entry, snapshot: u64) -> Result<bool, ReadError> {
        let Some(head) = self.hub.head(entry.article_id()).await? else {
            return Ok(false);
        };
        let (mut seq, mut prior) = (head.seq(), head.stored.record.prior_revision_seq);
        for _ in 0..STEPS_MAX {
            if seq <= snapshot {
                return Ok(seq == entry.seq());
            }
            let Some(earlier) = self.hub.entry_at(prior).await? else {
                return Ok(false);
            };
            (seq, prior) = (earlier.seq(), earlier.stored.record.prior_revision_seq);
        }
        Ok(false)
    }

    fn check_fresh(&self) -> Result<(), Fault> {
        if self.hub.log().is_fresh() {
            Ok(())
        } else {
            Err(ReadError::Behind.fault())
        }
    }
}

/// Whether a revision may be read: as it would be delivered live.
fn opens(reader: &Reader, entry: &Entry) -> bool {
    let record = &entry.stored.record;
    reader.opens(&record.owner, &record.topics, entry.facets().language)
}

/// A revision as history shows it: while the article is withdrawn, without its text.
fn delivery_beside(entry: &Entry, head: &Entry) -> Delivery {
    let mut delivery = entry.delivery();
    if head.stored.record.action.is_notice() && !entry.stored.record.action.is_notice() {
        delivery.article.clear();
    }
    delivery
}

pub(super) fn article_id(text: &str) -> Result<ArticleId, Fault> {
    text.parse().map_err(|error| {
        let message = format!("{} is not an id: {error}", shown(text));
        Fault::field("FIELD_INVALID", "article_id", message)
    })
}

fn page_size(size: u32) -> Result<usize, Fault> {
    let size = if size == 0 { PAGE_SIZE } else { size };
    if size > PAGE_SIZE_MAX {
        let message = format!("{size} is more than {PAGE_SIZE_MAX}");
        return Err(Fault::field("FIELD_INVALID", "page_size", message));
    }
    Ok(usize::try_from(size).expect("at most 100"))
}

fn bad_token(text: &str) -> Fault {
    let message = format!(
        "{} is not a token of this list; begin anew without one",
        shown(text)
    );
    Fault::field("FIELD_INVALID", "page_token", message)
}

pub(super) fn unknown(id: ArticleId) -> Fault {
    Fault::new(
        Kind::Missing,
        "ARTICLE_UNKNOWN",
        format!("there is no article {id}"),
    )
}

impl std::fmt::Display for PageToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.snapshot, self.before)
    }
}

impl std::str::FromStr for PageToken {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (snapshot, before) = text.split_once('.').ok_or(())?;
        let snapshot = snapshot.parse().map_err(|_| ())?;
        Ok(Self {
            snapshot,
            before: before.parse().map_err(|_| ())?,
        })
    }
}

/// What the caller may read.
fn reader<T>(request: &Request<T>) -> Result<Reader, Status> {
    let reader = caller::of(request.extensions()).reader();
    reader.map_err(|fault| status(&fault))
}

#[tonic::async_trait]
impl ArticleService for Articles {
    async fn get_article(
        &self,
        request: Request<GetArticleRequest>,
    ) -> Result<Response<GetArticleResponse>, Status> {
        let reader = reader(&request)?;
        let delivery = self.get(request.into_inner(), &reader).await;
        let delivery = delivery.map_err(|fault| status(&fault))?;
        Ok(Response::new(GetArticleResponse {
            delivery: Some(delivery),
        }))
    }

    async fn list_articles(
        &self,
        request: Request<ListArticlesRequest>,
    ) -> Result<Response<ListArticlesResponse>, Status> {
        let scope = caller::of(request.extensions()).scope();
        let scope = scope.map_err(|fault| status(&fault))?;
        self.list(request.into_inner(), &scope)
            .await
            .map(Response::new)
            .map_err(|fault| status(&fault))
    }

    async fn list_revisions(
        &self,
        request: Request<ListRevisionsRequest>,
    ) -> Result<Response<ListRevisionsResponse>, Status> {
        let reader = reader(&request)?;
        self.revisions(request.into_inner(), &reader)
            .await
            .map(Response::new)
            .map_err(|fault| status(&fault))
    }

    async fn explain_routing(
        &self,
        request: Request<ExplainRoutingRequest>,
    ) -> Result<Response<ExplainRoutingResponse>, Status> {
        let author = caller::of(request.extensions()).author();
        let author = author.map_err(|fault| status(&fault))?;
        let explained = self.hub.explain(request.into_inner(), &author).await;
        explained.map(Response::new).map_err(|fault| status(&fault))
    }

    type CompareRoutingStream =
        Pin<Box<dyn Stream<Item = Result<CompareRoutingResponse, Status>> + Send>>;

    async fn compare_routing(
        &self,
        request: Request<CompareRoutingRequest>,
    ) -> Result<Response<Self::CompareRoutingStream>, Status> {
        let desk = caller::of(request.extensions()).desk();
        desk.map_err(|fault| status(&fault))?;
        let compared = self.hub.compare(request.into_inner()).await;
        let compared = compared.map_err(|fault| status(&fault))?;
        Ok(Response::new(Box::pin(compared)))
    }
}
