//! Webhook: one of them, what is parked of it, and what its owner or the desk does with it.

use axum::{
    Extension,
    extract::{Path, rejection::PathRejection},
    response::Response,
};
use http::StatusCode;
use maud::{Markup, html};

use crate::{
    access::partner::PartnerName,
    delivery::{
        lag::Lag,
        webhooks::owners::{Shown, Tested},
    },
    fault::{Fault, Kind},
    server::http::{
        admission::CSRF_FIELD,
        answer::Reason,
        dashboard::{
            assets::{COMPOSE_SCRIPT, LIVE_SCRIPT},
            listing, page,
            phrases::Tongue,
            story::{View, time},
            visit::Visit,
            webhooks::{WEBHOOKS, answer, parked, state},
        },
        form::Form,
    },
    webhook::{Format, Parked, Spec, State, WebhookId},
    wire::{
        convert::{field, webhook as form},
        status,
    },
};

/// Parked revisions that are shown; sending all again sends the others, too.
const PARKED_SHOWN: usize = 100;

/// What the path names.
type Named = Result<Path<String>, PathRejection>;

/// What a form of the page asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Pause,
    Resume,
    Test,
    Retry,
}

/// What came of what a form asked for.
#[derive(Debug)]
enum Outcome {
    /// It was tested.
    Tested(Tested),
    /// It was not done.
    Refused(Fault),
}

impl Act {
    const ALL: [Self; 4] = [Self::Pause, Self::Resume, Self::Test, Self::Retry];

    /// Its name in a form.
    fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Test => "test",
            Self::Retry => "retry",
        }
    }

    fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|act| act.name() == name)
    }
}

/// What a form asks for by this name, as its button says it.
pub fn said(tongue: Tongue, name: &str) -> Option<&'static str> {
    let acts = Act::ALL.into_iter().zip(tongue.desk().recipients.acts);
    let mut known = acts.filter(|(act, _)| act.name() == name);
    known.next().map(|(_, said)| said)
}

/// `GET /desk/webhooks/{id}`.
pub async fn get(visit: Visit, id: Named) -> Response {
    let found = async { read(&visit, name(id)?).await };
    visit.part(found.await, |view, (one, lag)| {
        show(view, one, *lag, None, Act::of(&visit.wish.did))
    })
}

/// `POST /desk/webhooks/{id}`.
pub async fn change(visit: Visit, id: Named, form: Option<Extension<Form>>) -> Response {
    let id = match name(id) {
        Ok(id) => id,
        Err(fault) => return visit.refuse(&fault),
    };
    let form = form.as_ref().map(|Extension(form)| form);
    let act = form.and_then(|form| Act::of(form.get("act")?));
    let (Some(form), Some(act)) = (form, act) else {
        return visit.refuse(&Fault::field(
            "FIELD_INVALID",
            "act",
            "is not pause, resume, test or retry",
        ));
    };
    let outcome = match done(&visit, id, act, form).await {
        // What it answered is kept nowhere else.
        Ok(Some(tested)) => Outcome::Tested(tested),
        Ok(None) => return visit.go_to(&format!("{WEBHOOKS}/{id}?did={}", act.name())),
        Err(fault) => Outcome::Refused(fault),
    };
    let (code, reason) = match &outcome {
        Outcome::Tested(_) => (StatusCode::OK, None),
        Outcome::Refused(fault) => (status::http(fault.kind), Some(fault.reason)),
    };
    let mut answer = match read(&visit, id).await {
        Ok((one, lag)) => visit.show(code, |view| show(view, &one, lag, Some(&outcome), None)),
        Err(fault) => return visit.refuse(&fault),
    };
    if let Some(reason) = reason {
        answer.extensions_mut().insert(Reason(reason));
    }
    answer
}

async fn done(
    visit: &Visit,
    id: WebhookId,
    act: Act,
    form: &Form,
) -> Result<Option<Tested>, Fault> {
    let (webhooks, caller) = (&visit.web.webhooks, &visit.caller);
    match act {
        Act::Pause => webhooks.pause(caller, id).await.map(|_| None),
        Act::Resume => webhooks.resume(caller, id).await.map(|_| None),
        Act::Test => webhooks.test(caller, id).await.map(Some),
        Act::Retry => {
            let cursors = form.all("cursor").map(|text| field::cursor("cursor", text));
            let cursors: Result<Vec<_>, Fault> = cursors.collect();
            webhooks.retry_parked(caller, id, &cursors?).await?;
            Ok(None)
        }
    }
}

async fn read(visit: &Visit, id: WebhookId) -> Result<(Shown, Lag), Fault> {
    let webhooks = &visit.web.webhooks;
    let one = webhooks.get(&visit.caller, id).await?;
    let lag = webhooks.lag(&one).await?;
    Ok((one, lag))
}

fn name(id: Named) -> Result<WebhookId, Fault> {
    form::id(&id.map(|Path(id)| id).unwrap_or_default())
}

fn show(
    view: &View<'_>,
    one: &Shown,
    lag: Lag,
    outcome: Option<&Outcome>,
    did: Option<Act>,
) -> Markup {
    let desk = view.tongue.desk();
    let texts = &desk.recipients;
    let content = html! {
        (page::top(view))
        main class="board" data-live-page data-stale=(desk.board_texts.stale) {
            h2 { (texts.webhook) " " bdi dir="ltr" { (one.webhook.target.hint()) } }
            @if let Some(act) = did {
                @let place = Act::ALL.iter().position(|one| *one == act).unwrap_or(0);
                p class="done" role="status" { (texts.did[place]) }
            }
            @if let Some(outcome) = outcome { (told(view, outcome)) }
            (listing::stale())
            div id="webhook" data-live { (facts(view, one, lag)) }
            (acts(view, one))
            section aria-labelledby="parked" {
                h3 id="parked" { (texts.parked) }
                div id="webhook-parked" data-live { (list(view, one)) }
            }
            p { a href={ (WEBHOOKS) (view.suffix) } { (texts.all_webhooks) } }
        }
    };
    let files = html! {
        script type="module" src=(COMPOSE_SCRIPT.path()) {}
        script type="module" src=(LIVE_SCRIPT.path()) {}
    };
    page::document_with(view.tongue, texts.webhook, &files, &content)
}

fn told(view: &View<'_>, outcome: &Outcome) -> Markup {
    let texts = &view.tongue.desk().recipients;
    match outcome {
        Outcome::Tested(tested) => {
            let is_good = tested.status.is_some_and(|code| (200..300).contains(&code));
            let [took, refused, silent] = texts.tested;
            html! {
                div class=(if is_good { "done" } else { "problem" }) role="status" {
                    @match tested.status {
                        Some(code) => p {
                            (if is_good { took } else { refused }) " " bdi { (code) }
                            " · " bdi { (tested.took.as_millis()) " " (view.tongue.desk().board_texts.units[1]) }
                        },
                        None => p { (silent) " " bdi lang="en" { (tested.failure) } },
                    }
                    @if !tested.body.is_empty() { pre dir="auto" { (tested.body) } }
                }
            }
        }
        Outcome::Refused(fault) => html! {
            div class="problem" role="alert" tabindex="-1" {
                @if fault.kind == Kind::Missing { p { (texts.unparked) } }
                @else { (view.words().fault(fault)) }
                p { code { (fault.reason) } }
            }
        },
    }
}

fn facts(view: &View<'_>, one: &Shown, lag: Lag) -> Markup {
    let texts = &view.tongue.desk().recipients;
    let [
        partner,
        current,
        behind,
        last,
        count,
        position,
        node,
        topics,
        wire_format,
        note,
        next,
    ] = texts.facts;
    let (webhook, progress) = (&one.webhook, &one.progress);
    let fact = |name: &str, value: Markup| html! { div { dt { (name) } dd { (value) } } };
    let name = webhook.partner.as_ref().map_or("–", PartnerName::as_str);
    html! {
        section {
            dl class="facts" {
                (fact(partner, html! { bdi { (name) } }))
                (fact(current, html! {
                    span class=[(webhook.state != State::Active || progress.failing.is_some()).then_some("alarm")] {
                        (state(texts, one))
                    }
                }))
                (fact(behind, listing::lag(view, lag)))
                (fact(last, answer(texts, one)))
                @if let Some(failing) = &progress.failing {
                    (fact(next, html! {
                        (time(listing::second(failing.next))) " · " (texts.failures) " " (failing.count)
                    }))
                }
                (fact(count, html! { (progress.taken_count) }))
                (fact(position, html! { bdi { code { (progress.at) } } }))
                (fact(node, html! {
                    @if progress.node.is_empty() { (texts.disconnected) } @else { bdi { (progress.node) } }
                }))
                (fact(topics, html! {
                    @if webhook.filter.topics.is_empty() { (texts.everything) }
                    @for (place, topic) in webhook.filter.topics.iter().enumerate() {
                        @if place > 0 { " · " }
                        (view.topic_name(topic.as_str()))
                    }
                }))
                (fact(wire_format, html! { bdi { (match &webhook.spec {
                    Spec::Standard { format: Format::Ninjs, .. } => "ninjs",
                    Spec::Standard { format: Format::CloudEvents, .. } => "CloudEvents",
                    Spec::Websub { .. } => "WebSub",
                }) } }))
                @if let Some(websub) = webhook.websub() {
                    (fact(texts.feed, html! { bdi dir="ltr" { (websub.path) } }))
                }
                @if !webhook.note.is_empty() { (fact(note, html! { bdi { (webhook.note) } })) }
            }
        }
    }
}

fn acts(view: &View<'_>, one: &Shown) -> Markup {
    let texts = &view.tongue.desk().recipients;
    let [pause, resume, test, retry] = texts.acts;
    let is_active = one.webhook.state == State::Active;
    if is_active && one.webhook.websub().is_some() {
        return html! { p class="hint" { (texts.subscribed) } };
    }
    html! {
        div class="acts" role="group" aria-label=(texts.acts_name) {
            @if is_active { (button(view, one, Act::Pause, pause, None)) }
            @else { (button(view, one, Act::Resume, resume, None)) }
            @if one.webhook.websub().is_none() { (button(view, one, Act::Test, test, None)) }
            @if !one.parked.0.is_empty() { (button(view, one, Act::Retry, retry, None)) }
        }
    }
}

/// A form that is one button.
fn button(view: &View<'_>, one: &Shown, act: Act, name: &str, parked: Option<&Parked>) -> Markup {
    let desk = view.tongue.desk();
    html! {
        form class={ "act to-" (act.name()) } method="post" data-sending=(desk.sending)
            action={ (WEBHOOKS) "/" (one.webhook.id) (view.suffix) } {
            @if let Some(csrf) = view.csrf { input type="hidden" name=(CSRF_FIELD) value=(csrf); }
            input type="hidden" name="act" value=(act.name());
            @if let Some(parked) = parked { input type="hidden" name="cursor" value=(parked.cursor); }
            button type="submit" { (name) }
        }
    }
}

fn list(view: &View<'_>, one: &Shown) -> Markup {
    let texts = &view.tongue.desk().recipients;
    let all = &one.parked.0;
    if all.is_empty() {
        return html! { p class="hint" { (texts.nothing_parked) } };
    }
    html! {
        p class="hint" { (texts.parked_hint) " " (parked(texts, one)) }
        @if all.len() > PARKED_SHOWN { p class="hint" { (texts.first_parked) } }
        div class="wide" role="group" aria-label=(texts.parked) tabindex="0" {
            table {
                thead { tr {
                    @for column in texts.parked_columns { th scope="col" { (column) } }
                    th scope="col" { span class="unseen" { (texts.retry_one) } }
                } }
                tbody {
                    @for parked in all.iter().take(PARKED_SHOWN) { (row(view, one, parked)) }
                }
            }
        }
    }
}

fn row(view: &View<'_>, one: &Shown, parked: &Parked) -> Markup {
    let texts = &view.tongue.desk().recipients;
    html! {
        tr class=[parked.is_recall().then_some("recall")] {
            th scope="row" {
                @if view.is_desk {
                    a href=(view.address(&parked.article)) { bdi { code { (parked.cursor) } } }
                } @else { bdi { code { (parked.cursor) } } }
            }
            td { (parked.revision) }
            td { @match parked.action() { Some(action) => (view.action(action)), None => (parked.action) } }
            td { bdi lang="en" { (parked.reason) } }
            td { (time(listing::second(parked.since))) }
            td { (parked.tries) }
            td {
                @if parked.is_asked { (texts.asked) }
                @else { (button(view, one, Act::Retry, texts.retry_one, Some(parked))) }
            }
        }
    }
}
