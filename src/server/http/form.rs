//! Form: what a page without script posts.

use std::sync::Arc;

use axum::body::Body;
use http::{HeaderMap, header::CONTENT_TYPE};
use tokio::{sync::Semaphore, time::Instant};
use url::form_urlencoded;

use crate::server::http::{answer::Refusal, body};

/// The fields of a form, in their order. Never in `Debug`: one may be a key.
#[derive(Clone)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// Takes a form's fields in, of at most so many bytes.
    ///
    /// # Errors
    /// Those of [`body::take`].
    pub async fn take(
        room: &Arc<Semaphore>,
        headers: &HeaderMap,
        body: Body,
        bounds: (usize, Instant),
    ) -> Result<Self, Refusal> {
        let text = body::take(room, headers, body, bounds).await?;
        let fields = form_urlencoded::parse(text.as_bytes());
        Ok(Self(fields.into_owned().collect()))
    }

    /// All fields.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        let fields = self.0.iter();
        fields.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// All fields of a name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let found = self.0.iter().filter(move |(field, _)| field == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The first field of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(field, _)| field == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

/// Whether a request's body is a form's.
pub fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let essence = kind
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    essence
        .trim()
        .eq_ignore_ascii_case("application/x-www-form-urlencoded")
}
