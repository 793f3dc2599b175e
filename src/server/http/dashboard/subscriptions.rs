//! Subscriptions: the durable ones, to their partner and to the desk.

use std::time::Duration;

use axum::response::Response;
use maud::{Markup, html};

use crate::{
    delivery::lag::Lag,
    server::http::dashboard::{
        assets::LIVE_SCRIPT,
        listing, page,
        story::{View, time},
        visit::Visit,
        wish::Wish,
    },
    wire::{
        ninjs::time_from_proto,
        proto::v1::{ListSubscriptionsRequest, ListSubscriptionsResponse, Subscription},
    },
};

/// Where they are.
pub const SUBSCRIPTIONS: &str = "/desk/subscriptions";
/// Subscriptions of a page: each is looked up in the index at every look.
const SUBSCRIPTIONS_MAX: u32 = 50;
/// From then on somebody should look at what is waiting.
const LATE: Duration = Duration::from_secs(60);

/// `GET /desk/subscriptions`.
pub async fn get(visit: Visit) -> Response {
    let request = ListSubscriptionsRequest {
        partner: visit.wish.partner.clone(),
        page_size: SUBSCRIPTIONS_MAX,
        page_token: visit.wish.page.clone(),
    };
    let found = visit.web.recipients.list(request, &visit.caller).await;
    visit.part(found, |view, found| show(view, &visit.wish, found))
}

fn show(view: &View<'_>, wish: &Wish, found: &ListSubscriptionsResponse) -> Markup {
    let desk = view.tongue.desk();
    let texts = &desk.recipients;
    let content = html! {
        (page::top(view))
        main class="board" data-live-page data-stale=(desk.board_texts.stale) {
            h2 { (texts.subscriptions) }
            p class="hint" { (texts.subscriptions_hint) }
            (listing::of_partner(view, wish, SUBSCRIPTIONS))
            (listing::stale())
            div id="subscriptions" data-live {
                @if found.subscriptions.is_empty() { p class="hint" { (texts.no_subscriptions) } }
                @else {
                    (listing::table(texts.subscriptions, &texts.subscription_columns, &html! {
                        @for one in &found.subscriptions { (row(view, wish, one)) }
                    }))
                }
            }
            (listing::further(view, wish, SUBSCRIPTIONS, &found.next_page_token))
        }
    };
    let files = html! { script type="module" src=(LIVE_SCRIPT.path()) {} };
    page::document_with(view.tongue, texts.subscriptions, &files, &content)
}

fn row(view: &View<'_>, wish: &Wish, one: &Subscription) -> Markup {
    let texts = &view.tongue.desk().recipients;
    let time_behind = one.lag.and_then(|lag| lag.try_into().ok());
    let lag = Lag {
        articles: one.lag_articles,
        is_least: one.lag_is_least,
        time: time_behind.unwrap_or_default(),
    };
    html! {
        tr class=[(lag.time >= LATE).then_some("behind")] {
            td { (listing::partner(view, wish, SUBSCRIPTIONS, &one.partner)) }
            th scope="row" { bdi { (one.name) } }
            td { (listing::lag(view, lag)) }
            td {
                @if one.connected_to.is_empty() { (texts.disconnected) }
                @else { bdi { (one.connected_to) } }
            }
            td { bdi { code { (one.cursor) } } }
            td { (time(time_from_proto(one.used.as_ref()))) }
        }
    }
}
