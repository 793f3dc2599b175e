//! Embargo: the draft of one story, and what the desk does with it: another time, now, never.

use axum::{
    Extension,
    extract::{Path, rejection::PathRejection},
    response::Response,
};
use http::StatusCode;
use maud::{Markup, html};

use crate::{
    fault::{Fault, Kind, wrong::Wrong},
    server::http::{
        admission::CSRF_FIELD,
        answer::Reason,
        dashboard::{
            article::paragraphs,
            assets::COMPOSE_SCRIPT,
            compose::draft::{shown_time, time_of},
            page,
            phrases::Tongue,
            queue::QUEUE,
            story::{View, time},
            visit::Visit,
        },
        form::Form,
        related::article_id,
    },
    wire::{
        ninjs::time_from_proto,
        proto::v1::{
            Article, CancelEmbargoRequest, Embargo, EmbargoState, GetEmbargoRequest,
            GetEmbargoResponse, MoveEmbargoRequest, ReleaseEmbargoRequest,
        },
        status,
    },
};

/// The field with the time to move to.
const UNTIL: &str = "until";

/// What the path names.
type Named = Result<Path<String>, PathRejection>;

/// What a form of the page asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Move,
    Release,
    Cancel,
}

/// What was wrong with what a form asked for.
#[derive(Debug)]
struct Trouble {
    act: Act,
    /// The time that was written.
    until: String,
    fault: Fault,
}

impl Trouble {
    /// What is wrong with the one field of its form, if that is to blame.
    fn wrong(&self) -> Option<&Wrong> {
        let wrong = self.fault.violations.first().map(|one| &one.wrong);
        wrong.filter(|wrong| !matches!(wrong, Wrong::Told(_)))
    }
}

impl Act {
    const ALL: [Self; 3] = [Self::Move, Self::Release, Self::Cancel];

    /// Its name in a form.
    fn name(self) -> &'static str {
        match self {
            Self::Move => "move",
            Self::Release => "release",
            Self::Cancel => "cancel",
        }
    }
}

/// What a form asks for by this name, as its button says it.
pub fn said(tongue: Tongue, name: &str) -> Option<&'static str> {
    let acts = Act::ALL.into_iter().zip(tongue.desk().queue.acts);
    let mut known = acts.filter(|(act, _)| act.name() == name);
    known.next().map(|(_, said)| said)
}

/// `GET /desk/embargoes/{id}`.
pub async fn get(visit: Visit, id: Named) -> Response {
    let found = async { draft(&visit, &name(id)?).await };
    visit.part(found.await, |view, found| {
        show(view, found, None, &visit.wish.did)
    })
}

/// `POST /desk/embargoes/{id}`.
pub async fn change(visit: Visit, id: Named, form: Option<Extension<Form>>) -> Response {
    let id = match name(id) {
        Ok(id) => id,
        Err(fault) => return visit.refuse(&fault),
    };
    let form = form.as_ref().map(|Extension(form)| form);
    let act = form.and_then(|form| form.get("act"));
    let act = Act::ALL.into_iter().find(|one| Some(one.name()) == act);
    let (Some(form), Some(act)) = (form, act) else {
        let message = "is not move, release or cancel";
        return visit.refuse(&Fault::field("FIELD_INVALID", "act", message));
    };
    let fault = match done(&visit, &id, act, form).await {
        Ok(answer) => return answer,
        Err(fault) => fault,
    };
    let until = form.get(UNTIL).unwrap_or_default().to_owned();
    refused(&visit, &id, Trouble { act, until, fault }).await
}

/// Does what a form asks for, and leads to where that is seen.
async fn done(visit: &Visit, id: &str, act: Act, form: &Form) -> Result<Response, Fault> {
    let (web, caller) = (&visit.web, &visit.caller);
    let embargoes = web.desk.embargoes();
    let version = form.get("version").unwrap_or_default();
    let expected_version: u64 = version.parse().unwrap_or(0);
    if expected_version == 0 {
        // 0 would mean any.
        let message = "the form does not say which draft it means; open it again";
        return Err(Fault::new(Kind::Conflict, "EMBARGO_CONFLICT", message));
    }
    let article_id = id.to_owned();
    if act != Act::Move && form.get("confirm").is_none() {
        return Err(Fault::field("FIELD_INVALID", "confirm", Wrong::Unticked));
    }
    match act {
        Act::Move => {
            let base = draft(visit, id).await?.embargo.unwrap_or_default();
            let text = form.get(UNTIL).unwrap_or_default();
            let request = MoveEmbargoRequest {
                article_id,
                embargoed_until: time_of(text, base.embargoed_until, "embargoed_until")?,
                expected_version,
            };
            embargoes.move_to(caller, &request).await?;
            Ok(visit.go_to(&format!("{QUEUE}/{id}?did=move")))
        }
        Act::Release => {
            let request = ReleaseEmbargoRequest {
                article_id,
                expected_version,
            };
            let released = embargoes.release(caller, &request).await?;
            let revision = released.revision;
            Ok(visit.go_to(&format!("/desk/articles/{id}?done={revision}")))
        }
        Act::Cancel => {
            let request = CancelEmbargoRequest {
                article_id,
                expected_version,
            };
            embargoes.cancel(caller, &request).await?;
            Ok(visit.go_to(&format!("{QUEUE}?did=cancel")))
        }
    }
}

/// The draft as it is now, with what was wrong and what was written.
async fn refused(visit: &Visit, id: &str, trouble: Trouble) -> Response {
    let fault = &trouble.fault;
    let code = match fault.kind {
        Kind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        kind => status::http(kind),
    };
    let queue = &visit.wish.tongue.desk().queue;
    let found = if fault.kind == Kind::Unavailable {
        // It would not answer now, either.
        Err(queue.unsure)
    } else {
        match draft(visit, id).await {
            Ok(found) => Ok(found),
            Err(other) if other.kind == Kind::Missing => Err(queue.gone),
            Err(other) => return visit.refuse(&other),
        }
    };
    let mut answer = visit.show(code, |view| match &found {
        Ok(found) => show(view, found, Some(&trouble), ""),
        Err(why) => unshown(view, id, &trouble, why),
    });
    answer.extensions_mut().insert(Reason(fault.reason));
    answer
}

async fn draft(visit: &Visit, id: &str) -> Result<GetEmbargoResponse, Fault> {
    let request = GetEmbargoRequest {
        article_id: id.to_owned(),
    };
    visit
        .web
        .desk
        .embargoes()
        .get(&visit.caller, &request)
        .await
}

fn name(id: Named) -> Result<String, Fault> {
    Ok(article_id(id)?.to_string())
}

fn show(
    view: &View<'_>,
    found: &GetEmbargoResponse,
    trouble: Option<&Trouble>,
    did: &str,
) -> Markup {
    let desk = view.tongue.desk();
    let texts = &desk.queue;
    let (draft, article) = (found.embargo.clone(), found.article.clone());
    let (draft, article) = (draft.unwrap_or_default(), article.unwrap_or_default());
    let content = html! {
        (page::top(view))
        main class="board draft" {
            h2 lang=(draft.language) dir="auto" { (draft.headline) }
            @if draft.state() == EmbargoState::Blocked {
                p class="problem" role="alert" { (texts.blocked) }
            } @else if did == Act::Move.name() {
                p class="done" role="status" {
                    (texts.moved) " " (time(time_from_proto(draft.embargoed_until.as_ref())))
                }
            }
            @if let Some(trouble) = trouble { (alert(view, &draft, trouble)) }
            (facts(view, &draft))
            (acts(view, &draft, trouble))
            section aria-labelledby="text" {
                h3 id="text" { (texts.text) }
                (body(&article))
            }
            p { a href={ (QUEUE) (view.suffix) } { (texts.all) } }
        }
    };
    let files = html! { script type="module" src=(COMPOSE_SCRIPT.path()) {} };
    page::document_with(view.tongue, &draft.headline, &files, &content)
}

/// What is said when nothing is left to change, or nobody knows.
fn unshown(view: &View<'_>, id: &str, trouble: &Trouble, why: &str) -> Markup {
    let desk = view.tongue.desk();
    let texts = &desk.queue;
    let content = html! {
        (page::top(view))
        main class="board draft" {
            h2 { (desk.embargoes) }
            div class="problem" role="alert" tabindex="-1" {
                p { (why) }
                @if !trouble.until.is_empty() {
                    p { (texts.written) " " bdi { (trouble.until) " UTC" } }
                }
                p { code { (trouble.fault.reason) } }
            }
            p class="buttons" {
                @if trouble.fault.kind == Kind::Unavailable {
                    a href={ (QUEUE) "/" (id) (view.suffix) } { (texts.look_again) }
                } @else { a href=(view.address(id)) { (texts.look) } }
                a href={ (QUEUE) (view.suffix) } { (texts.all) }
            }
        }
    };
    page::document(view.tongue, desk.embargoes, &content)
}

fn alert(view: &View<'_>, draft: &Embargo, trouble: &Trouble) -> Markup {
    let (fault, texts) = (&trouble.fault, &view.tongue.desk().queue);
    html! {
        div class="problem" role="alert" tabindex="-1" {
            @if fault.kind == Kind::Conflict {
                p { (texts.overtaken) " " (time(time_from_proto(draft.embargoed_until.as_ref()))) }
                @if trouble.act == Act::Move { p { (texts.again) } }
            } @else {
                p { (texts.undone) }
                @match trouble.wrong() {
                    Some(wrong) => p {
                        a href={ "#f-" (trouble.act.name()) } { (view.words().wrong(wrong)) }
                    },
                    None => (view.words().fault(fault)),
                }
            }
            p { code { (fault.reason) } }
        }
    }
}

fn facts(view: &View<'_>, draft: &Embargo) -> Markup {
    let texts = &view.tongue.desk().queue;
    let [out, _, state, urgency, topics, partner] = texts.columns;
    let is_blocked = draft.state() == EmbargoState::Blocked;
    let fact = |name: &str, value: Markup| html! { div { dt { (name) } dd { (value) } } };
    let is_news = draft.base_revision == 0;
    html! {
        section {
            dl class="facts" {
                (fact(out, time(time_from_proto(draft.embargoed_until.as_ref()))))
                (fact(state, html! {
                    span class=[is_blocked.then_some("alarm")] { (texts.states[usize::from(is_blocked)]) }
                }))
                (fact(urgency, html! { (draft.urgency) }))
                (fact(topics, html! {
                    @for (place, topic) in draft.topics.iter().enumerate() {
                        @if place > 0 { " · " }
                        (view.topic_name(topic))
                    }
                }))
                @if !draft.partner.is_empty() { (fact(partner, html! { bdi { (draft.partner) } })) }
                (fact(texts.submitted, time(time_from_proto(draft.submitted_at.as_ref()))))
                @if !is_news {
                    (fact(texts.base, html! {
                        a href=(view.address(&draft.article_id)) { (draft.base_revision) }
                    }))
                }
            }
        }
    }
}

fn acts(view: &View<'_>, draft: &Embargo, trouble: Option<&Trouble>) -> Markup {
    let texts = &view.tongue.desk().queue;
    let kept = shown_time(draft.embargoed_until.as_ref());
    let written = trouble.filter(|trouble| trouble.act == Act::Move);
    let until = written.map_or(kept.as_str(), |trouble| trouble.until.as_str());
    // What is wrong with the one field of that form.
    let wrong = |act: Act| {
        let own = trouble.filter(|trouble| trouble.act == act);
        own.and_then(Trouble::wrong)
    };
    let error = |act: Act| {
        html! {
            p id={ "e-" (act.name()) } class="error" {
                @if let Some(wrong) = wrong(act) { (view.words().wrong(wrong)) }
            }
        }
    };
    html! {
        div class="choices" {
            section aria-labelledby="do-move" {
                h3 id="do-move" { (texts.acts[0]) }
                (form(view, draft, Act::Move, &html! {
                    div class="field" {
                        label for="f-move" { (texts.until) }
                        input type="datetime-local" id="f-move" name=(UNTIL) value=(until) dir="ltr" required
                            aria-invalid=[wrong(Act::Move).map(|_| "true")] aria-describedby="h-move e-move";
                        p id="h-move" class="hint" { (texts.until_hint) }
                        (error(Act::Move))
                    }
                }))
            }
            @for (act, hint) in [(Act::Release, texts.release_hint), (Act::Cancel, texts.cancel_hint)] {
                @let place = if act == Act::Release { 1 } else { 2 };
                section aria-labelledby={ "do-" (act.name()) } {
                    h3 id={ "do-" (act.name()) } { (texts.acts[place]) }
                    p class="hint" { (hint) }
                    (form(view, draft, act, &html! {
                        div class="field" {
                            label class="tick" {
                                input type="checkbox" id={ "f-" (act.name()) } name="confirm" value="yes" required
                                    aria-invalid=[wrong(act).map(|_| "true")]
                                    aria-describedby={ "e-" (act.name()) };
                                span { (texts.confirm[place - 1]) }
                            }
                            (error(act))
                        }
                    }))
                }
            }
        }
    }
}

/// A form of the page: sent to where it stands.
fn form(view: &View<'_>, draft: &Embargo, act: Act, fields: &Markup) -> Markup {
    let desk = view.tongue.desk();
    let texts = &desk.queue;
    let place = Act::ALL.iter().position(|one| *one == act).unwrap_or(0);
    html! {
        form class={ "act to-" (act.name()) } method="post" data-sending=(desk.sending)
            action={ (QUEUE) "/" (draft.article_id) (view.suffix) } {
            @if let Some(csrf) = view.csrf { input type="hidden" name=(CSRF_FIELD) value=(csrf); }
            input type="hidden" name="act" value=(act.name());
            input type="hidden" name="version" value=(draft.version);
            (fields)
            p class="buttons" { button type="submit" { (texts.acts[place]) } }
        }
    }
}

fn body(article: &Article) -> Markup {
    let language = &article.language;
    html! {
        @if !article.subheadline.is_empty() {
            p class="sub" lang=(language) dir="auto" { (article.subheadline) }
        }
        @if !article.edition_note.is_empty() {
            p class="note" lang=(language) dir="auto" { (article.edition_note) }
        }
        div class="body" lang=(language) dir="auto" {
            @for paragraph in paragraphs(article) { p dir="auto" { (paragraph) } }
        }
    }
}
