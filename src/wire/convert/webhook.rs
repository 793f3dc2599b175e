//! Webhooks, as protobuf.

use crate::{
    access::partner::{NameError, PartnerName},
    article::check::Checker,
    fault::{
        Fault,
        wrong::{Quoted, Wrong},
    },
    filter::Filter,
    target::Target,
    webhook::{
        Format, IdError, NOTE_CHARS_MAX, Parked, ParkedList, Progress, Spec, State, Webhook,
        WebhookId, signing::SigningKey, websub::Websub,
    },
    wire::proto::v1::{self as proto, WebhookFormat, WebhookState},
};

/// What a request says of a webhook, checked.
#[derive(Clone, Debug)]
pub struct Given {
    /// Whose; none = the caller's own.
    pub partner: Option<PartnerName>,
    /// Where it is.
    pub target: Target,
    /// What it wants.
    pub filter: Filter,
    /// In which form.
    pub format: Format,
    /// For people.
    pub note: String,
}

/// Reads what is to be of a webhook.
///
/// # Errors
/// One [`Fault`] that names every bad field.
pub fn webhook(given: proto::Webhook) -> Result<Given, Fault> {
    let mut check = Checker::default();
    let format = match given.format() {
        WebhookFormat::Unspecified | WebhookFormat::Ninjs => Format::Ninjs,
        WebhookFormat::Cloudevents => Format::CloudEvents,
        WebhookFormat::Feed => {
            let message =
                "feeds are subscribed to by WebSub, at /v1/hub; give ninjs or cloudevents";
            check.refuse("webhook.format", message);
            Format::Ninjs
        }
    };
    if WebhookFormat::try_from(given.format).is_err() {
        let message = format!("{} is no format of this release", given.format);
        check.refuse("webhook.format", message);
    }
    let target = given.url.parse::<Target>();
    if let Err(error) = &target {
        check.refuse("webhook.url", error.to_string());
    }
    check.line("webhook.note", &given.note, NOTE_CHARS_MAX);
    let partner = partner(&mut check, "webhook.partner", &given.partner);
    check.finish()?;
    let filter = super::filter(given.filter).map_err(|mut fault| {
        for violation in &mut fault.violations {
            violation.field = format!("webhook.{}", violation.field);
        }
        fault
    })?;
    Ok(Given {
        partner,
        target: target.expect("checked above"),
        filter,
        format,
        note: given.note,
    })
}

/// Reads the name of a partner, which may be left out.
pub fn partner(check: &mut Checker, field: &str, text: &str) -> Option<PartnerName> {
    if text.is_empty() {
        return None;
    }
    text.parse()
        .map_err(|NameError| {
            let value = Quoted::of(text);
            check.refuse(field, Wrong::NoPartner { value });
        })
        .ok()
}

/// Reads a webhook's id.
///
/// # Errors
/// A [`Fault`] that names the field.
pub fn id(text: &str) -> Result<WebhookId, Fault> {
    text.parse().map_err(|IdError| {
        let value = Quoted::of(text);
        Fault::field("FIELD_INVALID", "id", Wrong::NoWebhook { value })
    })
}

/// A webhook with how far it has come, at a time in seconds from 1970. Never its secrets.
pub fn webhook_to_proto(
    webhook: &Webhook,
    progress: &Progress,
    parked: &ParkedList,
    now: i64,
) -> proto::Webhook {
    let filter = &webhook.filter;
    let (format, keys): (_, &[SigningKey]) = match &webhook.spec {
        Spec::Websub { .. } => (WebhookFormat::Feed, &[]),
        Spec::Standard { format, keys } => match format {
            Format::Ninjs => (WebhookFormat::Ninjs, keys),
            Format::CloudEvents => (WebhookFormat::Cloudevents, keys),
        },
    };
    let good = keys.iter().filter(|key| key.is_good(now));
    let former = keys.iter().filter_map(|key| key.expires).max();
    proto::Webhook {
        id: webhook.id.to_string(),
        partner: webhook
            .partner
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        url: webhook.target.as_str().to_owned(),
        filter: Some(proto::Filter {
            topics: filter.topics.iter().map(ToString::to_string).collect(),
            languages: filter
                .languages
                .iter()
                .map(|one| one.as_str().to_owned())
                .collect(),
            urgency: filter.urgency.map_or(0, Into::into),
            words: filter.words.iter().cloned().collect(),
        }),
        format: format.into(),
        note: webhook.note.clone(),
        state: match webhook.state {
            State::Active => WebhookState::Active,
            State::Paused => WebhookState::Paused,
            State::Gone => WebhookState::Gone,
        }
        .into(),
        created: Some(time(webhook.created)),
        public_keys: good.filter_map(SigningKey::public).collect(),
        former_secret_expires: former.filter(|end| *end > now).map(time),
        health: Some(health(progress, parked)),
        feed: webhook.websub().map(feed),
    }
}

/// Never its secret.
fn feed(websub: &Websub) -> proto::FeedSubscription {
    let lease = websub.lease.as_ref();
    let key = lease.and_then(|lease| lease.key);
    proto::FeedSubscription {
        topic: websub.topic(),
        lease_ends: lease.map(|lease| time(lease.ends)),
        key_id: key.map(|key| key.to_string()).unwrap_or_default(),
        signed: lease.is_some_and(|lease| lease.secret.is_some()),
        unconfirmed: websub.asked.is_some(),
    }
}

/// Something parked.
pub fn parked_to_proto(parked: &Parked) -> proto::ParkedRevision {
    proto::ParkedRevision {
        cursor: parked.cursor.to_string(),
        article_id: parked.article.clone(),
        revision: parked.revision,
        action: parked.action.clone(),
        reason: parked.reason.clone(),
        since: Some(time(parked.since)),
        tries: parked.tries,
        asked: parked.is_asked,
    }
}

fn health(progress: &Progress, parked: &ParkedList) -> proto::WebhookHealth {
    let failing = progress.failing.as_ref();
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    proto::WebhookHealth {
        cursor: progress.at.to_string(),
        taken: progress.taken_count,
        last_taken: progress.last_taken.map(time),
        failures: failing.map_or(0, |failing| failing.count),
        failing_since: failing.map(|failing| time(failing.since)),
        next_try: failing.map(|failing| time(failing.next)),
        failure: failing
            .map(|failing| failing.reason.clone())
            .unwrap_or_default(),
        parked: count(parked.0.len()),
        parked_recalls: count(parked.recall_count()),
        node: progress.node.clone(),
    }
}

fn time(seconds: i64) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds, nanos: 0 }
}
