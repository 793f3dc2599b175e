//! Recall: whom the last correction, withholding or kill of a story has reached.

use std::sync::Arc;

use axum::response::Response;
use maud::{Markup, html};

use crate::{
    article::Action,
    fault::Fault,
    server::http::{
        articles::Id,
        dashboard::{
            article::chain,
            assets::LIVE_SCRIPT,
            listing, page,
            story::{Story, View, time},
            visit::Visit,
            webhooks::WEBHOOKS,
            wish::Wish,
        },
        related::article_id,
    },
    wire::{
        convert::action_from_proto,
        log::ReadError,
        ninjs::time_from_proto,
        proto::v1::{
            GetRecallRequest, GetRecallResponse, RecallRecipient, RecallState, RecipientKind,
        },
    },
};

/// Recipients of a page.
const RECIPIENTS: u32 = 100;

/// What the page shows.
struct Found {
    story: Story,
    recall: GetRecallResponse,
}

/// `GET /desk/articles/{id}/recall`.
pub async fn get(visit: Visit, id: Id) -> Response {
    let found = async { find(&visit, id).await };
    visit.part(found.await, |view, found| show(view, &visit.wish, found))
}

/// Subscriptions come before webhooks, in pages of their own: a page is filled over that border.
async fn find(visit: &Visit, id: Id) -> Result<Found, Fault> {
    let id = article_id(id)?;
    let recipients = &visit.web.recipients;
    let ask = |page_size, page_token| {
        let request = GetRecallRequest {
            article_id: id.to_string(),
            page_size,
            page_token,
        };
        recipients.recall(request, &visit.caller)
    };
    let mut recall = ask(RECIPIENTS, visit.wish.page.clone()).await?;
    let room = |recall: &GetRecallResponse| {
        let shown = u32::try_from(recall.recipients.len()).unwrap_or(RECIPIENTS);
        RECIPIENTS.saturating_sub(shown)
    };
    while room(&recall) > 0 && !recall.next_page_token.is_empty() {
        let next = ask(room(&recall), recall.next_page_token.clone()).await?;
        recall.recipients.extend(next.recipients);
        recall.next_page_token = next.next_page_token;
    }
    let entries = chain(&visit.web.hub, id, 1).await?;
    let head = entries.first().map(Arc::clone);
    let head = head.ok_or_else(|| ReadError::Behind.fault())?;
    Ok(Found {
        story: Story::of(&head.delivery()),
        recall,
    })
}

fn show(view: &View<'_>, wish: &Wish, found: &Found) -> Markup {
    let desk = view.tongue.desk();
    let texts = &desk.recipients;
    let (story, recall) = (&found.story, &found.recall);
    let path = format!("/desk/articles/{}/recall", story.id);
    let action = action_from_proto(recall.action).unwrap_or(Action::Correct);
    let content = html! {
        (page::top(view))
        main class="board" data-live-page data-stale=(desk.board_texts.stale) {
            h2 { (texts.recall) }
            p class="about" lang=(story.headline_language(view.tongue)) dir="auto" {
                a href=(view.address(&story.id)) { (story.headline(view.phrases())) }
            }
            p {
                strong { (view.action(action)) } " · " (view.phrases().revision) " " (recall.revision)
                " · " (time(time_from_proto(recall.published_at.as_ref())))
            }
            (listing::stale())
            div id="recall" data-live {
                @if recall.recipients.is_empty() { p class="hint" { (texts.nobody) } }
                @else {
                    (counts(view, recall, wish))
                    (listing::table(texts.recall, &texts.recall_columns, &html! {
                        @for one in &recall.recipients { (row(view, one)) }
                    }))
                }
            }
            (listing::further(view, wish, &path, &recall.next_page_token))
            p class="hint" { (texts.recall_hint) }
        }
    };
    let files = html! { script type="module" src=(LIVE_SCRIPT.path()) {} };
    page::document_with(view.tongue, texts.recall, &files, &content)
}

/// How many are how far; said only of all.
fn counts(view: &View<'_>, recall: &GetRecallResponse, wish: &Wish) -> Markup {
    let texts = &view.tongue.desk().recipients;
    let is_whole = recall.next_page_token.is_empty() && wish.page.is_empty();
    let count = |state: RecallState| {
        let all = recall.recipients.iter();
        all.filter(|one| one.state() == state).count()
    };
    html! {
        @if is_whole {
            dl class="facts counts" {
                @for (state, name) in STATES.into_iter().zip(texts.recall_states) {
                    div class=(class(state)) { dt { (name) } dd { (count(state)) } }
                }
            }
        }
    }
}

/// What somebody must look at comes first.
const STATES: [RecallState; 4] = [
    RecallState::Outstanding,
    RecallState::Sent,
    RecallState::Acknowledged,
    RecallState::NeverHad,
];

fn class(state: RecallState) -> &'static str {
    match state {
        RecallState::Outstanding => "outstanding",
        RecallState::Sent => "sent",
        RecallState::Acknowledged => "acknowledged",
        RecallState::NeverHad | RecallState::Unspecified => "never",
    }
}

fn row(view: &View<'_>, one: &RecallRecipient) -> Markup {
    let texts = &view.tongue.desk().recipients;
    let [subscription, webhook] = texts.kinds;
    let place = STATES.iter().position(|state| *state == one.state());
    let partner = if one.partner.is_empty() {
        "–"
    } else {
        &one.partner
    };
    let is_webhook = one.kind() == RecipientKind::Webhook;
    html! {
        tr class=(class(one.state())) {
            td { bdi { (partner) } }
            th scope="row" {
                @if is_webhook {
                    a href={ (WEBHOOKS) "/" (one.name) (view.suffix) } { bdi { (one.name) } }
                } @else { bdi { (one.name) } }
            }
            td { (if is_webhook { webhook } else { subscription }) }
            td { (place.map_or("–", |place| texts.recall_states[place])) }
        }
    }
}
