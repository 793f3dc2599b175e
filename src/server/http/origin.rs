//! Origin: whether a request that a browser sends by itself comes from a page of ours.

use http::{HeaderMap, HeaderValue, Uri, header::HOST, header::ORIGIN};
use url::form_urlencoded;

use crate::{
    access::key::Secret,
    fault::{Fault, Kind},
};

/// Names of parameters in which people hand over keys elsewhere.
const KEY_NAMES: [&str; 7] = [
    "key",
    "api_key",
    "apikey",
    "token",
    "access_token",
    "authorization",
    "bearer",
];

/// Whose page makes a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// One of ours, or the reader without any page.
    Ours,
    /// Another's.
    Foreign,
    /// Nothing says: it is no browser, and has no session of a browser's.
    Unsaid,
}

/// Whose page makes a request, as its browser says; `public` is the origin at which a proxy before
/// us is reached, which may not be the host that it asks us by.
pub fn site(headers: &HeaderMap, public: Option<&str>) -> Site {
    if let Some(site) = headers.get("sec-fetch-site") {
        return if site == "same-origin" || site == "none" {
            Site::Ours
        } else {
            Site::Foreign
        };
    }
    let Some(origin) = headers.get(ORIGIN).map(HeaderValue::as_bytes) else {
        return Site::Unsaid;
    };
    // Exactly it: neither its other ports, nor plain HTTP where it is https, nor names beneath it.
    if public.is_some_and(|public| public.as_bytes() == origin) {
        return Site::Ours;
    }
    // The scheme is not compared: TLS may end before us.
    let origin = Uri::try_from(origin).ok();
    let host = origin.as_ref().and_then(Uri::authority);
    let ours = headers.get(HOST).and_then(|host| host.to_str().ok());
    let is_same =
        |(host, ours): (&http::uri::Authority, &str)| host.as_str().eq_ignore_ascii_case(ours);
    if host.zip(ours).is_some_and(is_same) {
        Site::Ours
    } else {
        Site::Foreign
    }
}

/// A write that another site's page asks for, of a browser that shows by itself who it is.
pub fn foreign() -> Fault {
    let message = "a page of another site asks for this; in a session, or by a client certificate, \
                   only our own pages may";
    Fault::new(Kind::Forbidden, "ORIGIN_FOREIGN", message)
}

/// A write in a session that does not prove that it comes from the session's own page.
pub fn no_csrf_token() -> Fault {
    let message = "in a session a write takes the header X-CSRF-Token; GET /v1/session says what \
                   is in it";
    Fault::new(Kind::Forbidden, "CSRF_TOKEN_INVALID", message)
}

/// That no key is in an address.
///
/// # Errors
/// Invalid `KEY_IN_QUERY`.
pub fn check_query(query: Option<&str>) -> Result<(), Fault> {
    let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let is_key = |name: &str, value: &str| {
        KEY_NAMES
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
            || value.parse::<Secret>().is_ok()
    };
    let Some((name, _)) = pairs.find(|(name, value)| is_key(name, value)) else {
        return Ok(());
    };
    let message = "keys are not taken from addresses, which stay in logs and histories: rotate this \
                   one, and send it as `authorization: Bearer <key>`; browsers begin a session \
                   (POST /v1/session)";
    let shown: String = name.chars().take(64).collect();
    Err(Fault::field("KEY_IN_QUERY", &shown, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::key::KeyId;

    #[test]
    fn a_foreign_page_is_told() {
        for (fields, expected) in [
            (&[][..], Site::Unsaid),
            (&[("sec-fetch-site", "same-origin")], Site::Ours),
            (&[("sec-fetch-site", "none")], Site::Ours),
            (&[("sec-fetch-site", "same-site")], Site::Foreign),
            (&[("sec-fetch-site", "cross-site")], Site::Foreign),
            (&[("origin", "null")], Site::Foreign),
            (&[("origin", "http://wire.example:8080")], Site::Ours),
            (&[("origin", "https://WIRE.example:8080")], Site::Ours),
            (&[("origin", "http://wire.example")], Site::Foreign),
            (&[("origin", "http://evil.example")], Site::Foreign),
            (
                &[("origin", "wire.example:8080.evil.example")],
                Site::Foreign,
            ),
            (&[("origin", "http://a@b c")], Site::Foreign),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, "wire.example:8080".parse().unwrap());
            for (name, value) in fields {
                headers.insert(*name, value.parse().unwrap());
            }
            assert_eq!(site(&headers, None), expected, "{fields:?}");
        }
        let mut headless = HeaderMap::new();
        headless.insert(ORIGIN, "http://wire.example".parse().unwrap());
        assert_eq!(site(&headless, None), Site::Foreign);
    }

    /// A proxy that asks us by another name is known by its public address, and by nothing near it.
    #[test]
    fn a_proxy_before_us_is_known() {
        let public = Some("https://wire.example");
        for (origin, expected) in [
            ("https://wire.example", Site::Ours),
            ("http://wire.example", Site::Foreign),
            ("https://wire.example:8443", Site::Foreign),
            ("https://desk.wire.example", Site::Foreign),
            ("https://wire.example.evil.example", Site::Foreign),
            ("https://wire.example@evil.example", Site::Foreign),
            ("null", Site::Foreign),
            ("https://127.0.0.1:8080", Site::Ours),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, "127.0.0.1:8080".parse().unwrap());
            headers.insert(ORIGIN, origin.parse().unwrap());
            assert_eq!(site(&headers, public), expected, "{origin}");
            headers.insert("sec-fetch-site", "cross-site".parse().unwrap());
            assert_eq!(site(&headers, public), Site::Foreign, "{origin}");
        }
    }

    #[test]
    fn a_key_in_an_address_is_refused() {
        let key = Secret::new(KeyId::from_bits(3), [1; 20]);
        let key = key.reveal();
        for query in [
            "access_token=x".to_owned(),
            "topics=ict&Key=".to_owned(),
            format!("q={key}"),
            format!("q={}", key.replace('_', "%5F")),
        ] {
            let fault = check_query(Some(&query)).unwrap_err();
            assert_eq!(fault.reason, "KEY_IN_QUERY");
            assert!(!format!("{fault:?}").contains(key));
        }
        for query in [
            None,
            Some(""),
            Some("q=key&from=token"),
            Some("q=barid_x_y"),
        ] {
            check_query(query).unwrap();
        }
    }
}
