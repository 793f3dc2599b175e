use ::ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use data_encoding::BASE64URL_NOPAD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const NOW: i64 = 1_800_000_000;
/// Modulus of a key of openssl's, of 2048 bits.
const MODULUS: &str = concat!(
    "yPXbY7s-vgTa08dFGS4P77adtRIAlN4jAb_w6jorXKMAywSCdWFZzb56kOsfsjG5fQiKw7yTDr9beRDdOqM3npdX03xN",
    "75z1gbLRxAkG8WQ0qWEfIJCaCja3lrNQvHr8Orsp2exniBTiOw1w30OqLqaSHhsiewKp2QyueAINs1qdryHLB9hZG78R",
    "h7P4LPYe14FB4nZqvjBK87AdL7i00LBRkBGhyi1-vL97lF2BIFLQbRhxyvO8XcLNLRTYEGZotLKm8S1UMUmZ4Y5DrdME",
    "h8u6XfEYZU_CaXwF9Ir5zyrZVUL_u15lbqJ1gBxmOld5E4z9F25K4L-4E7AzyyYH7w",
);
/// A token that openssl has signed by it.
const RS256: &str = concat!(
    "eyJhbGciOiJSUzI1NiIsInR5cCI6ImF0K2p3dCIsImtpZCI6InJzYSJ9.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGU",
    "vIiwiYXVkIjoiYmFyaWQiLCJzdWIiOiJjbXNAZ2F6ZXR0ZSIsImV4cCI6NDEwMjQ0NDgwMCwiaWF0IjoxNzAwMDAwMDA",
    "wLCJjbGllbnRfaWQiOiJjbXMiLCJqdGkiOiIxIiwiYmFyaWRfcGFydG5lciI6ImdhemV0dGUiLCJiYXJpZF9yb2xlIjo",
    "icHVibGlzaGVyIn0.HiFDiOeKKz478afhB2uvrkvBUrd6AfCw343sfnTHhWDyZzQ0YKckuhw6kas86Nq8XvPGVXGlT8k",
    "w0utymqlFTSnq9ulxDHa3NevVnHQdSt0f8PWyb5UqekXxziFOBVFzBRkYKywZqe2Lh5Oc0UC0t7ieEl9BN7dNE7J7g2a",
    "XQELeYyO5Vot6O8TLBgD0kGY_KMiskcgYN3n1x4zAnYMfs5uUHxg0oLdhnu_WzrAu5LovWNO1U8cn0lj7YSGdspWBLsS",
    "ZLRCV8fhn5I8GiZiJPiriLrPlvBNuCiglWlYPknE31_pJfJ8D6vKAx946AF4NdUGwZbEO2zdii2opxdv1Ow",
);
/// The same, signed otherwise.
const PS256: &str = concat!(
    "eyJhbGciOiJQUzI1NiIsInR5cCI6ImF0K2p3dCIsImtpZCI6InJzYSJ9.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGU",
    "vIiwiYXVkIjoiYmFyaWQiLCJzdWIiOiJjbXNAZ2F6ZXR0ZSIsImV4cCI6NDEwMjQ0NDgwMCwiaWF0IjoxNzAwMDAwMDA",
    "wLCJjbGllbnRfaWQiOiJjbXMiLCJqdGkiOiIxIiwiYmFyaWRfcGFydG5lciI6ImdhemV0dGUiLCJiYXJpZF9yb2xlIjo",
    "icHVibGlzaGVyIn0.SsbORVbPZzN1eq4n8XdmQ1eOANYGR6YmQ9S6SGr8WEVYk4JG3dU4FsT7TsOcHXPcSMFaCNbWV9q",
    "8R9VD53ZqYcgpjSntzU9THNXPOJCTL5SnGDxk0YLbso5Bs5vkwlw4adG79EeHibi0ALVWc5Q1_teo4ggLQXYxjQyIxD9",
    "oaipClfb7yT60zKKJJtra0g5rezeWlYxPh1PZMClJTb3ehMxRKhTAospamfTkFHb-gXgFQeCo-N7enWxxaLGUb_WR98Y",
    "PyUh0-wN1y1xgS1FDa0qiAp0RtgU8-d9whDMAQeCNvycD2-KJJUNbppvtMoz9nGmy34A_1BQxdXUFZLfP5A",
);

/// An authority with a key of each kind that can be made here.
struct Authority {
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

impl Authority {
    fn new() -> Self {
        let random = SystemRandom::new();
        let signing = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let ec = EcdsaKeyPair::generate_pkcs8(signing, &random).unwrap();
        let ed = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        Self {
            ec: EcdsaKeyPair::from_pkcs8(signing, ec.as_ref(), &random).unwrap(),
            ed: Ed25519KeyPair::from_pkcs8(ed.as_ref()).unwrap(),
        }
    }

    fn jwks(&self) -> Value {
        let point = self.ec.public_key().as_ref();
        let ed = self.ed.public_key().as_ref();
        json!({"keys": [
            {"kty": "EC", "crv": "P-256", "kid": "ec", "x": encode(&point[1..33]), "y": encode(&point[33..])},
            {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "alg": "EdDSA", "x": encode(ed)},
            {"kty": "RSA", "kid": "rsa", "use": "sig", "n": MODULUS, "e": "AQAB"},
            // What is passed over.
            {"kty": "oct", "kid": "shared", "k": encode(b"secret")},
            {"kty": "RSA", "kid": "sealing", "use": "enc", "n": MODULUS, "e": "AQAB"},
            {"kty": "PQ", "kid": "of tomorrow"},
            7,
        ]})
    }

    fn keys(&self) -> KeySet {
        KeySet::parse(self.jwks().to_string().as_bytes()).unwrap()
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let text = format!(
            "{}.{}",
            encode(header.to_string().as_bytes()),
            encode(claims.to_string().as_bytes())
        );
        let signature = match header["kid"].as_str() {
            Some("ed") => self.ed.sign(text.as_bytes()).as_ref().to_vec(),
            _ => {
                let random = SystemRandom::new();
                let signature = self.ec.sign(&random, text.as_bytes()).unwrap();
                signature.as_ref().to_vec()
            }
        };
        format!("{text}.{}", encode(&signature))
    }
}

fn encode(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

fn rules(algorithms: &[&str]) -> Rules {
    Rules {
        issuer: "https://id.example/".to_owned(),
        audience: "barid".to_owned(),
        algorithms: algorithms
            .iter()
            .map(|name| name.parse().unwrap())
            .collect(),
    }
}

fn header() -> Value {
    json!({"alg": "ES256", "typ": "at+jwt", "kid": "ec"})
}

fn claims() -> Value {
    json!({
        "iss": "https://id.example/", "aud": ["other", "barid"], "sub": "cms@gazette",
        "iat": NOW - 10, "exp": NOW + 600, "barid_partner": "gazette", "barid_role": "publisher",
    })
}

/// Every kind of key is taken that the settings name, and says who it is.
#[test]
fn good_tokens() {
    let authority = Authority::new();
    let keys = authority.keys();
    assert_eq!(keys.count(), 3);
    let all = rules(&["RS256", "PS256", "ES256", "EdDSA"]);
    let expected = Claims {
        partner: "gazette".parse().unwrap(),
        role: Role::Publisher,
        subject: "cms@gazette".to_owned(),
        expires: NOW + 600,
    };
    let ed = json!({"alg": "EdDSA", "typ": "application/AT+jwt", "kid": "ed"});
    for header in [header(), ed, json!({"alg": "ES256", "typ": "at+jwt"})] {
        let token = authority.sign(&header, &claims());
        assert_eq!(all.check(&token, &keys, NOW).unwrap(), expected, "{header}");
    }
    for token in [RS256, PS256] {
        let claims = all.check(token, &keys, NOW).unwrap();
        assert_eq!(claims.expires, 4_102_444_800);
        // One subject, whatever its tokens.
        assert_eq!(claims.id(&all.issuer), expected.id(&all.issuer));
    }
    let other = Claims {
        role: Role::Subscriber,
        ..expected.clone()
    };
    assert_ne!(other.id(&all.issuer), expected.id(&all.issuer));
    assert_ne!(
        expected.id("https://other.example/"),
        expected.id(&all.issuer)
    );
}

#[test]
fn bad_claims() {
    let authority = Authority::new();
    let (keys, rules) = (authority.keys(), rules(&["ES256"]));
    for (name, value, expected) in [
        ("iss", json!("https://evil.example/"), TokenError::Issuer),
        ("iss", json!(["https://id.example/"]), TokenError::Form),
        ("iss", Value::Null, TokenError::Form),
        ("aud", json!("other"), TokenError::Audience),
        ("aud", Value::Null, TokenError::Claim("aud")),
        ("exp", json!(NOW), TokenError::Expired),
        ("exp", json!(-1), TokenError::Claim("exp")),
        ("exp", Value::Null, TokenError::Form),
        ("exp", json!("tomorrow"), TokenError::Form),
        ("iat", json!(NOW + 61), TokenError::Early),
        ("iat", Value::Null, TokenError::Claim("iat")),
        ("nbf", json!(NOW + 61), TokenError::Early),
        ("sub", json!(""), TokenError::Claim("sub")),
        ("sub", json!("s".repeat(257)), TokenError::Claim("sub")),
        (
            "barid_partner",
            Value::Null,
            TokenError::Claim("barid_partner"),
        ),
        (
            "barid_partner",
            json!("Not A Name"),
            TokenError::Claim("barid_partner"),
        ),
        (
            "barid_role",
            json!("native"),
            TokenError::Claim("barid_role"),
        ),
        ("barid_role", json!("Desk"), TokenError::Claim("barid_role")),
        ("barid_role", json!(["desk"]), TokenError::Form),
    ] {
        let mut claims = claims();
        claims[name] = value.clone();
        let token = authority.sign(&header(), &claims);
        let found = rules.check(&token, &keys, NOW);
        assert_eq!(found.unwrap_err(), expected, "{name}: {value}");
    }
    for (name, value) in [("iat", NOW + 60), ("nbf", NOW + 60), ("exp", NOW + 1)] {
        let mut claims = claims();
        claims[name] = json!(value);
        let token = authority.sign(&header(), &claims);
        rules.check(&token, &keys, NOW).unwrap();
    }
}

/// What a header says leads to no other key, and to no weaker algorithm.
#[test]
fn bad_headers() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (keys, rules) = (authority.keys(), rules(&["ES256", "EdDSA"]));
    let own = json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"});
    for (name, value, expected) in [
        ("typ", json!("JWT"), TokenError::Type),
        ("typ", Value::Null, TokenError::Type),
        ("alg", json!("none"), TokenError::Form),
        ("alg", json!("HS256"), TokenError::Algorithm),
        ("alg", json!("RS256"), TokenError::Algorithm),
        ("alg", json!("EdDSA"), TokenError::KeyUnknown),
        ("kid", json!("of another"), TokenError::KeyUnknown),
        ("kid", json!("sealing"), TokenError::KeyUnknown),
        ("kid", json!("shared"), TokenError::KeyUnknown),
        ("kid", json!("rsa"), TokenError::KeyUnknown),
        ("crit", json!(["exp"]), TokenError::Form),
        ("b64", json!(false), TokenError::Form),
    ] {
        let mut header = header();
        header[name] = value.clone();
        let token = authority.sign(&header, &claims());
        let found = rules.check(&token, &keys, NOW);
        assert_eq!(found.unwrap_err(), expected, "{name}: {value}");
    }
    let mut header = header();
    (header["jwk"], header["jku"]) = (own, json!("https://evil.example/jwks"));
    let token = stranger.sign(&header, &claims());
    let found = rules.check(&token, &keys, NOW);
    assert_eq!(found.unwrap_err(), TokenError::Signature);
}

/// HMAC with a public key, the oldest trick: not even settings can ask for it.
#[test]
fn no_shared_secrets() {
    for name in ["none", "HS256", "hs256", "", "ES512", "RS1"] {
        assert!(name.parse::<Algorithm>().is_err(), "{name}");
    }
    let forged = Rules {
        algorithms: vec![Algorithm(jsonwebtoken::Algorithm::HS256)],
        ..rules(&[])
    };
    let keys = Authority::new().keys();
    let text = [
        encode(br#"{"alg":"HS256","typ":"at+jwt","kid":"ec"}"#),
        encode(claims().to_string().as_bytes()),
    ]
    .join(".");
    let key = ::ring::hmac::Key::new(::ring::hmac::HMAC_SHA256, MODULUS.as_bytes());
    let tag = ::ring::hmac::sign(&key, text.as_bytes());
    let token = format!("{text}.{}", encode(tag.as_ref()));
    assert_eq!(
        forged.check(&token, &keys, NOW),
        Err(TokenError::KeyUnknown)
    );
}

#[test]
fn bad_sets() {
    for (text, expected) in [
        ("", "is no JSON Web Key Set"),
        ("[]", "is no JSON Web Key Set"),
        (r#"{"keys": []}"#, "has no public key"),
        (
            r#"{"keys": [{"kty": "oct", "k": "AAAA"}]}"#,
            "has no public key",
        ),
    ] {
        let error = KeySet::parse(text.as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{text}: {error}");
    }
    let many = json!({"keys": vec![7; 65]}).to_string();
    let error = KeySet::parse(many.as_bytes()).unwrap_err();
    assert!(matches!(error, KeySetError::TooMany));
}

proptest! {
    /// Whatever is changed of a token, it is none.
    #[test]
    fn a_changed_token_is_none(place in 0..RS256.len(), byte in 33_u8..127) {
        let keys = KeySet::parse(json!({"keys": [{"kty": "RSA", "kid": "rsa", "n": MODULUS, "e": "AQAB"}]}).to_string().as_bytes()).unwrap();
        let rules = rules(&["RS256"]);
        let mut bytes = RS256.as_bytes().to_vec();
        let is_same = bytes[place] == byte;
        bytes[place] = byte;
        let text = String::from_utf8(bytes).unwrap();
        prop_assert_eq!(rules.check(&text, &keys, NOW).is_ok(), is_same);
    }

    #[test]
    fn any_text_is_judged(text in "\\PC{0,80}|([A-Za-z0-9_-]{0,40}\\.){0,4}", set in "\\PC{0,80}") {
        let keys = KeySet::default();
        let found = rules(&["RS256"]).check(&text, &keys, NOW);
        prop_assert!(found.is_err());
        prop_assert!(KeySet::parse(set.as_bytes()).is_err());
    }
}
