//! Kept: what an editor wrote in a form whose session has ended, or was another one. It stands in the
//! page that says so, and is sent again from there.

use axum::response::Response;
use http::StatusCode;
use maud::{Markup, html};

use crate::{
    access::session::CsrfToken,
    fault::Fault,
    server::http::{
        admission::CSRF_FIELD,
        answer::Reason,
        dashboard::{self, embargo, entry, page, phrases::Tongue, webhook, wish::Wish},
        form::Form,
    },
    wire::status,
};

/// Most bytes of a form that is kept, as it is sent: 40,000 letters of Arabic. Of a longer one its
/// sender is told.
pub const BYTES_MAX: usize = 512 * 1024;
/// What names of fields begin with that go through the form that asks for a key.
const PREFIX: &str = "kept:";
/// What is not kept: a token of another session; and what can't be taken back is confirmed anew, on
/// a page that says what it does.
const LEFT_OUT: [&str; 2] = [CSRF_FIELD, "confirm"];
/// Fields that tell a reader nothing.
const UNTOLD: [&str; 5] = ["request_id", "seen", "version", "cursor", "body_type"];

/// What is kept of a form.
#[derive(Clone)]
pub enum Kept {
    /// There was none.
    Nothing,
    /// Its fields.
    Fields(Vec<(String, String)>),
    /// There was one, and it did not come whole.
    Lost,
}

/// The form that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// The one that asks for a key.
    Entry,
    /// The form itself, again.
    Form,
}

impl Kept {
    /// What a form says that was not taken.
    pub fn of(form: &Form) -> Self {
        Self::some(form.fields())
    }

    /// What the form that asks for a key carries.
    pub fn carried(form: &Form) -> Self {
        let fields = form.fields();
        Self::some(fields.filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?, value))))
    }

    fn some<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let fields = fields.filter(|(name, _)| !LEFT_OUT.contains(name));
        let fields: Vec<_> = fields
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        if fields.is_empty() {
            Self::Nothing
        } else {
            Self::Fields(fields)
        }
    }

    fn fields(&self) -> &[(String, String)] {
        match self {
            Self::Fields(fields) => fields,
            Self::Nothing | Self::Lost => &[],
        }
    }

    /// Its fields, for whom no reader sees.
    pub fn inputs(&self, carrier: Carrier) -> Markup {
        let prefix = match carrier {
            Carrier::Entry => PREFIX,
            Carrier::Form => "",
        };
        html! {
            @for (name, value) in self.fields() {
                input type="hidden" name={ (prefix) (name) } value=(value);
            }
        }
    }

    /// What is said of it where a key is asked for.
    pub fn told(&self, tongue: Tongue) -> Markup {
        let phrases = &tongue.desk().kept;
        html! {
            div class="problem" role="alert" {
                p { (phrases.ended) }
                @match self {
                    Self::Fields(_) => p { (phrases.kept) },
                    Self::Lost => p { (phrases.lost) },
                    Self::Nothing => {}
                }
            }
            (self.list(tongue))
        }
    }

    /// The page from which it is sent again in a session; `fault` is why it was not taken, if it is
    /// not new.
    pub fn again(
        &self,
        wish: &Wish,
        target: &str,
        csrf: &CsrfToken,
        fault: Option<&Fault>,
    ) -> Response {
        let tongue = wish.tongue;
        let (phrases, desk) = (tongue.phrases(), tongue.desk());
        let content = html! {
            header class="top" {
                h1 { (phrases.title) }
                (entry::leave(tongue, csrf.reveal()))
            }
            main class="entry" {
                h2 { (desk.kept.heading) }
                @if let Some(fault) = fault {
                    div class="problem" role="alert" {
                        p { (desk.kept.other) }
                        p { code { (fault.reason) } }
                    }
                } @else {
                    p class="done" role="status" { (desk.kept.entered) }
                }
                (self.list(tongue))
                form class="act" method="post" action=(target) {
                    input type="hidden" name=(CSRF_FIELD) value=(csrf.reveal());
                    (self.inputs(Carrier::Form))
                    p class="buttons" {
                        button type="submit" { (desk.kept.send) }
                        a href=(target) { (desk.kept.leave) }
                    }
                }
            }
        };
        let page = page::document(tongue, desk.kept.heading, &content);
        let code = fault.map_or(StatusCode::OK, |fault| status::http(fault.kind));
        let mut answer = dashboard::answer(code, &page);
        if let Some(fault) = fault {
            answer.extensions_mut().insert(Reason(fault.reason));
        }
        answer
    }

    /// What it says, for its writer.
    fn list(&self, tongue: Tongue) -> Markup {
        let desk = tongue.desk();
        let told = self.fields().iter();
        let told = told.filter(|(name, value)| {
            !value.is_empty() && !UNTOLD.contains(&name.as_str()) && !desk.label(name).is_empty()
        });
        let told: Vec<_> = told.collect();
        html! {
            @if !told.is_empty() {
                details class="kept" open {
                    summary { (desk.kept.summary) }
                    dl {
                        @for (name, value) in told {
                            dt { (desk.label(name)) }
                            dd dir="auto" { (if name == "act" { act(tongue, value) } else { value }) }
                        }
                    }
                }
            }
        }
    }
}

/// What a form of a draft or a webhook asks for, as its button says it.
fn act(tongue: Tongue, name: &str) -> &str {
    let found = embargo::said(tongue, name).or_else(|| webhook::said(tongue, name));
    found.unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What goes through the form that asks for a key is what was written, without what must not.
    #[test]
    fn what_is_carried_comes_back() {
        let fields = [
            ("csrf", "old"),
            ("headline", "One & \"two\""),
            ("topics", "ict"),
            ("topics", "economy"),
            ("confirm", "yes"),
        ];
        let kept = Kept::some(fields.into_iter());
        let carried = kept.inputs(Carrier::Entry).0;
        assert!(carried.contains("name=\"kept:headline\""), "{carried}");
        let names = kept
            .fields()
            .iter()
            .map(|(name, value)| (format!("{PREFIX}{name}"), value));
        let names: Vec<_> = names.collect();
        let names = names
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let back = names.filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?, value)));
        let back = Kept::some(back);
        assert_eq!(back.fields(), kept.fields());
        assert_eq!(kept.fields().len(), 3);
        assert!(matches!(
            Kept::some([("csrf", "x")].into_iter()),
            Kept::Nothing
        ));
    }
}
