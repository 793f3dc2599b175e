//! Entry: the page on which a key is shown, and how its session begins and ends. Forms, without
//! script.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{Request, State},
    response::Response,
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ACCEPT, LOCATION},
};
use maud::{Markup, html};
use tokio::time::Instant;

use crate::{
    fault::Fault,
    server::http::{
        Connection, Web,
        admission::{Asked, CSRF_FIELD},
        answer::Reason,
        cookie,
        dashboard::{
            self,
            kept::{self, Carrier, Kept},
            page,
            phrases::{Tongue, wrong::Words},
            visit::Visit,
            wish::Wish,
        },
        form::Form,
        origin::Site,
        session,
    },
    wire::status,
};

/// Where the form is sent.
pub const ENTER: &str = "/desk/session";
/// Where a session ends.
pub const LEAVE: &str = "/desk/session/end";
/// For how long the form's fields are waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most bytes of it: what is kept, with names that are longer here, and a key.
const FORM_BYTES_MAX: usize = kept::BYTES_MAX * 5 / 4;
/// What an end of a session is called that a page tells of in its own words.
const ENDED: &str = "SESSION_ENDED";

/// Whether a browser asks for a page, and not a program for data.
pub fn takes_pages(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter();
    accepted
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("text/html"))
}

/// The page that asks for a key, and says why the last one was not taken; `target` is where to go
/// on, and what a form said meanwhile is kept.
pub fn page(wish: &Wish, target: &str, fault: Option<&Fault>, kept: &Kept) -> Response {
    let status = fault.map_or(StatusCode::UNAUTHORIZED, |fault| status::http(fault.kind));
    let mut answer = dashboard::answer(status, &asking(wish, target, fault, kept));
    let reason = fault.map_or("KEY_MISSING", |fault| fault.reason);
    answer.extensions_mut().insert(Reason(reason));
    answer
}

fn asking(wish: &Wish, target: &str, fault: Option<&Fault>, kept: &Kept) -> Markup {
    let phrases = wish.tongue.phrases();
    let words = Words::of(wish.tongue);
    let is_kept = !matches!(kept, Kept::Nothing);
    let content = html! {
        header class="top" {
            h1 { (phrases.title) }
            // Whoever follows it leaves what is kept behind.
            @if !is_kept { nav { (page::tongue_link(wish)) } }
        }
        main class="entry" {
            h2 { (phrases.enter) }
            @if is_kept { (kept.told(wish.tongue)) }
            @if let Some(fault) = fault.filter(|fault| !is_kept || fault.reason != ENDED) {
                div class="problem" role="alert" {
                    p { (phrases.refused) }
                    (words.fault(fault))
                    p { code { (fault.reason) } }
                }
            }
            p id="hint" class="hint" { (phrases.enter_hint) }
            form class="filters" method="post" action=(ENTER) {
                input type="hidden" name="target" value=(target);
                (kept.inputs(Carrier::Entry))
                label {
                    span { (phrases.key) }
                    input type="password" name="key" dir="ltr" required autofocus
                        autocomplete="current-password" spellcheck="false"
                        aria-describedby="hint";
                }
                p class="buttons" { button type="submit" { (phrases.enter) } }
            }
        }
    };
    page::document(wish.tongue, phrases.enter, &content)
}

/// The form that ends the session of a page.
pub fn leave(tongue: Tongue, csrf: &str) -> Markup {
    html! {
        form class="leave" method="post" action=(LEAVE) {
            input type="hidden" name=(CSRF_FIELD) value=(csrf);
            button type="submit" { (tongue.phrases().leave) }
        }
    }
}

/// `POST` of the key: begins a session, and goes on to where its page was asked for.
pub async fn enter(State(web): State<Web>, request: Request) -> Response {
    let asked = Asked::of(&web, &request);
    let (head, body) = request.into_parts();
    let bounds = (FORM_BYTES_MAX, Instant::now() + PATIENCE);
    let form = async {
        asked.may_begin(&web)?;
        Form::take(&web.entry_room, &head.headers, body, bounds).await
    };
    let form = match form.await {
        Ok(form) => form,
        Err(refusal) => return noted(&web, &asked, asked.refuse(refusal, None)),
    };
    let target = target(form.get("target"));
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let wish = Wish::parse(query, &head.headers);
    let kept = match asked.site() {
        Site::Ours => Kept::carried(&form),
        Site::Foreign | Site::Unsaid => Kept::Nothing,
    };
    let key = session::authorization(form.get("key").unwrap_or_default());
    let entered = key.and_then(|key| session::enter(&web, key, asked.shown.from));
    let (token, caller) = match entered {
        Ok(entered) => entered,
        Err(fault) => {
            let answer = page(&wish, target, Some(&fault), &kept);
            return noted(&web, &asked, answer);
        }
    };
    let mut answer = match (&kept, caller.session()) {
        (Kept::Fields(_), Some(session)) => kept.again(&wish, target, &session.csrf, None),
        _ => go_to(target),
    };
    let connection = head.extensions.get::<Connection>();
    cookie::set(answer.headers_mut(), &token, &head.headers, connection);
    answer
}

/// `POST` of the other form: the session ends.
pub async fn end(visit: Visit) -> Response {
    let mut answer = go_to("/");
    match session::forget(&visit.web, &visit.caller, answer.headers_mut()).await {
        Ok(()) => answer,
        Err(fault) => visit.refuse(&fault),
    }
}

fn noted(web: &Web, asked: &Asked, answer: Response) -> Response {
    web.note_refusal(asked, &answer);
    answer
}

/// A page of ours: what a form names may be anything.
pub fn target(named: Option<&str>) -> &str {
    let named = named.unwrap_or_default();
    let path = named.split_once('?').map_or(named, |(path, _)| path);
    let is_plain = named
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let is_ours = is_plain && dashboard::is_page(path) && path != ENTER && path != LEAVE;
    if is_ours { named } else { "/" }
}

fn go_to(target: &str) -> Response {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::SEE_OTHER;
    let location = HeaderValue::from_str(target).expect("a target is plain ASCII");
    answer.headers_mut().insert(LOCATION, location);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No form leads away from here.
    #[test]
    fn targets_are_ours() {
        for good in ["/", "/?topics=ict&ui=ar", "/desk/articles/7?ui=ar"] {
            assert_eq!(target(Some(good)), good);
        }
        for bad in [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/\t/evil.example",
            "/v1/articles",
            "javascript:alert(1)",
            "/desk/session",
            "/?\r\nset-cookie: a=b",
            "/?ä",
        ] {
            assert_eq!(target(Some(bad)), "/", "{bad:?}");
        }
        assert_eq!(target(None), "/");
    }
}
