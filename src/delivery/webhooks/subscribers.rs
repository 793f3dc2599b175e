//! Subscribers: who asks to be sent a feed by WebSub, and to be sent it no more.

use crate::{
    access::partner::PartnerName,
    delivery::{
        feeds::Wanted,
        start::{Beyond, granted},
        webhooks::{
            Webhooks,
            owners::{RACES_MAX, crossed},
        },
    },
    fault::{Fault, Kind},
    filter::Filter,
    gate::{
        caller::{Caller, Stewardship},
        proof::Proof,
    },
    target::Target,
    webhook::{
        Replay, Spec, State, Webhook, WebhookId,
        websub::{Asked, HubSecret, Terms, Websub, Wish},
    },
    wire::convert::Start,
};

/// What a subscriber asks for, checked.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which feed.
    pub feed: Wanted,
    /// Where it is to be sent.
    pub callback: Target,
    /// Whether it is.
    pub mode: Mode,
}

/// Whether a feed is to be sent.
#[derive(Clone, Debug)]
pub enum Mode {
    /// It is.
    Subscribe {
        /// For how many seconds.
        lease_seconds: u32,
        /// What it is signed with.
        secret: Option<HubSecret>,
    },
    /// Not any more.
    Unsubscribe,
}

impl Webhooks {
    /// Takes a wish, which its callback has to confirm. Kept when this returns; a later one for the
    /// same feed and callback takes its place.
    ///
    /// # Errors
    /// Forbidden `ROLE_MISSING`, `NOT_GRANTED`, `FILTER_NOT_GRANTED`; invalid `TARGET_REFUSED`;
    /// missing `FEED_UNKNOWN`, `SUBSCRIPTION_UNKNOWN`; exhausted `WEBHOOKS_MAX`; conflict; unavailable.
    pub async fn request(&self, caller: &Caller, request: Request) -> Result<(), Fault> {
        let partner = match caller.stewardship()? {
            Stewardship::All(own) => own,
            Stewardship::Of(own) => Some(own),
        };
        let checked = self.0.parts.outbound.check(&request.callback);
        checked.map_err(|error| {
            let message = format!("{error}; give an address that this node may call");
            Fault::field("TARGET_REFUSED", "hub.callback", message)
        })?;
        let topic = request.feed.url();
        let id = WebhookId::of_subscription(partner.as_ref(), &topic, &request.callback);
        let asked = Asked {
            number: rand::random(),
            wish: wish(caller, &request.mode),
        };
        let action = format!("websub.{}", asked.wish.mode());
        self.record(caller, &action, id).await?;
        for _ in 0..RACES_MAX {
            let asked = asked.clone();
            let kept = self.log().webhook(id).await;
            let kept = kept.map_err(|error| error.fault())?;
            let revision = kept.as_ref().map_or(0, |kept| kept.revision);
            let filter = match &asked.wish {
                Wish::Subscribe(_) => Some(self.subscribable(partner.as_ref(), &request).await?),
                Wish::Unsubscribe => None,
            };
            let webhook = match (kept, filter) {
                (Some(kept), filter) => {
                    let mut webhook = kept.value;
                    let is_same = webhook.partner == partner && webhook.target == request.callback;
                    let Spec::Websub { websub } = &mut webhook.spec else {
                        return Err(crossed());
                    };
                    if !is_same || websub.topic() != topic {
                        return Err(crossed());
                    }
                    websub.asked = Some(asked);
                    // Topics may have other names by now.
                    webhook.filter = filter.unwrap_or(webhook.filter);
                    webhook
                }
                (None, Some(filter)) => {
                    self.check_room(partner.as_ref())?;
                    self.first_wish(id, partner.as_ref(), &request, asked, filter)
                        .await?
                }
                (None, None) => return Err(unknown(&topic)),
            };
            let put = self.log().put_webhook(&webhook, revision).await;
            if put.map_err(|error| error.fault())?.is_some() {
                tracing::info!(by = caller.name(), webhook = %id, action, "a subscriber asks");
                return Ok(());
            }
        }
        Err(crossed())
    }

    /// A subscription that its callback has not confirmed.
    async fn first_wish(
        &self,
        id: WebhookId,
        partner: Option<&PartnerName>,
        request: &Request,
        asked: Asked,
        filter: Filter,
    ) -> Result<Webhook, Fault> {
        Ok(Webhook {
            id,
            partner: partner.cloned(),
            target: request.callback.clone(),
            begin: self.cursor_of(Start::Now, &filter).await?,
            filter,
            spec: Spec::Websub {
                websub: Websub {
                    base: request.feed.base.clone(),
                    path: request.feed.path.clone(),
                    lease: None,
                    asked: Some(asked),
                },
            },
            note: String::new(),
            created: self.now(),
            state: State::Active,
            replay: Replay::default(),
            wakes: 0,
            parked_asks: 0,
        })
    }

    /// What a feed consists of, if its partner may read any of it.
    async fn subscribable(
        &self,
        partner: Option<&PartnerName>,
        request: &Request,
    ) -> Result<Filter, Fault> {
        let scope = self.0.parts.gate.subscribing(partner).ok_or_else(|| {
            let message =
                "the partner of this key may read nothing now, so there is nothing to send";
            Fault::new(Kind::Forbidden, "NOT_GRANTED", message)
        })?;
        let filter = self.0.feeds.filter(&request.feed).await?;
        granted(&filter, &scope, Beyond::Cut).map_err(|error| error.fault())?;
        Ok(filter)
    }
}

/// A wish as it is kept.
fn wish(caller: &Caller, mode: &Mode) -> Wish {
    let Mode::Subscribe {
        lease_seconds,
        secret,
    } = mode
    else {
        return Wish::Unsubscribe;
    };
    let known = caller.known();
    // A token's subject is no key that a node keeps: it ends by its time.
    let key = known.filter(|known| !matches!(known.proof, Proof::Token(_)));
    Wish::Subscribe(Terms {
        key: key.map(|known| known.holder.id()),
        secret: secret.clone(),
        lease_seconds: *lease_seconds,
        ends_by: known.and_then(|known| known.expires()),
    })
}

fn unknown(topic: &str) -> Fault {
    let message = format!("no such callback is subscribed to {topic}; its lease may have ended");
    Fault::new(Kind::Missing, "SUBSCRIPTION_UNKNOWN", message)
}
