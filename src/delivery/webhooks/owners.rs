//! Owners: how desks and partners make, change and end webhooks. The log's bucket decides; nodes,
//! this one too, follow it.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    access::partner::PartnerName,
    cursor::{Cursor, Place},
    delivery::{
        lag::Lag,
        start::{Beyond, granted},
        webhooks::{Webhooks, sending::said},
    },
    fault::{Fault, Kind},
    filter::Filter,
    gate::caller::{Caller, Stewardship},
    recipient::{Coverage, subscription::known},
    webhook::{
        PER_PARTNER_MAX, ParkedList, Progress, Replay, Spec, State, WEBHOOKS_MAX, Webhook,
        WebhookId,
        signing::{SecretError, SigningKey},
    },
    wire::{
        convert::{Start, webhook::Given},
        log::{ReadError, webhooks::Kept},
    },
};

/// How often a change that somebody else crossed is tried anew.
pub(super) const RACES_MAX: usize = 8;
/// Most characters of an answer that are shown.
const SHOWN_CHARS_MAX: usize = 1000;

/// Orders webhooks: when one was made, in seconds from 1970, and its name.
pub type Age = (i64, WebhookId);

/// A webhook with how far it has come.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The webhook.
    pub webhook: Webhook,
    /// How far it has come.
    pub progress: Progress,
    /// What is parked.
    pub parked: ParkedList,
}

/// What a webhook answered to a test.
#[derive(Clone, Debug)]
pub struct Tested {
    /// The status; none = there was no answer.
    pub status: Option<u16>,
    /// Why not, else empty.
    pub failure: String,
    /// The beginning of what it said.
    pub body: String,
    /// How long it took.
    pub took: Duration,
}

impl Webhooks {
    /// Makes a webhook. Returns its secret beside it.
    ///
    /// # Errors
    /// Forbidden `ROLE_MISSING`, `NOT_GRANTED`, `FILTER_NOT_GRANTED`; invalid `TARGET_REFUSED`,
    /// `TOPIC_UNKNOWN`, `FIELD_INVALID`; exhausted `WEBHOOKS_MAX`; unavailable.
    pub async fn create(
        &self,
        caller: &Caller,
        given: Given,
        start: Start,
        secret: Option<&str>,
    ) -> Result<(Shown, String), Fault> {
        let partner = given.partner.clone();
        let partner = match caller.stewardship()? {
            Stewardship::All(own) => partner.or(own),
            Stewardship::Of(own) if partner.as_ref().is_none_or(|asked| *asked == own) => Some(own),
            Stewardship::Of(own) => {
                let message = format!("this key manages webhooks of {own} only");
                return Err(Fault::new(Kind::Forbidden, "NOT_GRANTED", message));
            }
        };
        self.check_room(partner.as_ref())?;
        let filter = self.check(partner.as_ref(), &given).await?;
        let begin = self.cursor_of(start, &filter).await?;
        let key = new_key(secret)?;
        let revealed = key.reveal();
        let webhook = Webhook {
            id: WebhookId::from_bits(rand::random()),
            partner,
            target: given.target,
            filter,
            spec: Spec::Standard {
                format: given.format,
                keys: vec![key],
            },
            note: given.note,
            created: self.now(),
            state: State::Active,
            begin,
            replay: Replay::default(),
            wakes: 0,
            parked_asks: 0,
        };
        self.record(caller, "webhook.create", webhook.id).await?;
        let kept = self.log().put_webhook(&webhook, 0).await;
        if kept.map_err(|error| error.fault())?.is_none() {
            return Err(crossed());
        }
        tracing::info!(by = caller.name(), webhook = %webhook.id, "made a webhook");
        let progress = Progress::new(&webhook);
        let shown = Shown {
            webhook,
            progress,
            parked: ParkedList::default(),
        };
        Ok((shown, revealed))
    }

    /// Changes what can be chosen of a webhook.
    ///
    /// # Errors
    /// As [`Webhooks::create`]; missing `WEBHOOK_UNKNOWN`; conflict `WEBHOOK_CONFLICT`.
    pub async fn update(
        &self,
        caller: &Caller,
        id: WebhookId,
        given: Given,
    ) -> Result<Shown, Fault> {
        let kept = self.standard(caller, id).await?;
        let filter = self.check(kept.value.partner.as_ref(), &given).await?;
        let change = |webhook: &mut Webhook| {
            webhook.target.clone_from(&given.target);
            webhook.filter.clone_from(&filter);
            if let Spec::Standard { format, .. } = &mut webhook.spec {
                *format = given.format;
            }
            webhook.note.clone_from(&given.note);
            Ok(())
        };
        self.change(caller, "webhook.update", id, change).await
    }

    /// One webhook.
    ///
    /// # Errors
    /// Missing `WEBHOOK_UNKNOWN`; forbidden; unavailable.
    pub async fn get(&self, caller: &Caller, id: WebhookId) -> Result<Shown, Fault> {
        let webhook = self.owned(caller, id).await?.value;
        self.shown(webhook).await
    }

    /// All that a caller manages, oldest first; only a partner's, if one is named.
    ///
    /// # Errors
    /// Forbidden; unavailable.
    pub async fn list(
        &self,
        caller: &Caller,
        partner: Option<&PartnerName>,
    ) -> Result<Vec<Shown>, Fault> {
        let (all, _) = self.page(caller, partner, None, usize::MAX).await?;
        Ok(all)
    }

    /// The same in pages: so many after a place, and whether there are more.
    ///
    /// # Errors
    /// As [`Webhooks::list`].
    pub async fn page(
        &self,
        caller: &Caller,
        partner: Option<&PartnerName>,
        after: Option<Age>,
        count_max: usize,
    ) -> Result<(Vec<Shown>, bool), Fault> {
        let mut webhooks = self.managed(caller, partner)?;
        webhooks.retain(|webhook| after.is_none_or(|after| age(webhook) > after));
        let has_more = webhooks.len() > count_max;
        webhooks.truncate(count_max);
        let mut shown = Vec::with_capacity(webhooks.len());
        for webhook in webhooks {
            shown.push(self.shown(webhook).await?);
        }
        Ok((shown, has_more))
    }

    /// Those that a caller manages, oldest first.
    fn managed(
        &self,
        caller: &Caller,
        partner: Option<&PartnerName>,
    ) -> Result<Vec<Webhook>, Fault> {
        let stewardship = caller.stewardship()?;
        let book = self.book();
        let all = book.values().map(|kept| &kept.value);
        let wanted = all.filter(|webhook| stewardship.covers(webhook.partner.as_ref()));
        let wanted = wanted.filter(|one| partner.is_none() || one.partner.as_ref() == partner);
        let mut webhooks: Vec<Webhook> = wanted.cloned().collect();
        webhooks.sort_by_key(age);
        Ok(webhooks)
    }

    /// How far a webhook is behind what it is to be sent, as far as is known.
    ///
    /// # Errors
    /// Unavailable.
    pub async fn lag(&self, shown: &Shown) -> Result<Lag, Fault> {
        let epochs = self.log().epochs();
        let after = known(shown.progress.place(&epochs), &epochs).unwrap_or(0);
        // What counted last: the filter, cut to the grant.
        let coverage = shown.progress.coverage.as_ref();
        let filter = coverage.map_or(&shown.webhook.filter, Coverage::filter);
        let parts = &self.0.parts;
        let lag = parts.hub.lag_after(after, filter, (parts.clock)()).await;
        lag.map_err(|error| error.fault())
    }

    /// Removes a webhook.
    ///
    /// # Errors
    /// As [`Webhooks::get`].
    pub async fn delete(&self, caller: &Caller, id: WebhookId) -> Result<(), Fault> {
        let webhook = self.owned(caller, id).await?.value;
        self.record(caller, "webhook.delete", id).await?;
        let removed = self.log().remove_webhook(id).await;
        removed.map_err(|error| error.fault())?;
        tracing::info!(by = caller.name(), webhook = %id, "removed a webhook");
        self.part(&webhook).await;
        Ok(())
    }

    /// Sends a webhook nothing more for now.
    ///
    /// # Errors
    /// As [`Webhooks::update`].
    pub async fn pause(&self, caller: &Caller, id: WebhookId) -> Result<Shown, Fault> {
        self.standard(caller, id).await?;
        let change = |webhook: &mut Webhook| {
            webhook.state = State::Paused;
            Ok(())
        };
        self.change(caller, "webhook.pause", id, change).await
    }

    /// Sends to a webhook again, at once.
    ///
    /// # Errors
    /// As [`Webhooks::update`].
    pub async fn resume(&self, caller: &Caller, id: WebhookId) -> Result<Shown, Fault> {
        let change = |webhook: &mut Webhook| {
            webhook.state = State::Active;
            webhook.wakes = webhook.wakes.wrapping_add(1);
            Ok(())
        };
        self.change(caller, "webhook.resume", id, change).await
    }

    /// Lets a webhook go on elsewhere.
    ///
    /// # Errors
    /// As [`Webhooks::update`]; out of range `CURSOR_IN_FUTURE`.
    pub async fn replay(
        &self,
        caller: &Caller,
        id: WebhookId,
        start: Start,
    ) -> Result<(Shown, Cursor), Fault> {
        let filter = self.standard(caller, id).await?.value.filter;
        let cursor = self.cursor_of(start, &filter).await?;
        let change = |webhook: &mut Webhook| {
            webhook.replay = Replay {
                number: webhook.replay.number.wrapping_add(1),
                after: Some(cursor),
            };
            Ok(())
        };
        let shown = self.change(caller, "webhook.replay", id, change).await?;
        Ok((shown, cursor))
    }

    /// Gives a webhook a new key; the one before signs beside it for a while.
    ///
    /// # Errors
    /// As [`Webhooks::update`].
    pub async fn rotate(
        &self,
        caller: &Caller,
        id: WebhookId,
        overlap: Duration,
        secret: Option<&str>,
    ) -> Result<(Shown, String), Fault> {
        let key = new_key(secret)?;
        let overlap = i64::try_from(overlap.as_secs()).unwrap_or(i64::MAX);
        let end = self.now().saturating_add(overlap);
        self.standard(caller, id).await?;
        let change = |webhook: &mut Webhook| {
            if let Spec::Standard { keys, .. } = &mut webhook.spec {
                keys.truncate(1);
                keys.iter_mut()
                    .for_each(|former| former.expires = Some(end));
                keys.insert(0, key.clone());
            }
            Ok(())
        };
        let shown = self.change(caller, "webhook.rotate", id, change).await?;
        Ok((shown, key.reveal()))
    }

    /// Sends a webhook a test, from this node, now.
    ///
    /// # Errors
    /// As [`Webhooks::get`].
    pub async fn test(&self, caller: &Caller, id: WebhookId) -> Result<Tested, Fault> {
        let webhook = self.standard(caller, id).await?.value;
        let Spec::Standard { format, .. } = &webhook.spec else {
            return Err(subscribed(id));
        };
        self.record(caller, "webhook.test", id).await?;
        let number: u64 = rand::random();
        let message_id = format!("{id}_test_{number:016x}");
        let data = serde_json::json!({ "webhook": id.to_string() });
        let message = self.notice(*format, message_id, "test", webhook.begin, &data);
        let began = Instant::now();
        let answer = self.call(&webhook, &message).await;
        let took = began.elapsed();
        let (said, reason) = said(&answer);
        let body = answer.map_or_else(|_| Vec::new(), |answer| answer.body);
        let body = String::from_utf8_lossy(&body);
        Ok(Tested {
            status: said.status(),
            failure: if said.status().is_none() {
                reason
            } else {
                String::new()
            },
            body: body.chars().take(SHOWN_CHARS_MAX).collect(),
            took,
        })
    }

    /// Asks for what is parked to be sent again: these, or all. Returns how many.
    ///
    /// # Errors
    /// As [`Webhooks::update`]; missing `PARKED_UNKNOWN`.
    pub async fn retry_parked(
        &self,
        caller: &Caller,
        id: WebhookId,
        cursors: &[Cursor],
    ) -> Result<u32, Fault> {
        self.standard(caller, id).await?;
        let mut count = 0;
        self.change_parked(id, |list| {
            count = 0;
            let known = |cursor: &&Cursor| !list.0.iter().any(|one| one.cursor == **cursor);
            if let Some(unknown) = cursors.iter().find(known) {
                return Err(unknown_parked(*unknown));
            }
            for one in &mut list.0 {
                if cursors.is_empty() || cursors.contains(&one.cursor) {
                    one.is_asked = true;
                    count += 1;
                }
            }
            Ok(())
        })
        .await?;
        let change = |webhook: &mut Webhook| {
            webhook.parked_asks = webhook.parked_asks.wrapping_add(1);
            Ok(())
        };
        self.change(caller, "webhook.parked.retry", id, change)
            .await?;
        Ok(count)
    }

    /// Takes something off the list of what is parked.
    ///
    /// # Errors
    /// As [`Webhooks::update`]; missing `PARKED_UNKNOWN`; precondition `RECALL_PARKED`.
    pub async fn drop_parked(
        &self,
        caller: &Caller,
        id: WebhookId,
        cursor: Cursor,
    ) -> Result<(), Fault> {
        self.standard(caller, id).await?;
        self.record(caller, "webhook.parked.drop", id).await?;
        self.change_parked(id, |list| {
            let parked = list.leave(cursor).ok_or_else(|| unknown_parked(cursor))?;
            if parked.is_recall() {
                let message = format!(
                    "{cursor} is a {} and is never dropped; mend its receiver and send it again",
                    parked.action
                );
                return Err(Fault::new(Kind::Precondition, "RECALL_PARKED", message));
            }
            Ok(())
        })
        .await
    }

    /// Its endpoint wants no more.
    pub(super) async fn disable(&self, id: WebhookId) {
        for _ in 0..RACES_MAX {
            let Ok(Some(mut kept)) = self.log().webhook(id).await else {
                return;
            };
            if kept.value.state != State::Active {
                return;
            }
            kept.value.state = State::Gone;
            if let Ok(Some(_)) = self.log().put_webhook(&kept.value, kept.revision).await {
                tracing::warn!(webhook = %id, "a webhook answered 410 and is sent nothing more");
                return;
            }
        }
    }

    /// A webhook that the caller manages; another's is not there for it.
    async fn owned(&self, caller: &Caller, id: WebhookId) -> Result<Kept<Webhook>, Fault> {
        let stewardship = caller.stewardship()?;
        let kept = self.log().webhook(id).await;
        let kept = kept.map_err(|error: ReadError| error.fault())?;
        let is_managed = |kept: &Kept<Webhook>| stewardship.covers(kept.value.partner.as_ref());
        kept.filter(is_managed).ok_or_else(|| {
            let message = format!("there is no webhook {id}, or it is another partner's");
            Fault::new(Kind::Missing, "WEBHOOK_UNKNOWN", message)
        })
    }

    /// The same, of one that its owner set up, and not its subscriber.
    async fn standard(&self, caller: &Caller, id: WebhookId) -> Result<Kept<Webhook>, Fault> {
        let kept = self.owned(caller, id).await?;
        match kept.value.spec {
            Spec::Standard { .. } => Ok(kept),
            Spec::Websub { .. } => Err(subscribed(id)),
        }
    }

    async fn shown(&self, webhook: Webhook) -> Result<Shown, Fault> {
        let log = self.log();
        let progress = log.progress(webhook.id).await;
        let progress = progress.map_err(|error| error.fault())?;
        let parked = log.parked(webhook.id).await;
        let parked = parked.map_err(|error| error.fault())?;
        Ok(Shown {
            progress: progress.map_or_else(|| Progress::new(&webhook), |kept| kept.value),
            parked: parked.value,
            webhook,
        })
    }

    async fn change(
        &self,
        caller: &Caller,
        action: &str,
        id: WebhookId,
        change: impl Fn(&mut Webhook) -> Result<(), Fault>,
    ) -> Result<Shown, Fault> {
        self.owned(caller, id).await?;
        self.record(caller, action, id).await?;
        for _ in 0..RACES_MAX {
            let mut kept = self.owned(caller, id).await?;
            change(&mut kept.value)?;
            let put = self.log().put_webhook(&kept.value, kept.revision).await;
            if put.map_err(|error| error.fault())?.is_some() {
                tracing::info!(by = caller.name(), webhook = %id, action, "changed a webhook");
                return self.shown(kept.value).await;
            }
        }
        Err(crossed())
    }

    async fn change_parked(
        &self,
        id: WebhookId,
        mut change: impl FnMut(&mut ParkedList) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        for _ in 0..RACES_MAX {
            let parked = self.log().parked(id).await;
            let mut parked = parked.map_err(|error| error.fault())?;
            change(&mut parked.value)?;
            let put = self
                .log()
                .put_parked(id, &parked.value, parked.revision)
                .await;
            if put.map_err(|error| error.fault())?.is_some() {
                return Ok(());
            }
        }
        Err(crossed())
    }

    /// Records a change before it is made: what can't be recorded is not done.
    pub(super) async fn record(
        &self,
        caller: &Caller,
        action: &str,
        id: WebhookId,
    ) -> Result<(), Fault> {
        caller.record(self.log(), action, id.as_str()).await
    }

    /// Checks where a webhook is and what it wants; returns that with all names of its topics.
    async fn check(&self, partner: Option<&PartnerName>, given: &Given) -> Result<Filter, Fault> {
        let parts = &self.0.parts;
        parts
            .outbound
            .check(&given.target)
            .map_err(|error| Fault::field("TARGET_REFUSED", "webhook.url", format!("{error}")))?;
        let scope = parts
            .gate
            .subscribing(partner)
            .ok_or_else(|| match partner {
                Some(name) if !parts.gate.knows(name) => {
                    let message = format!("there is no partner {name}");
                    Fault::new(Kind::Missing, "PARTNER_UNKNOWN", message)
                }
                _ => {
                    let name = partner.map_or("nobody", PartnerName::as_str);
                    let message =
                        format!("{name} may read nothing now, so there is nothing to send");
                    Fault::new(Kind::Forbidden, "NOT_GRANTED", message)
                }
            })?;
        let filter = parts.hub.known(given.filter.clone()).await;
        let filter = filter.map_err(|error| error.fault())?;
        let cut = granted(&filter, &scope, Beyond::Cut);
        cut.map_err(|error| error.fault())?;
        // As it was given: what is granted is cut anew each time, and may grow.
        Ok(filter)
    }

    pub(super) fn check_room(&self, partner: Option<&PartnerName>) -> Result<(), Fault> {
        let book = self.book();
        let own = book
            .values()
            .filter(|kept| kept.value.partner.as_ref() == partner)
            .count();
        let most = if book.len() >= WEBHOOKS_MAX {
            WEBHOOKS_MAX
        } else if own >= PER_PARTNER_MAX {
            PER_PARTNER_MAX
        } else {
            return Ok(());
        };
        let message = format!("there are {most} webhooks already, as many as may be; remove one");
        Err(Fault::new(Kind::Exhausted, "WEBHOOKS_MAX", message))
    }

    pub(super) async fn cursor_of(&self, start: Start, filter: &Filter) -> Result<Cursor, Fault> {
        // A reader would begin anew; whoever asks for a part has mistaken the log.
        if let Start::After(cursor) = start
            && self.log().epochs().place(cursor) == Place::Foreign
        {
            let message =
                format!("{cursor} is of another log; give a cursor of this one, or a time");
            return Err(Fault::field("CURSOR_FOREIGN", "start.after", message));
        }
        let place = self.0.parts.hub.place(start, filter).await;
        place.map_err(|error| error.fault())
    }
}

fn age(webhook: &Webhook) -> Age {
    (webhook.created, webhook.id)
}

fn new_key(secret: Option<&str>) -> Result<SigningKey, Fault> {
    SigningKey::new(rand::random(), secret)
        .map_err(|error: SecretError| Fault::field("FIELD_INVALID", "secret", error.to_string()))
}

pub(super) fn crossed() -> Fault {
    let message = "somebody else is changing this webhook; try again";
    Fault::new(Kind::Conflict, "WEBHOOK_CONFLICT", message)
}

fn subscribed(id: WebhookId) -> Fault {
    let message = format!(
        "{id} is a subscription to a feed, which its subscriber manages by WebSub; it can be removed"
    );
    Fault::new(Kind::Precondition, "WEBHOOK_SUBSCRIBED", message)
}

fn unknown_parked(cursor: Cursor) -> Fault {
    let message = format!("nothing is parked at {cursor}");
    Fault::new(Kind::Missing, "PARKED_UNKNOWN", message)
}
