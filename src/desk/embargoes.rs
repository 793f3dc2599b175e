//! Drafts of articles under embargo, and what the desk does with them.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::{
    article::ArticleId,
    fault::{Fault, Kind, wrong::Wrong},
    gate::caller::Caller,
    wire::{
        convert::{embargo as convert, time, time_to_proto},
        log::{
            Log,
            batch::AppendError,
            embargo::{
                AHEAD_MAX, Place, Released, changed,
                queue::{Card, State},
            },
            patiently,
        },
        proto::v1::{
            CancelEmbargoRequest, Embargo, GetEmbargoRequest, GetEmbargoResponse,
            ListEmbargoesRequest, ListEmbargoesResponse, MoveEmbargoRequest, ReleaseEmbargoRequest,
            ReleaseEmbargoResponse,
        },
        record::{draft::Draft, texts, time_of},
    },
};

/// How long a step of the desk is tried.
const PATIENCE: Duration = Duration::from_secs(10);

/// The desk's side of embargoes.
#[derive(Clone, Debug)]
pub struct Embargoes {
    log: Log,
    clock: fn() -> SystemTime,
}

impl Embargoes {
    /// Over a log.
    pub fn new(log: Log, clock: fn() -> SystemTime) -> Self {
        Self { log, clock }
    }

    /// A page of drafts, as this node knows them.
    ///
    /// # Errors
    /// The caller is not of the desk, or the page is none.
    pub fn list(
        &self,
        caller: &Caller,
        request: &ListEmbargoesRequest,
    ) -> Result<ListEmbargoesResponse, Fault> {
        caller.desk()?;
        let size = convert::page_size(request.page_size)?;
        let place = convert::page_place(&request.page_token)?;
        let mut cards = self.log.embargoes().after(place, size + 1);
        let has_more = cards.len() > size;
        cards.truncate(size);
        let last = cards.last().filter(|_| has_more);
        Ok(ListEmbargoesResponse {
            next_page_token: last
                .map(|card| convert::page_token(card))
                .unwrap_or_default(),
            embargoes: (cards.iter().map(|card| convert::embargo_to_proto(card))).collect(),
        })
    }

    /// A draft with its text.
    ///
    /// # Errors
    /// The caller is not of the desk; there is none, or the log can't be read.
    pub async fn get(
        &self,
        caller: &Caller,
        request: &GetEmbargoRequest,
    ) -> Result<GetEmbargoResponse, Fault> {
        caller.desk()?;
        let id = convert::article_id(&request.article_id)?;
        let (draft, seq) = self.draft(id, 0, Instant::now() + PATIENCE).await?;
        Ok(GetEmbargoResponse {
            embargo: Some(self.shown(&draft, seq)?),
            article: Some(draft.article().map_err(|_| unreadable())?),
        })
    }

    /// Gives a draft another time.
    ///
    /// # Errors
    /// The caller is not of the desk; there is none of this version, the time does not lie ahead, or
    /// the log does not take it.
    pub async fn move_to(
        &self,
        caller: &Caller,
        request: &MoveEmbargoRequest,
    ) -> Result<Embargo, Fault> {
        let id = self
            .begin(caller, "embargo.move", &request.article_id)
            .await?;
        let moved = self.moved(id, request).await?;
        tracing::info!(by = caller.name(), article = %id, "moved an embargo");
        Ok(moved)
    }

    async fn moved(&self, id: ArticleId, request: &MoveEmbargoRequest) -> Result<Embargo, Fault> {
        let until = convert::until(request.embargoed_until.as_ref())?;
        let left = self.log.embargo_left(until, (self.clock)());
        if left.is_zero() || left > AHEAD_MAX {
            let days = AHEAD_MAX.as_secs() / 86_400;
            let wrong = Wrong::NotAhead { days };
            return Err(Fault::field("FIELD_INVALID", "embargoed_until", wrong));
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (draft, seq) = self.draft(id, request.expected_version, deadline).await?;
            if draft.until == until {
                return self.shown(&draft, seq);
            }
            let article = draft.article().map_err(|_| unreadable())?;
            if let Some(end) = time(article.expires.as_ref())
                && end <= until
            {
                let end = time_to_proto(end).to_string();
                let wrong = Wrong::AfterExpiry { end };
                return Err(Fault::field("FIELD_INVALID", "embargoed_until", wrong));
            }
            let draft = draft.moved(until).map_err(|_| unreadable())?;
            match self.log.change_draft(&draft, seq, deadline).await {
                Ok(seq) => return self.shown(&draft, seq),
                Err(error) => again(&error, deadline)?,
            }
        }
    }

    /// Erases a draft.
    ///
    /// # Errors
    /// The caller is not of the desk; there is none of this version, or the log does not take it.
    pub async fn cancel(
        &self,
        caller: &Caller,
        request: &CancelEmbargoRequest,
    ) -> Result<(), Fault> {
        let id = self
            .begin(caller, "embargo.cancel", &request.article_id)
            .await?;
        self.ended(id, request.expected_version).await?;
        tracing::info!(by = caller.name(), article = %id, "erased a draft");
        Ok(())
    }

    async fn ended(&self, id: ArticleId, version: u64) -> Result<(), Fault> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (_, seq) = self.draft(id, version, deadline).await?;
            match self.log.end_draft(id, seq, deadline).await {
                Ok(()) => return Ok(()),
                Err(error) => again(&error, deadline)?,
            }
        }
    }

    /// Releases a draft now.
    ///
    /// # Errors
    /// The caller is not of the desk; there is none of this version, its article has moved on, or the
    /// log does not take it.
    pub async fn release(
        &self,
        caller: &Caller,
        request: &ReleaseEmbargoRequest,
    ) -> Result<ReleaseEmbargoResponse, Fault> {
        let id = self
            .begin(caller, "embargo.release", &request.article_id)
            .await?;
        let deadline = Instant::now() + PATIENCE;
        let (draft, seq) = self.draft(id, request.expected_version, deadline).await?;
        let now = time_of((self.clock)());
        // Whoever reads it must not take it for one that is still held back.
        let draft = if draft.until > now {
            draft.moved(now)
        } else {
            Ok(draft)
        };
        let draft = draft.map_err(|_| unreadable())?;
        let released = self.log.release(draft, seq, now, deadline).await;
        let (Released::Now(stored) | Released::Before(stored)) =
            released.map_err(|error| error.fault())?;
        tracing::info!(by = caller.name(), article = %id, "released a draft before its time");
        Ok(ReleaseEmbargoResponse {
            article_id: id.to_string(),
            revision: stored.record.revision.get(),
            topics: texts(&stored.record.topics),
            cursor: self.log.cursor(stored.seq).to_string(),
        })
    }

    /// Which draft a caller means to change: of the desk, and recorded before anything is done.
    async fn begin(&self, caller: &Caller, action: &str, id: &str) -> Result<ArticleId, Fault> {
        caller.desk()?;
        let id = convert::article_id(id)?;
        caller.record(&self.log, action, &id.to_string()).await?;
        Ok(id)
    }

    /// An article's draft and its version, if it is the one that is meant; 0 = any.
    async fn draft(
        &self,
        id: ArticleId,
        version: u64,
        deadline: Instant,
    ) -> Result<(Draft, u64), Fault> {
        let place = patiently(deadline, || self.log.draft_place(id)).await;
        match place.map_err(|error| error.fault())? {
            Place { draft: None, .. } => Err(unknown(id)),
            Place { seq, .. } if version != 0 && version != seq => Err(changed()),
            Place {
                seq,
                draft: Some(draft),
            } => Ok((draft, seq)),
        }
    }

    /// A draft as the desk sees it, in the state that this node knows it in.
    fn shown(&self, draft: &Draft, seq: u64) -> Result<Embargo, Fault> {
        let mut card = Card::new(draft, seq).map_err(|_| unreadable())?;
        let known = self.log.embargoes().card(card.article_id());
        let state = known.filter(|known| known.seq == seq);
        card.state = state.map_or(State::Scheduled, |known| known.state);
        Ok(convert::embargo_to_proto(&card))
    }
}

/// Whether a step is to be tried again: somebody else was faster.
fn again(error: &AppendError, deadline: Instant) -> Result<(), Fault> {
    match error {
        AppendError::Stale { .. } if Instant::now() < deadline => Ok(()),
        error => Err(error.fault()),
    }
}

fn unknown(id: ArticleId) -> Fault {
    let message = format!("there is no draft of {id}; it was released or erased, or never was");
    Fault::new(Kind::Missing, "EMBARGO_UNKNOWN", message)
}

fn unreadable() -> Fault {
    let message = "the draft is not readable; ask the operator";
    Fault::new(Kind::Bug, "RECORD_UNREADABLE", message)
}
