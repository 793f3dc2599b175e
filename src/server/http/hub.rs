//! `POST /v1/hub`: feeds are subscribed to (WebSub, section 5.1).

use std::sync::Arc;

use axum::{
    Extension,
    extract::{RawQuery, State},
    response::Response,
};
use http::{HeaderMap, StatusCode};

use crate::{
    article::check::{Checker, shown},
    delivery::{
        feeds::Wanted,
        query::Parameters,
        webhooks::subscribers::{Mode, Request},
    },
    fault::Fault,
    gate::caller::Caller,
    server::http::{
        Connection, Web,
        answer::{Refusal, fleeting},
        body,
        feeds::base,
        form::Form,
    },
    target::Target,
    webhook::websub::{HubSecret, LEASE_DEFAULT, LEASE_MAX},
};

/// Longest address of a feed that is looked at.
const TOPIC_BYTES_MAX: usize = 2048;
/// What is answered: nothing is subscribed to before the callback says so.
const ACCEPTED: &str = "The callback is asked whether it wants this.\n";

/// Takes the wish of a subscriber.
///
/// # Errors
/// A field is wrong, the key may not, or the node can't write.
pub async fn post(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    Extension(connection): Extension<Connection>,
    form: Option<Extension<Form>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    // Before anything is said of what it sent.
    caller.stewardship()?;
    Parameters::parse(query.as_deref().unwrap_or_default(), &[])?;
    let Some(Extension(form)) = form else {
        let remedy = "the hub.… fields as application/x-www-form-urlencoded";
        return Err(body::not_taken(&headers, remedy));
    };
    let request = request(&form, &base(&web, &connection, &headers))?;
    web.webhooks.request(&caller, request).await?;
    Ok(fleeting(
        StatusCode::ACCEPTED,
        "text/plain; charset=utf-8",
        ACCEPTED,
    ))
}

/// What a form asks for. What it says beside that is nobody's here, and is not looked at.
fn request(form: &Form, base: &str) -> Result<Request, Fault> {
    let mut check = Checker::default();
    let mode = one(&mut check, form, "hub.mode");
    let callback = one(&mut check, form, "hub.callback");
    let callback = callback.and_then(|text| {
        let target = text.parse::<Target>();
        target
            .map_err(|error| check.refuse("hub.callback", format!("{}: {error}", shown(text))))
            .ok()
    });
    let topic = one(&mut check, form, "hub.topic");
    let feed = topic.and_then(|text| {
        let feed = feed(text, base);
        feed.map_err(|message| check.refuse_as("FEED_UNKNOWN", "hub.topic", message))
            .ok()
    });
    let secret = secret(&mut check, form);
    let lease_seconds = lease_seconds(&mut check, form);
    let mode = match mode {
        Some("subscribe") => Some(Mode::Subscribe {
            lease_seconds,
            secret,
        }),
        Some("unsubscribe") => Some(Mode::Unsubscribe),
        Some(other) => {
            let message = format!("{} is neither subscribe nor unsubscribe", shown(other));
            check.refuse("hub.mode", message);
            None
        }
        None => None,
    };
    check.finish()?;
    Ok(Request {
        feed: feed.expect("checked above"),
        callback: callback.expect("checked above"),
        mode: mode.expect("checked above"),
    })
}

/// A field that must be there, once.
fn one<'a>(check: &mut Checker, form: &'a Form, name: &'static str) -> Option<&'a str> {
    let text = some(check, form, name);
    if text.is_none() && form.all(name).next().is_none_or(str::is_empty) {
        check.refuse(name, "is missing; WebSub wants it once");
    }
    text
}

/// A field that may be there, once; empty is as if it were not.
fn some<'a>(check: &mut Checker, form: &'a Form, name: &'static str) -> Option<&'a str> {
    let mut all = form.all(name);
    let first = all.next()?;
    if all.next().is_some() {
        check.refuse(name, "is given more than once; give it once");
        return None;
    }
    Some(first).filter(|text| !text.is_empty())
}

/// The feed at an address, which is the one that the feed itself gives; or what is wrong.
fn feed(text: &str, base: &str) -> Result<Wanted, String> {
    let form = format!("{base}/feeds/ and all or a topic of /v1/topics, then .atom, .rss or .json");
    if text.len() > TOPIC_BYTES_MAX {
        return Err(format!(
            "has more than {TOPIC_BYTES_MAX} bytes; a feed is at {form}"
        ));
    }
    let path = text.strip_prefix(base).filter(|path| path.starts_with('/'));
    let path = path.ok_or_else(|| {
        format!(
            "{} is no feed of this node, which is at {form}",
            shown(text)
        )
    })?;
    // By whose right it is read is looked at when it is.
    let wanted = Wanted::at(path, Arc::default(), base.to_owned());
    let wanted = wanted.map_err(|fault| format!("{}: {}", shown(text), fault.message))?;
    if wanted.path != path {
        let own = wanted.url();
        return Err(format!("{} calls itself {own}; give that", shown(text)));
    }
    Ok(wanted)
}

fn secret(check: &mut Checker, form: &Form) -> Option<HubSecret> {
    let text = some(check, form, "hub.secret")?;
    // Never shown.
    let secret = HubSecret::try_from(text.to_owned());
    secret
        .map_err(|error| check.refuse("hub.secret", error.to_string()))
        .ok()
}

/// For how long: as it is asked for, up to what a hub may give.
fn lease_seconds(check: &mut Checker, form: &Form) -> u32 {
    let Some(text) = some(check, form, "hub.lease_seconds") else {
        return LEASE_DEFAULT;
    };
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    // Longer than any number is longer than what is given.
    let seconds = text.parse::<u32>().unwrap_or(LEASE_MAX);
    if !is_number || seconds == 0 {
        let message = format!("{} is no number of seconds from 1 on", shown(text));
        check.refuse("hub.lease_seconds", message);
    }
    seconds.min(LEASE_MAX)
}
