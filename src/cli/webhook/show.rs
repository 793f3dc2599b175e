//! Webhooks as the commands print them.

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    cli::{out, printable::printable},
    config::value::Output,
    wire::proto::v1::{self as proto, WebhookFormat, WebhookState},
};

/// A webhook as `--output json` prints it.
#[derive(Serialize)]
pub(super) struct WebhookJson<'a> {
    id: &'a str,
    partner: &'a str,
    url: &'a str,
    topics: &'a [String],
    languages: &'a [String],
    urgency: Option<u32>,
    words: &'a [String],
    format: &'static str,
    note: &'a str,
    state: &'static str,
    created: Option<String>,
    public_keys: &'a [String],
    former_secret_expires: Option<String>,
    cursor: &'a str,
    taken: u64,
    last_taken: Option<String>,
    failures: u32,
    failing_since: Option<String>,
    next_try: Option<String>,
    failure: &'a str,
    parked: u32,
    parked_recalls: u32,
    node: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    feed: Option<FeedJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
}

/// What it is as a subscription to a feed, likewise.
#[derive(Serialize)]
struct FeedJson<'a> {
    topic: &'a str,
    lease_ends: Option<String>,
    key_id: &'a str,
    signed: bool,
    unconfirmed: bool,
}

/// Something parked, likewise.
#[derive(Serialize)]
struct ParkedJson<'a> {
    cursor: &'a str,
    article: &'a str,
    revision: u32,
    action: &'a str,
    reason: &'a str,
    since: Option<String>,
    tries: u32,
    asked: bool,
}

/// What a test comes to, likewise.
#[derive(Serialize)]
struct TestedJson<'a> {
    status: u32,
    failure: &'a str,
    body: &'a str,
    took_ms: u128,
}

impl<'a> WebhookJson<'a> {
    pub(super) fn new(webhook: &'a proto::Webhook, secret: Option<&'a str>) -> Self {
        const NONE: &proto::Filter = &proto::Filter {
            topics: Vec::new(),
            languages: Vec::new(),
            urgency: 0,
            words: Vec::new(),
        };
        const NEW: &proto::WebhookHealth = &proto::WebhookHealth {
            cursor: String::new(),
            taken: 0,
            last_taken: None,
            failures: 0,
            failing_since: None,
            next_try: None,
            failure: String::new(),
            parked: 0,
            parked_recalls: 0,
            node: String::new(),
        };
        let filter = webhook.filter.as_ref().unwrap_or(NONE);
        let health = webhook.health.as_ref().unwrap_or(NEW);
        Self {
            id: &webhook.id,
            partner: &webhook.partner,
            url: &webhook.url,
            topics: &filter.topics,
            languages: &filter.languages,
            urgency: Some(filter.urgency).filter(|urgency| *urgency > 0),
            words: &filter.words,
            format: format(webhook),
            note: &webhook.note,
            state: state(webhook),
            created: time(webhook.created.as_ref()),
            public_keys: &webhook.public_keys,
            former_secret_expires: time(webhook.former_secret_expires.as_ref()),
            cursor: &health.cursor,
            taken: health.taken,
            last_taken: time(health.last_taken.as_ref()),
            failures: health.failures,
            failing_since: time(health.failing_since.as_ref()),
            next_try: time(health.next_try.as_ref()),
            failure: &health.failure,
            parked: health.parked,
            parked_recalls: health.parked_recalls,
            node: &health.node,
            feed: webhook.feed.as_ref().map(|feed| FeedJson {
                topic: &feed.topic,
                lease_ends: time(feed.lease_ends.as_ref()),
                key_id: &feed.key_id,
                signed: feed.signed,
                unconfirmed: feed.unconfirmed,
            }),
            secret,
        }
    }
}

/// Prints a webhook.
pub(super) fn print(webhook: &proto::Webhook, output: Output) -> anyhow::Result<()> {
    if output == Output::Json {
        return out::json(&WebhookJson::new(webhook, None));
    }
    out::line(&line(webhook))?;
    let json = WebhookJson::new(webhook, None);
    let fact = |name: &str, value: String| {
        if value.is_empty() {
            Ok(())
        } else {
            out::line(&format!("  {name:<14}{}", printable(&value)))
        }
    };
    if let Some(feed) = &json.feed {
        fact("feed", feed.topic.to_owned())?;
        fact("lease until", feed.lease_ends.clone().unwrap_or_default())?;
        fact("key", feed.key_id.to_owned())?;
        let signed = if feed.signed { "yes" } else { "no" };
        fact("signed", signed.to_owned())?;
    }
    fact("topics", json.topics.join(", "))?;
    fact("languages", json.languages.join(", "))?;
    fact(
        "urgency",
        json.urgency
            .map(|number| number.to_string())
            .unwrap_or_default(),
    )?;
    fact("words", json.words.join(", "))?;
    fact("made", json.created.unwrap_or_default())?;
    fact("cursor", json.cursor.to_owned())?;
    fact("last taken", json.last_taken.unwrap_or_default())?;
    fact("failing since", json.failing_since.unwrap_or_default())?;
    fact("failure", json.failure.to_owned())?;
    fact("next try", json.next_try.unwrap_or_default())?;
    fact("worked by", json.node.to_owned())?;
    for key in json.public_keys {
        fact("public key", key.clone())?;
    }
    fact(
        "former until",
        json.former_secret_expires.unwrap_or_default(),
    )
}

/// A webhook in a line.
pub(super) fn line(webhook: &proto::Webhook) -> String {
    let json = WebhookJson::new(webhook, None);
    let mut line = format!(
        "{}  {}  {}  {}, {} taken",
        printable(json.id),
        if json.partner.is_empty() {
            "-".to_owned()
        } else {
            printable(json.partner)
        },
        printable(json.url),
        json.state,
        json.taken,
    );
    if let Some(feed) = &json.feed {
        line.push_str(&format!(", WebSub of {}", printable(feed.topic)));
        if feed.unconfirmed {
            line.push_str(", unconfirmed");
        }
    }
    if json.failures > 0 {
        line.push_str(&format!(", FAILING ({} times)", json.failures));
    }
    if json.parked > 0 {
        line.push_str(&format!(", {} parked", json.parked));
    }
    if json.parked_recalls > 0 {
        line.push_str(&format!(", {} RECALLS AMONG THEM", json.parked_recalls));
    }
    if !json.note.is_empty() {
        line.push_str(&format!("  {}", printable(json.note)));
    }
    line
}

/// Prints what is parked.
pub(super) fn print_parked(parked: &[proto::ParkedRevision], output: Output) -> anyhow::Result<()> {
    for one in parked {
        if output == Output::Json {
            out::json(&ParkedJson {
                cursor: &one.cursor,
                article: &one.article_id,
                revision: one.revision,
                action: &one.action,
                reason: &one.reason,
                since: time(one.since.as_ref()),
                tries: one.tries,
                asked: one.asked,
            })?;
            continue;
        }
        out::line(&format!(
            "{}  {:<8}  {} revision {}  {} tries: {}{}",
            printable(&one.cursor),
            printable(&one.action),
            printable(&one.article_id),
            one.revision,
            one.tries,
            printable(&one.reason),
            if one.asked {
                "  (to be sent again)"
            } else {
                ""
            },
        ))?;
    }
    Ok(())
}

/// Prints what a test comes to.
pub(super) fn print_tested(
    tested: &proto::TestWebhookResponse,
    output: Output,
) -> anyhow::Result<()> {
    let took = tested
        .took
        .and_then(|took| std::time::Duration::try_from(took).ok());
    let took_ms = took.unwrap_or_default().as_millis();
    if output == Output::Json {
        return out::json(&TestedJson {
            status: tested.status,
            failure: &tested.failure,
            body: &tested.body,
            took_ms,
        });
    }
    if tested.status == 0 {
        anyhow::bail!(
            "no answer after {took_ms} ms: {}",
            printable(&tested.failure)
        );
    }
    out::line(&format!("{} after {took_ms} ms", tested.status))?;
    if !tested.body.is_empty() {
        out::line(&printable(&tested.body))?;
    }
    Ok(())
}

fn format(webhook: &proto::Webhook) -> &'static str {
    match webhook.format() {
        WebhookFormat::Unspecified | WebhookFormat::Ninjs => "ninjs",
        WebhookFormat::Cloudevents => "cloudevents",
        WebhookFormat::Feed => "feed",
    }
}

fn state(webhook: &proto::Webhook) -> &'static str {
    match webhook.state() {
        WebhookState::Unspecified => "unknown",
        WebhookState::Active => "active",
        WebhookState::Paused => "paused",
        WebhookState::Gone => "gone",
    }
}

fn time(timestamp: Option<&prost_types::Timestamp>) -> Option<String> {
    let time = Timestamp::from_second(timestamp?.seconds).ok()?;
    Some(time.to_string())
}
