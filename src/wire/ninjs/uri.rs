//! Uri: an identifier as ninjs takes it, a URI of RFC 3986.

use iri_string::types::UriStr;
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

/// What no URI has (RFC 3986, section 2).
const FOREIGN: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');
/// The same, and what only a host may have.
const BRACKETS: &AsciiSet = &FOREIGN.add(b'[').add(b']');
/// All but what may stand anywhere in one.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// An absolute identifier that [`crate::article`] took, as a URI: it takes IRIs, and whatever else
/// browsers take. One that is a URI stays as it is, and so does an empty one.
pub fn as_uri(text: String) -> String {
    if text.is_empty() || is_uri(&text) {
        return text;
    }
    // Hosts as DNS knows them, and what browsers make of the rest.
    let url = Url::parse(&text).map_or(text, String::from);
    // Brackets are for hosts alone.
    let start = url.find("://").map_or(0, |at| at + 3);
    let rest = url.get(start..).unwrap_or_default();
    let end = start + rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, rest) = url.split_at(if start == 0 { 0 } else { end });
    let encoded = format!("{}{}", encode(host, FOREIGN), encode(rest, BRACKETS));
    if is_uri(&encoded) {
        return encoded;
    }
    // A sign where it may not be: then all of them go.
    let (scheme, rest) = url.split_once(':').unwrap_or(("urn", &url));
    format!("{scheme}:{}", encode(rest, RESERVED))
}

/// A text with the signs of a set, and percent signs that begin no code, as codes.
fn encode(text: &str, signs: &'static AsciiSet) -> String {
    let mut encoded = String::with_capacity(text.len());
    let mut parts = text.split('%');
    encoded.extend(utf8_percent_encode(parts.next().unwrap_or_default(), signs));
    for part in parts {
        let is_hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
        let is_code = is_hex(part.as_bytes().first()) && is_hex(part.as_bytes().get(1));
        encoded.push_str(if is_code { "%" } else { "%25" });
        encoded.extend(utf8_percent_encode(part, signs));
    }
    encoded
}

fn is_uri(text: &str) -> bool {
    UriStr::new(text).is_ok()
}
