//! `barid.v1.RecipientService`: durable subscriptions as their owners and the desk see them, and whom
//! a recall has reached.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tonic::{Request, Response, Status};

use crate::{
    access::partner::{NameError, PartnerName},
    article::{ArticleId, check::shown},
    delivery::{
        Entry,
        durable::DurableError,
        hub::Hub,
        recalls::{Recalls, State},
        webhooks::Webhooks,
    },
    fault::{
        Fault, Kind,
        wrong::{Quoted, Wrong},
    },
    gate::caller::{self, Caller},
    recipient::subscription::{Subscription, SubscriptionId, SubscriptionName, known},
    webhook::WebhookId,
    wire::{
        convert::{self, field},
        log::{ReadError, subscriptions::KeptSubscription},
        proto::v1::{
            self as proto, DeleteSubscriptionRequest, DeleteSubscriptionResponse, GetRecallRequest,
            GetRecallResponse, GetSubscriptionRequest, GetSubscriptionResponse,
            ListSubscriptionsRequest, ListSubscriptionsResponse, RecallRecipient, RecallState,
            RecipientKind, ResetSubscriptionRequest, ResetSubscriptionResponse,
            recipient_service_server::RecipientService, reset_subscription_request::To,
        },
        status::status,
    },
};

/// Most subscriptions of a page: each is looked up in the index.
const PAGE_SIZE_MAX: u32 = 100;
/// Most recipients of a page of a recall.
const RECALL_PAGE_SIZE_MAX: u32 = 1000;
/// What page tokens of a recall's webhooks begin with; no subscription's does.
const WEBHOOKS: &str = "webhooks:";
/// What stands for the subscriptions of a node that asks for no keys.
const NOBODY: &str = "_";

/// The recipient service.
#[derive(Clone, Debug)]
pub struct Recipients {
    hub: Hub,
    recalls: Recalls,
    webhooks: Webhooks,
    clock: fn() -> SystemTime,
}

impl Recipients {
    /// The service over a hub.
    pub fn new(hub: Hub, recalls: Recalls, webhooks: Webhooks, clock: fn() -> SystemTime) -> Self {
        Self {
            hub,
            recalls,
            webhooks,
            clock,
        }
    }

    /// How long ago this node knew all durable subscriptions and webhooks that there were; none if it never
    /// did. While that is more than a second recall waits, and durable streams may.
    pub fn confirmed_age(&self) -> Option<Duration> {
        let subscriptions = self.hub.durables().freshness().age()?;
        Some(subscriptions.max(self.webhooks.freshness().age()?))
    }

    /// A page of durable subscriptions: the caller's own, or for the desk anybody's.
    ///
    /// # Errors
    /// Unauthenticated; forbidden `ROLE_MISSING`; a field that can't be read; unavailable.
    pub async fn list(
        &self,
        request: ListSubscriptionsRequest,
        caller: &Caller,
    ) -> Result<ListSubscriptionsResponse, Fault> {
        let own = caller.recipient()?;
        let partner = match request.partner.as_str() {
            "" if caller.desk().is_ok() => None,
            "" => Some(own),
            text => Some(whose(caller, own, text)?),
        };
        let size = page_size(request.page_size, PAGE_SIZE_MAX)?;
        let after = page_token(&request.page_token)?;
        let durables = self.hub.durables();
        let mut found = durables.list(partner.as_ref(), after.as_ref(), size + 1);
        let has_more = found.len() > size;
        found.truncate(size);
        let next = found.last().filter(|_| has_more);
        let next_page_token = next.map(|kept| kept.id.to_string()).unwrap_or_default();
        let mut subscriptions = Vec::with_capacity(found.len());
        for kept in found {
            subscriptions.push(self.shown(kept).await?);
        }
        Ok(ListSubscriptionsResponse {
            subscriptions,
            next_page_token,
        })
    }

    async fn get(
        &self,
        request: GetSubscriptionRequest,
        caller: &Caller,
    ) -> Result<proto::Subscription, Fault> {
        let id = id(caller, &request.partner, &request.name)?;
        let kept = self.hub.log().subscription(&id).await;
        let kept = kept.map_err(|error| error.fault())?;
        let kept = kept.ok_or_else(|| DurableError::Unknown(id).fault())?;
        self.shown(kept).await
    }

    async fn reset(
        &self,
        request: ResetSubscriptionRequest,
        caller: &Caller,
    ) -> Result<proto::Subscription, Fault> {
        let id = id(caller, &request.partner, &request.name)?;
        let log = self.hub.log();
        let end = log.confirm().await.map_err(|error| error.fault())?;
        let oldest = log.retained_from() - 1;
        let to = match request.to {
            Some(To::Now(())) => log.cursor(end),
            Some(To::Earliest(())) => log.cursor(oldest),
            Some(To::After(text)) => field::cursor("after", &text)?,
            Some(To::Since(time)) => {
                let since = convert::since(Some(&time))?.unwrap_or_default();
                let first = log.seq_at(since).await.map_err(|error| error.fault())?;
                log.cursor((first - 1).max(oldest))
            }
            None => {
                let message = "names no place; give one of now, after, since, earliest";
                return Err(Fault::field("FIELD_INVALID", "to", message));
            }
        };
        caller
            .record(log, "subscription.reset", &id.to_string())
            .await?;
        let kept = self.hub.durables().reset(&id, to).await;
        let kept = kept.map_err(|error| error.fault())?;
        tracing::info!(by = caller.name(), %id, %to, "reset a subscription");
        self.shown(kept).await
    }

    async fn delete(
        &self,
        request: DeleteSubscriptionRequest,
        caller: &Caller,
    ) -> Result<(), Fault> {
        let id = id(caller, &request.partner, &request.name)?;
        let log = self.hub.log();
        caller
            .record(log, "subscription.delete", &id.to_string())
            .await?;
        let removed = self.hub.durables().remove(&id).await;
        removed.map_err(|error| error.fault())?;
        tracing::info!(by = caller.name(), %id, "removed a subscription");
        Ok(())
    }

    /// Whom the last correction, withholding or kill of a story has reached, for the desk.
    ///
    /// # Errors
    /// Unauthenticated; forbidden `ROLE_MISSING`; a field that can't be read; missing
    /// `ARTICLE_UNKNOWN`; precondition `NOT_RECALLED`; unavailable.
    pub async fn recall(
        &self,
        request: GetRecallRequest,
        caller: &Caller,
    ) -> Result<GetRecallResponse, Fault> {
        caller.desk()?;
        let id: ArticleId = request.article_id.parse().map_err(|error| {
            let message = format!("{}: {error}", shown(&request.article_id));
            Fault::field("FIELD_INVALID", "article_id", message)
        })?;
        let size = page_size(request.page_size, RECALL_PAGE_SIZE_MAX)?;
        let webhooks_after = webhooks_token(&request.page_token)?;
        let after = match webhooks_after {
            Some(_) => None,
            None => page_token(&request.page_token)?,
        };
        let last = self.recalls.last(id).await.map_err(|error| error.fault())?;
        let recall = last.ok_or_else(|| {
            let message = format!("there is no article {id}");
            Fault::new(Kind::Missing, "ARTICLE_UNKNOWN", message)
        })?;
        let recall = recall.ok_or_else(|| {
            let message = format!("nothing of the article {id} was corrected, withheld or killed");
            Fault::new(Kind::Precondition, "NOT_RECALLED", message)
        })?;
        // Whoever has just come on another node, or been sent something there, counts.
        for freshness in [self.webhooks.freshness(), self.hub.durables().freshness()] {
            let settled = freshness.settled().await;
            settled.map_err(|error| error.fault())?;
        }
        let (recipients, next_page_token) = match webhooks_after {
            Some(after) => self.recalled_webhooks(&recall, after, size).await?,
            None => {
                let recalled = self.recalled_subscriptions(&recall, after.as_ref(), size);
                recalled.await.map_err(|error| error.fault())?
            }
        };
        let record = &recall.stored.record;
        Ok(GetRecallResponse {
            revision: record.revision.get(),
            action: convert::action_to_proto(record.action).into(),
            cursor: recall.cursor.to_string(),
            published_at: Some(convert::time_to_proto(record.published_at)),
            recipients,
            next_page_token,
        })
    }

    async fn recalled_subscriptions(
        &self,
        recall: &Entry,
        after: Option<&SubscriptionId>,
        size: usize,
    ) -> Result<(Vec<RecallRecipient>, String), Arc<ReadError>> {
        let mut kept = self.hub.durables().list(None, after, size + 1);
        // They may have been forgotten since, to be read anew.
        if !self.hub.durables().freshness().is_fresh() {
            return Err(Arc::new(ReadError::Behind));
        }
        let has_more = kept.len() > size;
        kept.truncate(size);
        let next = kept.last().filter(|_| has_more);
        // Webhooks come after them.
        let next = next.map_or_else(|| WEBHOOKS.to_owned(), |kept| kept.id.to_string());
        let mut recipients = Vec::with_capacity(kept.len());
        for kept in &kept {
            recipients.push(RecallRecipient {
                partner: partner_text(&kept.id),
                name: kept.id.name.to_string(),
                kind: RecipientKind::Subscription.into(),
                state: state_to_proto(self.recalls.state(kept, recall).await?).into(),
            });
        }
        Ok((recipients, next))
    }

    async fn recalled_webhooks(
        &self,
        recall: &Entry,
        after: Option<WebhookId>,
        size: usize,
    ) -> Result<(Vec<RecallRecipient>, String), Fault> {
        let mut states = self.webhooks.recalled(recall, after, size + 1).await?;
        let has_more = states.len() > size;
        states.truncate(size);
        let next = states.last().filter(|_| has_more);
        let next = next.map(|(webhook, _)| format!("{WEBHOOKS}{}", webhook.id));
        let recipients = states.iter().map(|(webhook, state)| RecallRecipient {
            partner: webhook
                .partner
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            name: webhook.id.to_string(),
            kind: RecipientKind::Webhook.into(),
            state: state_to_proto(*state).into(),
        });
        Ok((recipients.collect(), next.unwrap_or_default()))
    }

    /// A subscription with how far it is behind.
    async fn shown(&self, kept: KeptSubscription) -> Result<proto::Subscription, Fault> {
        let KeptSubscription {
            id, subscription, ..
        } = kept;
        let epochs = self.hub.log().epochs();
        let place = subscription.place(&epochs);
        let cursor = known(place, &epochs).unwrap_or(0);
        let filter = subscription.coverage.filter();
        let lag = self.hub.lag_after(cursor, filter, (self.clock)()).await;
        let lag = lag.map_err(|error| error.fault())?;
        let here = self.hub.durables().sent_here(&id);
        let sent = known(subscription.sent, &epochs).max(here).unwrap_or(0);
        let time = |seconds| prost_types::Timestamp { seconds, nanos: 0 };
        let Subscription {
            node,
            version,
            created,
            used,
            ..
        } = subscription;
        Ok(proto::Subscription {
            partner: partner_text(&id),
            name: id.name.to_string(),
            cursor: place.to_string(),
            sent: epochs.cursor(sent.max(cursor)).to_string(),
            lag_articles: lag.articles,
            lag_is_least: lag.is_least,
            lag: prost_types::Duration::try_from(lag.time).ok(),
            connected_to: node,
            filter: Some(convert::filter_to_proto(subscription.coverage.filter())),
            version,
            created: Some(time(created)),
            used: Some(time(used)),
        })
    }
}

#[tonic::async_trait]
impl RecipientService for Recipients {
    async fn list_subscriptions(
        &self,
        request: Request<ListSubscriptionsRequest>,
    ) -> Result<Response<ListSubscriptionsResponse>, Status> {
        let caller = caller::of(request.extensions());
        let listed = self.list(request.into_inner(), &caller).await;
        listed.map(Response::new).map_err(|fault| status(&fault))
    }

    async fn get_subscription(
        &self,
        request: Request<GetSubscriptionRequest>,
    ) -> Result<Response<GetSubscriptionResponse>, Status> {
        let caller = caller::of(request.extensions());
        let got = self.get(request.into_inner(), &caller).await;
        let subscription = Some(got.map_err(|fault| status(&fault))?);
        Ok(Response::new(GetSubscriptionResponse { subscription }))
    }

    async fn reset_subscription(
        &self,
        request: Request<ResetSubscriptionRequest>,
    ) -> Result<Response<ResetSubscriptionResponse>, Status> {
        let caller = caller::of(request.extensions());
        let reset = self.reset(request.into_inner(), &caller).await;
        let subscription = Some(reset.map_err(|fault| status(&fault))?);
        Ok(Response::new(ResetSubscriptionResponse { subscription }))
    }

    async fn delete_subscription(
        &self,
        request: Request<DeleteSubscriptionRequest>,
    ) -> Result<Response<DeleteSubscriptionResponse>, Status> {
        let caller = caller::of(request.extensions());
        let deleted = self.delete(request.into_inner(), &caller).await;
        deleted.map_err(|fault| status(&fault))?;
        Ok(Response::new(DeleteSubscriptionResponse {}))
    }

    async fn get_recall(
        &self,
        request: Request<GetRecallRequest>,
    ) -> Result<Response<GetRecallResponse>, Status> {
        let caller = caller::of(request.extensions());
        let recall = self.recall(request.into_inner(), &caller).await;
        recall.map(Response::new).map_err(|fault| status(&fault))
    }
}

/// Which subscription a caller names, if it may.
fn id(caller: &Caller, partner: &str, name: &str) -> Result<SubscriptionId, Fault> {
    let own = caller.recipient()?;
    Ok(SubscriptionId {
        partner: whose(caller, own, partner)?,
        name: self::name("name", name)?,
    })
}

/// Which of the caller's own subscriptions a field names.
///
/// # Errors
/// As [`Caller::recipient`]; a fault that names the field.
pub fn own(caller: &Caller, field: &str, text: &str) -> Result<SubscriptionId, Fault> {
    Ok(SubscriptionId {
        partner: caller.recipient()?,
        name: name(field, text)?,
    })
}

/// A subscription's name in a request's field.
///
/// # Errors
/// A fault that names the field.
fn name(field: &str, text: &str) -> Result<SubscriptionName, Fault> {
    text.parse().map_err(|error| {
        let message = format!("{}: {error}", shown(text));
        Fault::field("FIELD_INVALID", field, message)
    })
}

/// Whose subscriptions are meant: one's own, or anybody's for the desk.
fn whose(
    caller: &Caller,
    own: Option<PartnerName>,
    text: &str,
) -> Result<Option<PartnerName>, Fault> {
    let meant = match text {
        "" => return Ok(own),
        NOBODY => None,
        text => Some(text.parse().map_err(|NameError| {
            let value = Quoted::of(text);
            Fault::field("FIELD_INVALID", "partner", Wrong::NoPartner { value })
        })?),
    };
    if meant != own {
        caller.desk()?;
    }
    Ok(meant)
}

fn partner_text(id: &SubscriptionId) -> String {
    let partner = id.partner.as_ref();
    partner.map(ToString::to_string).unwrap_or_default()
}

fn page_size(asked: u32, most: u32) -> Result<usize, Fault> {
    let size = if asked == 0 { most } else { asked };
    if size > most {
        let message = format!("{asked} is more than {most}");
        return Err(Fault::field("FIELD_INVALID", "page_size", message));
    }
    Ok(usize::try_from(size).unwrap_or(usize::MAX))
}

fn state_to_proto(state: State) -> RecallState {
    match state {
        State::NeverHad => RecallState::NeverHad,
        State::Outstanding => RecallState::Outstanding,
        State::Sent => RecallState::Sent,
        State::Acknowledged => RecallState::Acknowledged,
    }
}

/// After which webhook a page of them begins; none = it is no page of webhooks.
fn webhooks_token(text: &str) -> Result<Option<Option<WebhookId>>, Fault> {
    match text.strip_prefix(WEBHOOKS) {
        None => Ok(None),
        Some("") => Ok(Some(None)),
        Some(id) => match id.parse() {
            Ok(id) => Ok(Some(Some(id))),
            Err(error) => {
                let message = format!("{} names no page: {error}", shown(text));
                Err(Fault::field("FIELD_INVALID", "page_token", message))
            }
        },
    }
}

fn page_token(text: &str) -> Result<Option<SubscriptionId>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error| {
        let message = format!("{} names no page: {error}", shown(text));
        Fault::field("FIELD_INVALID", "page_token", message)
    })
}
