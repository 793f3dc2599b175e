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

/// Whether a browser says that the page of another origin makes a request. Whoever is no browser
/// says neither, and has no session of a browser's.
pub fn is_foreign(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site != "same-origin" && site != "none";
    }
    let Some(origin) = headers.get(ORIGIN).map(HeaderValue::as_bytes) else {
        return false;
    };
    // The scheme is not compared: TLS may end before us.
    let origin = Uri::try_from(origin).ok();
    let host = origin.as_ref().and_then(Uri::authority);
    let ours = headers.get(HOST).and_then(|host| host.to_str().ok());
    let is_same =
        |(host, ours): (&http::uri::Authority, &str)| host.as_str().eq_ignore_ascii_case(ours);
    !host.zip(ours).is_some_and(is_same)
}

/// A write in a session that another site's page asks for.
pub fn foreign() -> Fault {
    let message = "a page of another site asks for this; in a session only our own pages may";
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
            (&[][..], false),
            (&[("sec-fetch-site", "same-origin")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("sec-fetch-site", "same-site")], true),
            (&[("sec-fetch-site", "cross-site")], true),
            (&[("origin", "null")], true),
            (&[("origin", "http://wire.example:8080")], false),
            (&[("origin", "https://WIRE.example:8080")], false),
            (&[("origin", "http://wire.example")], true),
            (&[("origin", "http://evil.example")], true),
            (&[("origin", "wire.example:8080.evil.example")], true),
            (&[("origin", "http://a@b c")], true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, "wire.example:8080".parse().unwrap());
            for (name, value) in fields {
                headers.insert(*name, value.parse().unwrap());
            }
            assert_eq!(is_foreign(&headers), expected, "{fields:?}");
        }
        let mut headless = HeaderMap::new();
        headless.insert(ORIGIN, "http://wire.example".parse().unwrap());
        assert!(is_foreign(&headless));
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
