//! Queue: the drafts of stories under embargo, next one first, as the desk sees them.

use axum::response::Response;
use http::StatusCode;
use maud::{Markup, html};

use crate::{
    server::http::dashboard::{
        page,
        story::{View, time},
        visit::Visit,
    },
    wire::{
        convert::embargo::embargo_to_proto,
        ninjs::time_from_proto,
        proto::v1::{Embargo, EmbargoState},
    },
};

/// Where it is.
pub const QUEUE: &str = "/desk/embargoes";
/// Drafts that are shown; `barid embargo list` shows all.
const DRAFTS_MAX: usize = 200;

/// `GET /desk/embargoes`.
pub async fn get(visit: Visit) -> Response {
    let mut cards = visit.web.log().embargoes().after(None, DRAFTS_MAX + 1);
    let has_more = cards.len() > DRAFTS_MAX;
    cards.truncate(DRAFTS_MAX);
    let drafts: Vec<Embargo> = cards.iter().map(|card| embargo_to_proto(card)).collect();
    let is_done = visit.wish.done.is_some();
    visit.show(StatusCode::OK, |view| {
        show(view, &drafts, has_more, is_done)
    })
}

fn show(view: &View<'_>, drafts: &[Embargo], has_more: bool, is_done: bool) -> Markup {
    let desk = view.tongue.desk();
    let texts = &desk.queue;
    let content = html! {
        (page::top(view))
        main class="board" {
            h2 { (desk.embargoes) }
            @if is_done { p class="done" role="status" { (texts.done) } }
            @if drafts.is_empty() { p class="hint" { (texts.nothing) } }
            @else {
                @if has_more { p class="hint" { (texts.first) } }
                div class="wide" role="group" aria-label=(desk.embargoes) tabindex="0" {
                    table {
                        thead { tr { @for column in texts.columns { th scope="col" { (column) } } } }
                        tbody { @for draft in drafts { (row(view, draft)) } }
                    }
                }
                p class="hint" { (texts.hint) " " code dir="ltr" { "barid embargo" } }
            }
        }
    };
    page::document(view.tongue, desk.embargoes, &content)
}

fn row(view: &View<'_>, draft: &Embargo) -> Markup {
    let desk = view.tongue.desk();
    let texts = &desk.queue;
    let is_blocked = draft.state() == EmbargoState::Blocked;
    html! {
        tr class=[is_blocked.then_some("blocked")] data-urgency=(draft.urgency) {
            td { (time(time_from_proto(draft.embargoed_until.as_ref()))) }
            th scope="row" lang=(draft.language) dir="auto" {
                // What is out already can be read; the first revision of a new story can't.
                @if draft.base_revision > 0 {
                    a href=(view.address(&draft.article_id)) { (draft.headline) }
                } @else { (draft.headline) }
            }
            td { (texts.states[usize::from(is_blocked)]) }
            td { (draft.urgency) }
            td { @for (place, topic) in draft.topics.iter().enumerate() {
                @if place > 0 { " · " }
                (view.topic_name(topic))
            } }
            td { bdi { (draft.partner) } }
        }
    }
}
