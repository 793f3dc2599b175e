//! Cookie: where a browser keeps its session (RFC 6265bis), out of reach of scripts and of other
//! sites.

use http::{
    HeaderMap, HeaderValue,
    header::{COOKIE, ORIGIN, SET_COOKIE},
};

use crate::{
    access::session::{SESSION_SECONDS, Token},
    server::http::Connection,
};

/// Its name where it is sent over TLS alone: no other host, and nothing plain, can set it.
const NAME_TLS: &str = "__Host-barid-session";
/// Its name elsewhere.
const NAME_PLAIN: &str = "barid-session";
/// What all are set with.
const TERMS: &str = "Path=/; HttpOnly; SameSite=Strict";

/// The session that a request shows, as it is written.
pub fn session(headers: &HeaderMap, connection: Option<&Connection>) -> Option<String> {
    let fields = headers.get_all(COOKIE).iter();
    let fields = fields.filter_map(|value| value.to_str().ok());
    let pairs: Vec<(&str, &str)> = fields
        .flat_map(|field| field.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .collect();
    let named = |wanted| pairs.iter().find(|(name, _)| *name == wanted);
    // Behind a proxy the connection is plain, and what the browser keeps is not.
    let is_plain = connection.is_none_or(|connection| connection.scheme == "http");
    let found = named(NAME_TLS).or_else(|| named(NAME_PLAIN).filter(|_| is_plain));
    found.map(|(_, value)| (*value).to_owned())
}

/// Has the browser keep a session that has just begun.
pub fn set(
    answer: &mut HeaderMap,
    token: &Token,
    headers: &HeaderMap,
    connection: Option<&Connection>,
) {
    // A browser names the origin of what it posts; https there is https at the proxy before us.
    let origin = headers.get(ORIGIN).map(HeaderValue::as_bytes);
    let is_tls = connection.is_some_and(|connection| connection.scheme == "https")
        || origin.is_some_and(|origin| origin.starts_with(b"https://"));
    let (name, secure) = if is_tls {
        (NAME_TLS, "; Secure")
    } else {
        (NAME_PLAIN, "")
    };
    let token = token.reveal();
    let text = format!("{name}={token}; Max-Age={SESSION_SECONDS}; {TERMS}{secure}");
    let mut value = HeaderValue::from_str(&text).expect("a token is letters, digits, '.-_'");
    value.set_sensitive(true);
    answer.append(SET_COOKIE, value);
}

/// Has the browser forget its session.
pub fn clear(answer: &mut HeaderMap) {
    for (name, secure) in [(NAME_TLS, "; Secure"), (NAME_PLAIN, "")] {
        let text = format!("{name}=; Max-Age=0; {TERMS}{secure}");
        let value = HeaderValue::from_str(&text).expect("plain ASCII");
        answer.append(SET_COOKIE, value);
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;

    fn found(fields: &[&str], scheme: &'static str) -> Option<String> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(COOKIE, field.parse().unwrap());
        }
        let connection = Connection {
            end: CancellationToken::new(),
            from: None,
            scheme,
        };
        session(&headers, Some(&connection))
    }

    /// Over TLS only the cookie counts that nothing plain can have set.
    #[test]
    fn a_cookie_is_found_among_others() {
        let found_plain = |fields: &[&str]| found(fields, "http");
        assert_eq!(found_plain(&[]), None);
        assert_eq!(found_plain(&["a=1; b", "=; ;"]), None);
        assert_eq!(found_plain(&["a=1; barid-session=x.y"]).unwrap(), "x.y");
        assert_eq!(found_plain(&["a=1", "barid-session=x"]).unwrap(), "x");
        let both = &["barid-session=plain; __Host-barid-session=tls"];
        assert_eq!(found_plain(both).unwrap(), "tls");
        assert_eq!(found(both, "https").unwrap(), "tls");
        assert_eq!(found(&["barid-session=plain"], "https"), None);
    }
}
