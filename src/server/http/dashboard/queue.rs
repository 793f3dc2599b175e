//! Queue: the drafts of stories under embargo, next one first, as the desk sees them.

use axum::response::Response;
use maud::{Markup, html};

use crate::{
    server::http::dashboard::{
        assets::LIVE_SCRIPT,
        listing, page,
        story::{View, time},
        visit::Visit,
        wish::Wish,
    },
    wire::{
        ninjs::time_from_proto,
        proto::v1::{Embargo, EmbargoState, ListEmbargoesRequest, ListEmbargoesResponse},
    },
};

/// Where it is.
pub const QUEUE: &str = "/desk/embargoes";
/// Drafts of a page.
const DRAFTS: u32 = 100;

/// `GET /desk/embargoes`.
pub async fn get(visit: Visit) -> Response {
    let request = ListEmbargoesRequest {
        page_size: DRAFTS,
        page_token: visit.wish.page.clone(),
    };
    let found = visit.web.desk.embargoes().list(&visit.caller, &request);
    visit.part(found, |view, found| show(view, &visit.wish, found))
}

fn show(view: &View<'_>, wish: &Wish, found: &ListEmbargoesResponse) -> Markup {
    let desk = view.tongue.desk();
    let texts = &desk.queue;
    let content = html! {
        (page::top(view))
        main class="board" data-live-page data-stale=(desk.board_texts.stale) {
            h2 { (desk.embargoes) }
            @if wish.done.is_some() { p class="done" role="status" { (texts.done) } }
            @if wish.did == "cancel" { p class="done" role="status" { (texts.cancelled) } }
            (listing::stale())
            div id="drafts" data-live {
                @if found.embargoes.is_empty() { p class="hint" { (texts.nothing) } }
                @else {
                    p class="hint" { (texts.hint) }
                    (listing::table(desk.embargoes, &texts.columns, &html! {
                        @for draft in &found.embargoes { (row(view, draft)) }
                    }))
                }
            }
            (listing::further(view, wish, QUEUE, &found.next_page_token))
        }
    };
    let files = html! { script type="module" src=(LIVE_SCRIPT.path()) {} };
    page::document_with(view.tongue, desk.embargoes, &files, &content)
}

fn row(view: &View<'_>, draft: &Embargo) -> Markup {
    let desk = view.tongue.desk();
    let texts = &desk.queue;
    let is_blocked = draft.state() == EmbargoState::Blocked;
    html! {
        tr class=[is_blocked.then_some("blocked")] data-urgency=(draft.urgency) {
            td { (time(time_from_proto(draft.embargoed_until.as_ref()))) }
            th scope="row" lang=(draft.language) dir="auto" {
                a href={ (QUEUE) "/" (draft.article_id) (view.suffix) } { (draft.headline) }
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
