//! Sending: one try of one delivery.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{CONTENT_TYPE, LINK},
};
use jiff::Timestamp;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::{
    access::scope::Scope,
    article::ArticleId,
    cursor::{Cursor, Place},
    delivery::{
        feeds::{Feed, Wanted},
        gap::Gap,
        webhooks::{
            Webhooks,
            lanes::{Pace, SLOW_AFTER},
            worker::{Halt, PASS_EVERY, Worker},
        },
    },
    fault::{Fault, Kind},
    recipient::Stray,
    webhook::{
        Format, Parked, REASON_CHARS_MAX, Spec, Webhook,
        retry::{Reply, Said},
        signing::signatures,
        websub::Websub,
    },
    wire::{
        event::{Event, Notice},
        log::ReadError,
        outbound::{Answer, Call, CallError},
    },
};

/// Headers of Standard Webhooks.
const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
/// What WebSub signs in (section 7.1).
const HUB_SIGNATURE: HeaderName = HeaderName::from_static("x-hub-signature");
/// How long a call that is under way may go on after a stop.
const LAST_CALL: Duration = Duration::from_secs(2);
/// Pause while this node may not know of a kill.
const STALE_PAUSE: Duration = Duration::from_millis(200);

/// What there is to tell.
#[derive(Clone, Copy, Debug)]
pub(super) enum News {
    /// The revision at a place.
    Revision(Cursor),
    /// That something may be missing.
    Gap(Gap),
}

/// What a gap says.
#[derive(Serialize)]
struct GapData {
    from: String,
    to: String,
    reason: &'static str,
}

/// What is sent.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// The same for every try.
    pub(super) id: String,
    /// Its place.
    pub(super) cursor: Cursor,
    /// Up to where everything is done once it is taken.
    pub(super) covers: Cursor,
    pub(super) event: Event,
    text: Text,
    /// How it is parked, if it comes to that; none = it can't be.
    pub(super) parked: Option<Parked>,
    /// What is remembered once it is taken, if anything is.
    pub(super) stray: Option<Stray>,
}

/// Whose text is in a message.
#[derive(Clone, Debug)]
enum Text {
    /// Nobody's.
    None,
    /// A revision's, which lies there.
    Of(ArticleId, u64),
    /// A feed's.
    Feed(Arc<Feed>),
}

impl News {
    /// Its place.
    pub(super) fn cursor(self) -> Cursor {
        match self {
            Self::Revision(cursor) => cursor,
            Self::Gap(gap) => gap.to,
        }
    }
}

impl Webhooks {
    /// What is to be sent of something new, as it is now; none if it is there no more, or killed.
    pub(super) async fn message(
        &self,
        webhook: &Webhook,
        scope: &Arc<Scope>,
        news: News,
    ) -> Result<Option<Message>, Fault> {
        match (&webhook.spec, news) {
            (Spec::Websub { websub }, news) => {
                match self.feed(webhook, websub, scope, news).await {
                    // Nothing of it may be read any more: not even that it is empty is said.
                    Err(fault) if fault.kind == Kind::Forbidden => Ok(None),
                    message => message.map(Some),
                }
            }
            (Spec::Standard { format, .. }, News::Revision(cursor)) => {
                let revision = self.revision(webhook, *format, cursor).await;
                revision.map_err(|error| error.fault())
            }
            (Spec::Standard { format, .. }, News::Gap(gap)) => {
                let id = format!("{}_gap_{}", webhook.id, gap.to);
                let data = GapData {
                    from: gap.from.to_string(),
                    to: gap.to.to_string(),
                    reason: gap.reason.as_str(),
                };
                Ok(Some(self.notice(*format, id, "gap", gap.to, &data)))
            }
        }
    }

    /// The feed as it is now. What is new is in it, and all that has come since: that is done, too,
    /// once it is taken.
    async fn feed(
        &self,
        webhook: &Webhook,
        websub: &Websub,
        scope: &Arc<Scope>,
        news: News,
    ) -> Result<Message, Fault> {
        let wanted = Wanted::at(&websub.path, Arc::clone(scope), websub.base.clone())?;
        let feed = self.0.feeds.get(&wanted).await?;
        let (cursor, judged) = (news.cursor(), feed.judged_up_to());
        if matches!(news, News::Revision(_)) && judged < cursor.seq {
            let message = "the feed has not come as far as the log";
            return Err(Fault::new(Kind::Unavailable, "BEHIND", message));
        }
        Ok(Message {
            id: webhook.message_id(cursor),
            cursor,
            covers: self.log().cursor(judged.max(cursor.seq)),
            event: Event {
                content_type: HeaderValue::from_static(wanted.form.media_type()),
                body: feed.bytes.clone(),
            },
            text: Text::Feed(feed),
            parked: None,
            stray: None,
        })
    }

    /// A revision as it is now; none if it is there no more, or killed.
    pub(super) async fn revision(
        &self,
        webhook: &Webhook,
        format: Format,
        cursor: Cursor,
    ) -> Result<Option<Message>, ReadError> {
        let hub = &self.0.parts.hub;
        let Place::Known(seq) = hub.log().epochs().place(cursor) else {
            return Ok(None);
        };
        let Some(entry) = hub.entry_at(seq).await? else {
            return Ok(None);
        };
        if hub.is_killed(&entry) {
            return Ok(None);
        }
        let record = &entry.stored.record;
        let (id, revision) = (record.article_id, record.revision.get());
        let event = Event::revision(&entry.delivery(), &format!("{id}/{revision}"), format);
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                // As for streams, which show it without what it says: nobody can read it.
                tracing::error!(%cursor, %error, "an article is not readable");
                return Ok(None);
            }
        };
        Ok(Some(Message {
            id: webhook.message_id(cursor),
            cursor,
            covers: cursor,
            event,
            text: Text::Of(id, seq),
            parked: Some(Parked {
                cursor,
                article: id.to_string(),
                revision,
                action: record.action.as_str().to_owned(),
                reason: String::new(),
                since: 0,
                tries: 0,
                is_asked: false,
                has_left: false,
            }),
            stray: None,
        }))
    }

    /// What is no revision.
    pub(super) fn notice(
        &self,
        format: Format,
        id: String,
        kind: &str,
        cursor: Cursor,
        data: &impl Serialize,
    ) -> Message {
        let notice = Notice {
            kind,
            id: &id,
            time: self.time(),
            data,
        };
        Message {
            event: Event::notice(&notice, format),
            id,
            cursor,
            covers: cursor,
            text: Text::None,
            parked: None,
            stray: None,
        }
    }

    /// The time of day.
    pub(super) fn time(&self) -> Timestamp {
        let now = (self.0.parts.clock)();
        Timestamp::try_from(now).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Whether a message must not leave this node, now: it is killed.
    fn is_killed(&self, message: &Message) -> bool {
        match &message.text {
            Text::None => false,
            Text::Of(article, seq) => self.log().killed().covers(*article, *seq),
            Text::Feed(feed) => !self.0.feeds.is_showable(feed),
        }
    }

    /// Counts what a try sends, against what its partner may take in a day.
    fn take_bytes(&self, webhook: &Webhook, message: &Message) -> Result<(), Fault> {
        let bytes = u64::try_from(message.event.body.len()).unwrap_or(u64::MAX);
        match &webhook.partner {
            Some(partner) => self.0.parts.gate.take_webhook_bytes(partner, bytes),
            None => Ok(()),
        }
    }

    /// Makes one call, signed now.
    pub(super) async fn call(
        &self,
        webhook: &Webhook,
        message: &Message,
    ) -> Result<Answer, CallError> {
        let body = message.event.body.clone();
        let mut headers = self.headers(webhook, message, &body);
        headers.insert(CONTENT_TYPE, message.event.content_type.clone());
        let call = Call {
            method: Method::POST,
            target: &webhook.target,
            headers,
            body,
        };
        let began = Instant::now();
        let answer = self.0.parts.outbound.call(call, self.time()).await;
        let took = began.elapsed().as_secs_f64();
        self.log().metrics().webhooks.seconds.observe(took);
        answer
    }

    /// What a receiver knows it by.
    fn headers(&self, webhook: &Webhook, message: &Message, body: &Bytes) -> HeaderMap {
        let mut headers = HeaderMap::new();
        match &webhook.spec {
            Spec::Standard { keys, .. } => {
                let now = self.now();
                let signed = signatures(keys, &message.id, now, body);
                headers.insert(WEBHOOK_ID, value(&message.id));
                headers.insert(WEBHOOK_TIMESTAMP, HeaderValue::from(now));
                headers.insert(WEBHOOK_SIGNATURE, value(&signed));
            }
            Spec::Websub { websub } => {
                headers.insert(LINK, value(&websub.links()));
                let lease = websub.lease.as_ref();
                if let Some(secret) = lease.and_then(|lease| lease.secret.as_ref()) {
                    headers.insert(HUB_SIGNATURE, value(&secret.sign(body)));
                }
            }
        }
        headers
    }
}

impl Worker {
    /// Tries once; says what was answered, and in words. None = it was not sent: look at it again.
    pub(super) async fn send(
        &mut self,
        webhook: &Webhook,
        message: &Message,
    ) -> Result<Option<(Said, String)>, Halt> {
        let webhooks = self.webhooks.clone();
        let is_failing = self.progress.value.failing.is_some();
        let pace = if is_failing || self.was_slow {
            Pace::Slow
        } else {
            Pace::Fast
        };
        let place = tokio::select! {
            biased;
            halt = self.halted() => return Err(halt),
            // Who gives up its turn has sent nothing.
            place = webhooks.0.lanes.enter(pace) => place,
        };
        if !webhooks.log().is_fresh() {
            drop(place);
            tokio::select! {
                biased;
                halt = self.halted() => return Err(halt),
                // A pause that is dropped has done nothing.
                () = sleep(STALE_PAUSE) => {}
            }
            return Ok(None);
        }
        if webhooks.is_killed(message) {
            return Ok(None);
        }
        if let Err(fault) = webhooks.take_bytes(webhook, message) {
            drop(place);
            tracing::warn!(webhook = %webhook.id, "a webhook waits: {}", fault.message);
            // Its partner's bound may be another one before midnight.
            let wait = fault.retry_after.unwrap_or(PASS_EVERY);
            self.changed(Some(wait.min(PASS_EVERY))).await?;
            return Ok(None);
        }
        let began = Instant::now();
        let call = place.run(webhooks.call(webhook, message));
        let answer = tokio::select! {
            biased;
            halt = self.halted_in_call() => {
                let epochs = webhooks.log().epochs();
                let progress = &mut self.progress.value;
                progress.shows(message.covers, Reply::Silence, &epochs);
                return Err(halt);
            }
            // Whoever takes over sends it again: at least once.
            answer = call => answer,
        };
        self.was_slow = began.elapsed() >= SLOW_AFTER;
        Ok(Some(said(&answer)))
    }

    /// As [`Worker::halted`], but lets a call end that may be about to.
    async fn halted_in_call(&self) -> Halt {
        let halt = self.halted().await;
        if halt == Halt::Stopped {
            sleep(LAST_CALL).await;
        }
        halt
    }
}

/// What an answer says, and in words.
pub(super) fn said(answer: &Result<Answer, CallError>) -> (Said, String) {
    match answer {
        Ok(answer) => {
            let said = Said {
                reply: Reply::Status(answer.status.as_u16()),
                retry_after: answer.retry_after,
            };
            (said, format!("answered {}", answer.status))
        }
        Err(error) => {
            let reply = match error {
                CallError::Refused(_) | CallError::Unreachable(_) => Reply::Unreached,
                CallError::Late | CallError::Broken(_) => Reply::Silence,
            };
            let said = Said {
                reply,
                retry_after: None,
            };
            let reason = error.reason();
            (said, reason.chars().take(REASON_CHARS_MAX).collect())
        }
    }
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("ids, signatures and addresses are ASCII")
}
