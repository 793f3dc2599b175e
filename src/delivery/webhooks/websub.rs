//! WebSub, on the side of the worker: what a subscriber wished for is confirmed by its callback, and a
//! subscription ends with its lease, or with the key by which it was asked for.
//!
//! A wish lies in the webhook itself, so that it is followed, too, if the node that took it dies.

use std::time::Duration;

use data_encoding::HEXLOWER;
use http::{HeaderMap, Method, StatusCode};
use rand::RngExt as _;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    access::{key::KeyId, partner::PartnerName},
    delivery::webhooks::{
        Webhooks,
        lanes::Pace,
        sending::said,
        worker::{Halt, PAUSE, Worker},
    },
    target::Target,
    webhook::{
        Spec, Webhook, WebhookId,
        retry::{Said, pause},
        websub::{Asked, Lease, Websub, Wish},
    },
    wire::{
        log::ReadError,
        outbound::{Answer, Call, CallError},
    },
};

/// How often a callback is asked that does not answer.
const TRIES_MAX: u32 = 3;
/// The longest pause between two of these.
const TRY_PAUSE_MAX: Duration = Duration::from_secs(60);
/// How long a subscriber may take to hear that its subscription is removed, which somebody waits for.
const PARTING_PATIENCE: Duration = Duration::from_secs(3);
/// Why one is sent nothing more whose key is revoked or has expired.
const KEYLESS: &str = "the key that it was asked for with is none any more";

/// What a callback says to a wish.
enum Intent {
    /// It is its own, and if it is to subscribe, for so many seconds.
    Confirmed(i64),
    /// It is not.
    Denied(String),
    /// Nothing that counts.
    Unclear(Said, String),
}

impl Worker {
    /// Has its callback confirm what the subscriber wishes for.
    pub(super) async fn follow_subscriber(&mut self, webhook: &Webhook) -> Result<(), Halt> {
        let Some(websub) = webhook.websub() else {
            return Ok(());
        };
        let Some(asked) = &websub.asked else {
            return Ok(());
        };
        if self.confirmed == Some(asked.number) {
            // The bucket says so soon.
            return Ok(());
        }
        for failures in 0..TRIES_MAX {
            let reason = match self.intent(webhook, websub, asked).await? {
                Intent::Confirmed(seconds) => {
                    return self.settle(webhook, asked, Some(seconds)).await;
                }
                Intent::Denied(reason) => reason,
                Intent::Unclear(said, reason) if failures + 1 < TRIES_MAX => {
                    tracing::debug!(webhook = %webhook.id, reason, "a callback is asked again");
                    let share = rand::rng().random_range(0.0..=1.0);
                    let pause = pause(said.retry_after, failures, share).min(TRY_PAUSE_MAX);
                    if !self.waits(asked, pause).await? {
                        return Ok(());
                    }
                    continue;
                }
                Intent::Unclear(_, reason) => reason,
            };
            let (mode, id) = (asked.wish.mode(), webhook.id);
            tracing::info!(webhook = %id, mode, reason, "a subscriber's wish is not confirmed");
            break;
        }
        self.settle(webhook, asked, None).await
    }

    /// Waits; returns whether the wish is still the newest one.
    async fn waits(&mut self, asked: &Asked, pause: Duration) -> Result<bool, Halt> {
        let end = Instant::now() + pause;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(true);
            }
            self.changed(Some(left)).await?;
            let webhook = self.webhook.borrow_and_update();
            let newest = webhook.websub().and_then(|websub| websub.asked.as_ref());
            let is_newest = newest.map(|newest| newest.number) == Some(asked.number);
            drop(webhook);
            if !is_newest {
                // It has been looked at here alone.
                self.webhook.mark_changed();
                return Ok(false);
            }
        }
    }

    /// Asks once (section 5.3).
    async fn intent(
        &mut self,
        webhook: &Webhook,
        websub: &Websub,
        asked: &Asked,
    ) -> Result<Intent, Halt> {
        let (topic, challenge) = (websub.topic(), HEXLOWER.encode(&rand::random::<[u8; 20]>()));
        let mut parameters = vec![
            ("hub.mode", asked.wish.mode()),
            ("hub.topic", topic.as_str()),
            ("hub.challenge", challenge.as_str()),
        ];
        let mut lease_seconds = 0;
        if let Wish::Subscribe(terms) = &asked.wish {
            lease_seconds = terms.seconds_from(self.webhooks.now());
            let is_revoked = match terms.key {
                Some(key) => self.is_revoked(webhook.partner.as_ref(), key).await,
                None => Ok(false),
            };
            match is_revoked {
                Ok(is_revoked) if is_revoked || lease_seconds == 0 => {
                    self.tell(webhook, websub).await?;
                    return Ok(Intent::Denied(KEYLESS.to_owned()));
                }
                Ok(_) => {}
                Err(error) => {
                    let (said, reason) = said(&Err(CallError::Late));
                    tracing::debug!(webhook = %webhook.id, %error, "a key can't be read");
                    return Ok(Intent::Unclear(said, reason));
                }
            }
        }
        let seconds = lease_seconds.to_string();
        if matches!(asked.wish, Wish::Subscribe(_)) {
            parameters.push(("hub.lease_seconds", &seconds));
        }
        let answer = self.ask(&webhook.target.asking(&parameters)).await?;
        let (said, reason) = said(&answer);
        Ok(match &answer {
            Ok(answer) if !answer.status.is_success() => match answer.status {
                // Not now, which is not no.
                StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                    Intent::Unclear(said, reason)
                }
                status if status.is_server_error() => Intent::Unclear(said, reason),
                _ => Intent::Denied(reason),
            },
            Ok(answer) if answer.body == challenge.as_bytes() => Intent::Confirmed(lease_seconds),
            Ok(_) => Intent::Denied("answered something else than the challenge".to_owned()),
            Err(CallError::Refused(_)) => Intent::Denied(reason),
            Err(_) => Intent::Unclear(said, reason),
        })
    }

    /// Keeps what became of a wish.
    async fn settle(
        &mut self,
        webhook: &Webhook,
        asked: &Asked,
        confirmed: Option<i64>,
    ) -> Result<(), Halt> {
        let now = self.webhooks.now();
        let kept = self.change_websub(webhook.id, |websub| {
            if websub.asked.as_ref() != Some(asked) {
                // It wishes for something else by now.
                return;
            }
            websub.asked = None;
            match (&asked.wish, confirmed) {
                (_, None) => {}
                (Wish::Unsubscribe, Some(_)) => websub.lease = None,
                (Wish::Subscribe(terms), Some(seconds)) => {
                    websub.lease = Some(Lease {
                        key: terms.key,
                        secret: terms.secret.clone(),
                        ends: now.saturating_add(seconds),
                    });
                }
            }
        });
        kept.await?;
        self.confirmed = Some(asked.number);
        if matches!(asked.wish, Wish::Subscribe(_)) && confirmed.is_some() {
            tracing::info!(webhook = %webhook.id, "a feed is subscribed to");
            // Its callback is there: what failed is tried at once.
            if self.progress.value.failing.take().is_some() {
                self.save().await?;
            }
        }
        Ok(())
    }

    /// Whether something may be sent now, if it is granted. A subscription that is over, or whose key
    /// is none any more, ends; else this waits for a change.
    pub(super) async fn stands(&mut self, webhook: &Webhook) -> Result<bool, Halt> {
        let Some(websub) = webhook.websub() else {
            return Ok(true);
        };
        let now = self.webhooks.now();
        let Some(lease) = websub.lease.as_ref().filter(|lease| now < lease.ends) else {
            // What is not wished for again goes.
            self.change_websub(webhook.id, |_| {}).await?;
            self.changed(None).await?;
            return Ok(false);
        };
        let gate = &self.webhooks.0.parts.gate;
        let Some(key) = lease.key.filter(|key| !gate.is_good(*key)) else {
            return Ok(true);
        };
        // This node may only not have heard of it yet.
        match self.is_revoked(webhook.partner.as_ref(), key).await {
            Ok(true) => {
                tracing::info!(webhook = %webhook.id, %key, "a subscription ends with its key");
                self.tell(webhook, websub).await?;
                self.forget(webhook).await?;
                self.changed(None).await?;
            }
            Ok(false) => self.changed(Some(PAUSE)).await?,
            Err(error) => {
                tracing::debug!(webhook = %webhook.id, %error, "a key can't be read");
                self.changed(Some(PAUSE)).await?;
            }
        }
        Ok(false)
    }

    /// A subscription does not count any more, unless it has been renewed since.
    pub(super) async fn forget(&mut self, webhook: &Webhook) -> Result<(), Halt> {
        let known = webhook.websub().and_then(|websub| websub.lease.clone());
        let ended = self.change_websub(webhook.id, |websub| {
            if websub.lease == known {
                websub.lease = None;
            }
        });
        ended.await
    }

    /// Whether a key is surely none any more.
    async fn is_revoked(
        &self,
        partner: Option<&PartnerName>,
        key: KeyId,
    ) -> Result<bool, ReadError> {
        let gate = &self.webhooks.0.parts.gate;
        let Some(partner) = partner.filter(|_| !gate.is_good(key)) else {
            return Ok(false);
        };
        let kept = self.webhooks.log().partner(partner).await?;
        let keys = kept.map(|kept| kept.partner.keys).unwrap_or_default();
        let now = self.webhooks.now();
        Ok(!keys.iter().any(|one| one.id == key && !one.is_expired(now)))
    }

    /// Tells a subscriber that it is sent nothing more without its key (section 5.2), if it can be
    /// reached.
    async fn tell(&mut self, webhook: &Webhook, websub: &Websub) -> Result<(), Halt> {
        let target = denial(webhook, websub, KEYLESS);
        if let Err(error) = self.ask(&target).await? {
            tracing::debug!(webhook = %webhook.id, %error, "a subscriber does not hear of its end");
        }
        Ok(())
    }

    /// Makes one call of a callback, in its turn.
    async fn ask(&mut self, target: &Target) -> Result<Result<Answer, CallError>, Halt> {
        let pace = if self.was_slow {
            Pace::Slow
        } else {
            Pace::Fast
        };
        let call = async {
            let place = self.webhooks.0.lanes.enter(pace).await;
            place.run(self.webhooks.ask_callback(target)).await
        };
        tokio::select! {
            biased;
            halt = self.halted() => Err(halt),
            // Whoever takes over asks again.
            answer = call => Ok(answer),
        }
    }

    /// Changes what is kept of a subscription, over changes by others.
    async fn change_websub(&self, id: WebhookId, change: impl Fn(&mut Websub)) -> Result<(), Halt> {
        loop {
            match self.webhooks.try_change_websub(id, &change).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(webhook = %id, %error, "a subscription is not kept; trying again");
                }
            }
            tokio::select! {
                biased;
                halt = self.halted() => return Err(halt),
                // A pause that is dropped has done nothing.
                () = sleep(PAUSE) => {}
            }
        }
    }
}

impl Webhooks {
    /// Tells whoever has subscribed to a feed that the subscription has been removed.
    pub(super) async fn part(&self, webhook: &Webhook) {
        let Some(websub) = webhook.websub() else {
            return;
        };
        let target = denial(
            webhook,
            websub,
            "it was removed by its owner or by the desk",
        );
        let told = timeout(PARTING_PATIENCE, self.ask_callback(&target)).await;
        if !matches!(told, Ok(Ok(_))) {
            tracing::debug!(webhook = %webhook.id, "a subscriber does not hear of its end");
        }
    }

    async fn ask_callback(&self, target: &Target) -> Result<Answer, CallError> {
        let call = Call {
            method: Method::GET,
            target,
            headers: HeaderMap::new(),
            body: bytes::Bytes::new(),
        };
        self.0.parts.outbound.call(call, self.time()).await
    }

    /// Changes a subscription once, and removes it if nothing is left of it; returns whether nobody
    /// else was faster.
    async fn try_change_websub(
        &self,
        id: WebhookId,
        change: impl Fn(&mut Websub),
    ) -> Result<bool, ReadError> {
        let Some(mut kept) = self.log().webhook(id).await? else {
            return Ok(true);
        };
        let former = kept.value.clone();
        let Spec::Websub { websub } = &mut kept.value.spec else {
            return Ok(true);
        };
        change(websub);
        if websub.asked.is_none() && websub.is_over(self.now()) {
            return self.log().end_webhook(id, kept.revision).await;
        }
        if kept.value == former {
            return Ok(true);
        }
        let put = self.log().put_webhook(&kept.value, kept.revision).await?;
        Ok(put.is_some())
    }
}

/// Where a subscriber hears that it is sent nothing more.
fn denial(webhook: &Webhook, websub: &Websub, reason: &str) -> Target {
    webhook.target.asking(&[
        ("hub.mode", "denied"),
        ("hub.topic", &websub.topic()),
        ("hub.reason", reason),
    ])
}
