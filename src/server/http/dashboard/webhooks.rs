//! Webhooks: all of a partner, or all, and how each is.

use axum::response::Response;
use maud::{Markup, html};

use crate::{
    access::partner::PartnerName,
    article::check::Checker,
    delivery::{
        lag::Lag,
        webhooks::owners::{Age, Shown},
    },
    fault::Fault,
    server::http::dashboard::{
        assets::LIVE_SCRIPT,
        listing, page,
        phrases::recipients::RecipientPhrases,
        story::{View, time},
        visit::Visit,
        wish::Wish,
    },
    webhook::State,
    wire::convert::webhook as form,
};

/// Where they are.
pub const WEBHOOKS: &str = "/desk/webhooks";
/// Webhooks of a page: of each, two records are read at every look.
const WEBHOOKS_MAX: usize = 50;

/// A page of webhooks.
struct Found {
    webhooks: Vec<(Shown, Lag)>,
    next_page: String,
}

/// `GET /desk/webhooks`.
pub async fn get(visit: Visit) -> Response {
    let found = find(&visit).await;
    visit.part(found, |view, found| show(view, &visit.wish, found))
}

async fn find(visit: &Visit) -> Result<Found, Fault> {
    let all = &visit.web.webhooks;
    let partner = partner(&visit.wish.partner)?;
    let after = place(&visit.wish.page)?;
    let page = all.page(&visit.caller, partner.as_ref(), after, WEBHOOKS_MAX);
    let (shown, has_more) = page.await?;
    let last = shown.last().filter(|_| has_more);
    let next_page = last.map(|last| format!("{}.{}", last.webhook.created, last.webhook.id));
    let mut webhooks = Vec::with_capacity(shown.len());
    for one in shown {
        let lag = all.lag(&one).await?;
        webhooks.push((one, lag));
    }
    Ok(Found {
        webhooks,
        next_page: next_page.unwrap_or_default(),
    })
}

fn partner(text: &str) -> Result<Option<PartnerName>, Fault> {
    let mut check = Checker::default();
    let partner = form::partner(&mut check, "partner", text);
    check.finish()?;
    Ok(partner)
}

/// Reads after which webhook a page begins.
fn place(token: &str) -> Result<Option<Age>, Fault> {
    if token.is_empty() {
        return Ok(None);
    }
    let place = || {
        let (created, id) = token.split_once('.')?;
        Some((created.parse().ok()?, id.parse().ok()?))
    };
    place().map(Some).ok_or_else(|| {
        let message = "is no token of this list; begin at its first page";
        Fault::field("FIELD_INVALID", "page", message)
    })
}

fn show(view: &View<'_>, wish: &Wish, found: &Found) -> Markup {
    let desk = view.tongue.desk();
    let texts = &desk.recipients;
    let content = html! {
        (page::top(view))
        main class="board" data-live-page data-stale=(desk.board_texts.stale) {
            h2 { (texts.webhooks) }
            (listing::of_partner(view, wish, WEBHOOKS))
            (listing::stale())
            div id="webhooks" data-live {
                @if found.webhooks.is_empty() { p class="hint" { (texts.no_webhooks) } }
                @else {
                    (listing::table(texts.webhooks, &texts.webhook_columns, &html! {
                        @for (one, lag) in &found.webhooks { (row(view, wish, one, *lag)) }
                    }))
                }
            }
            (listing::further(view, wish, WEBHOOKS, &found.next_page))
            p class="hint" { (texts.webhooks_hint) " " code dir="ltr" { "barid webhook add" } }
        }
    };
    let files = html! { script type="module" src=(LIVE_SCRIPT.path()) {} };
    page::document_with(view.tongue, texts.webhooks, &files, &content)
}

fn row(view: &View<'_>, wish: &Wish, one: &Shown, lag: Lag) -> Markup {
    let texts = &view.tongue.desk().recipients;
    let webhook = &one.webhook;
    let name = webhook.partner.as_ref().map_or("", PartnerName::as_str);
    html! {
        tr class=[is_bad(one).then_some("behind")] {
            td { (listing::partner(view, wish, WEBHOOKS, name)) }
            th scope="row" {
                a href={ (WEBHOOKS) "/" (webhook.id) (view.suffix) } dir="ltr" { (webhook.target.hint()) }
                @if !webhook.note.is_empty() { br; small dir="auto" { (webhook.note) } }
            }
            td { (state(texts, one)) }
            td { (listing::lag(view, lag)) }
            td { (answer(texts, one)) }
            td { (parked(texts, one)) }
        }
    }
}

/// Whether somebody should look at it.
pub fn is_bad(one: &Shown) -> bool {
    one.webhook.state == State::Gone || one.progress.failing.is_some() || !one.parked.0.is_empty()
}

/// Whether it is sent anything.
pub fn state(texts: &RecipientPhrases, one: &Shown) -> &'static str {
    let [active, paused, gone, failing] = texts.states;
    match one.webhook.state {
        State::Active if one.progress.failing.is_some() => failing,
        State::Active => active,
        State::Paused => paused,
        State::Gone => gone,
    }
}

/// What it answered last.
pub fn answer(texts: &RecipientPhrases, one: &Shown) -> Markup {
    let [taken, never] = texts.answers;
    html! {
        @match (&one.progress.failing, one.progress.last_taken) {
            (Some(failing), _) => bdi lang="en" { (failing.reason) },
            (None, Some(at)) => { (taken) " " (time(listing::second(at))) }
            (None, None) => (never),
        }
    }
}

/// What is parked of it.
pub fn parked(texts: &RecipientPhrases, one: &Shown) -> Markup {
    let (all, recalls) = (one.parked.0.len(), one.parked.recall_count());
    html! {
        (all)
        @if recalls > 0 { " · " b { (texts.recalls_parked) " " (recalls) } }
    }
}
