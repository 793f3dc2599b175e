//! Settings of tokens (JWT) of another authority.

use url::{Host, Url};

use crate::{
    access::token::{Algorithm, Rules},
    config::{Picker, Settings, problem::Problem},
};

/// How tokens are signed unless the settings say otherwise: what RFC 9068 has every authority do.
const ALGORITHMS: &str = "RS256";

/// Whose tokens are taken, and where the authority's keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwt {
    /// A file, or an address.
    pub jwks: String,
    /// Whose, for whom, and how they are signed.
    pub rules: Rules,
}

impl Picker {
    /// None without keys; what is missing beside them is a problem, told of by what is shown.
    pub(super) fn jwt(&mut self) -> Option<Jwt> {
        let text = String::clone;
        let jwks = self.optional("jwt_jwks", |layer| layer.jwt_jwks.clone(), text);
        let issuer = self.optional("jwt_issuer", |layer| layer.jwt_issuer.clone(), text);
        let audience = self.optional("jwt_audience", |layer| layer.jwt_audience.clone(), text);
        let algorithms = self.or(
            "jwt_algorithms",
            |layer| layer.jwt_algorithms.clone(),
            text,
            ALGORITHMS.to_owned(),
        );
        let algorithms: Result<Vec<Algorithm>, _> = names(&algorithms).map(str::parse).collect();
        Some(Jwt {
            jwks: jwks?,
            rules: Rules {
                issuer: issuer?,
                audience: audience?,
                algorithms: algorithms.ok()?,
            },
        })
    }
}

impl Settings {
    /// Each rule for one setting.
    pub(super) fn check_algorithms(&self, problems: &mut Vec<Problem>) {
        let given = self.value("jwt_algorithms");
        let bad = names(given).find_map(|name| name.parse::<Algorithm>().err());
        if let Some(error) = bad {
            problems.push(self.rule("jwt_algorithms", error.to_string()));
        }
        if names(given).next().is_none() {
            let message = "names none; give some, such as RS256,ES256".to_owned();
            problems.push(self.rule("jwt_algorithms", message));
        }
    }

    /// Keys go with an issuer and an audience, and come over a way that nobody else can change.
    pub(super) fn check_jwt(&self, problems: &mut Vec<Problem>) {
        let jwks = self.value("jwt_jwks");
        for key in ["jwt_issuer", "jwt_audience"] {
            if jwks.is_empty() && !self.value(key).is_empty() {
                let message = "needs the authority's keys; name them with --jwt-jwks".to_owned();
                problems.push(self.rule(key, message));
            }
            if !jwks.is_empty() && self.value(key).is_empty() {
                let flag = key.replace('_', "-");
                let message = format!("needs --{flag}: tokens for others must not be taken here");
                problems.push(self.rule("jwt_jwks", message));
            }
        }
        if let Some(url) = address(jwks)
            && !is_safe(&url)
        {
            let message = "whoever is on the way could give keys of their own; use https://, or a \
                           file";
            problems.push(self.rule("jwt_jwks", message.to_owned()));
        }
    }

    fn value(&self, key: &str) -> &str {
        let shown = self.shown.iter().find(|shown| shown.key == key);
        shown.map_or("", |shown| &shown.value)
    }
}

/// The address that a text is; none for a file.
pub fn address(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    matches!(url.scheme(), "http" | "https").then_some(url)
}

fn is_safe(url: &Url) -> bool {
    let is_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || is_here
}

fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
}
