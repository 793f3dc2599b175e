//! Conditional requests (RFC 9110, section 13): entity tags, and answers that say that nothing has
//! changed.

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH},
};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// Kept, but asked about each time: what is withdrawn must vanish from caches, too;
/// and by whoever asked alone, for others may not read it.
pub const REVALIDATE: HeaderValue = HeaderValue::from_static("private, no-cache");

/// A strong entity tag: two answers with the same tag have the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag(String);

impl Tag {
    /// The tag of these characters: letters, digits and hyphens.
    pub fn new(opaque: &str) -> Self {
        Self(format!("\"{opaque}\""))
    }

    /// The tag of these bytes: the first half of their digest.
    pub fn of(bytes: &[u8]) -> Self {
        let half = Sha256::digest(bytes);
        let half = half.iter().take(16).map(|byte| format!("{byte:02x}"));
        Self::new(&half.collect::<String>())
    }

    /// Whether the caller has it already: `If-None-Match` by weak comparison.
    pub fn is_held(&self, headers: &HeaderMap) -> bool {
        let mut given = tags(headers, IF_NONE_MATCH.as_str());
        given.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == self.0)
    }

    /// As text.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// As a header's value.
    pub fn value(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("letters, digits, hyphens and quotes")
    }
}

/// The tags of a header; ours hold no comma.
pub fn tags<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|tag| !tag.is_empty())
}

/// The answer to who has it already.
pub fn not_modified(tag: &Tag) -> Response {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::NOT_MODIFIED;
    answer.headers_mut().insert(ETAG, tag.value());
    answer.headers_mut().insert(CACHE_CONTROL, REVALIDATE);
    answer
}

/// An answer with its tag.
pub fn tagged(tag: &Tag, kind: &'static str, body: impl Into<Bytes>) -> Response {
    let mut answer = Response::new(Body::from(body.into()));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(ETAG, tag.value());
    headers.insert(CACHE_CONTROL, REVALIDATE);
    answer
}

/// JSON whose tag is its digest, or that it has not changed.
pub fn json(headers: &HeaderMap, value: &impl Serialize) -> Response {
    let body = serde_json::to_vec(value).expect("plain data");
    let tag = Tag::of(&body);
    if tag.is_held(headers) {
        return not_modified(&tag);
    }
    tagged(&tag, "application/json", body)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `If-None-Match` is a list, weak or strong, or a star.
    #[test]
    fn tags_are_compared_weakly() {
        let holds = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, value.parse().unwrap());
            Tag::new("3-abcdefgh-7").is_held(&headers)
        };
        for held in [
            "\"3-abcdefgh-7\"",
            "W/\"3-abcdefgh-7\"",
            "*",
            "\"x\" , \"3-abcdefgh-7\"",
        ] {
            assert!(holds(held), "{held}");
        }
        for other in ["\"x\"", "3-abcdefgh-7", "", "w/\"3-abcdefgh-7\""] {
            assert!(!holds(other), "{other}");
        }
    }
}
