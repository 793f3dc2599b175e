//! Partners and keys, as protobuf.

use std::collections::BTreeSet;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};

use crate::{
    access::{
        key::{Role, SecretDigest},
        origin::ORIGINS_MAX,
        partner::{Key, Limits, NOTE_CHARS_MAX, Partner, PartnerName, Publishing},
        scope::Scope,
    },
    article::{
        Time,
        check::{Checker, shown},
    },
    fault::Fault,
    filter::{LANGUAGES_MAX, TOPICS_MAX},
    wire::{
        log::{audit::Line, partners::KeptPartner},
        proto::v1 as proto,
    },
};

/// Most characters of a source.
const SOURCE_CHARS_MAX: usize = 256;

/// Reads a partner that is to be made or changed: all but its keys.
///
/// # Errors
/// One [`Fault`] that names every bad field.
pub fn partner(partner: Option<proto::Partner>) -> Result<Partner, Fault> {
    let mut check = Checker::default();
    let given = partner.unwrap_or_default();
    let name = given.name.parse::<PartnerName>();
    if let Err(error) = &name {
        check.refuse("partner.name", format!("{}: {error}", shown(&given.name)));
    }
    let subscribe = given
        .subscribe
        .map(|given| scope(&mut check, "partner.subscribe", &given));
    let publish = given.publish.map(|given| Publishing {
        scope: scope(
            &mut check,
            "partner.publish.scope",
            &given.scope.unwrap_or_default(),
        ),
        source: source(&mut check, given.source),
        is_bound: given.own_articles_only,
    });
    let limits = given.limits.unwrap_or_default();
    let origins = parsed(&mut check, "partner.origins", &given.origins, ORIGINS_MAX);
    check.finish()?;
    Ok(Partner {
        name: name.expect("checked above"),
        is_suspended: given.suspended,
        subscribe,
        publish,
        has_desk: given.desk,
        limits: Limits {
            publishes_per_second: some(limits.publishes_per_second),
            requests_per_second: some(limits.requests_per_second),
            streams: some(limits.streams),
            bytes_per_day: Some(limits.bytes_per_day).filter(|bytes| *bytes > 0),
        },
        origins,
        keys: Vec::new(),
    })
}

/// A partner without what nodes know of its keys.
pub fn partner_to_proto(kept: &KeptPartner) -> proto::Partner {
    let partner = &kept.partner;
    let limits = partner.limits;
    proto::Partner {
        name: partner.name.to_string(),
        suspended: partner.is_suspended,
        subscribe: partner.subscribe.as_ref().map(scope_to_proto),
        publish: partner.publish.as_ref().map(|publish| proto::Publishing {
            scope: Some(scope_to_proto(&publish.scope)),
            source: publish.source.clone().unwrap_or_default(),
            own_articles_only: publish.is_bound,
        }),
        desk: partner.has_desk,
        limits: Some(proto::Limits {
            publishes_per_second: limits.publishes_per_second.unwrap_or(0),
            requests_per_second: limits.requests_per_second.unwrap_or(0),
            streams: limits.streams.unwrap_or(0),
            bytes_per_day: limits.bytes_per_day.unwrap_or(0),
        }),
        keys: partner.keys.iter().map(key_to_proto).collect(),
        revision: kept.revision,
        origins: partner.origins.iter().map(ToString::to_string).collect(),
        streams: 0,
    }
}

/// A key without what nodes know of it.
pub fn key_to_proto(key: &Key) -> proto::Key {
    let time = |seconds| prost_types::Timestamp { seconds, nanos: 0 };
    let former = key.secrets.iter().find_map(|secret| secret.expires);
    proto::Key {
        id: key.id.to_string(),
        role: role_to_proto(key.role).into(),
        note: key.note.clone(),
        created: Some(time(key.created)),
        expires: key.expires.map(time),
        former_secret_expires: former.map(time),
        streams: 0,
        last_used: None,
        nkey: key.nkey.clone().unwrap_or_default(),
        certificates: key
            .certificates()
            .map(|digest| HEXLOWER.encode(digest.as_bytes()))
            .collect(),
    }
}

/// A role as protobuf.
pub fn role_to_proto(role: Role) -> proto::Role {
    match role {
        Role::Publisher => proto::Role::Publisher,
        Role::Subscriber => proto::Role::Subscriber,
        Role::Desk => proto::Role::Desk,
        Role::Monitor => proto::Role::Monitor,
        Role::Native => proto::Role::Native,
    }
}

/// Reads a role.
///
/// # Errors
/// A [`Fault`] for one that is none.
pub fn role(number: i32) -> Result<Role, Fault> {
    match proto::Role::try_from(number) {
        Ok(proto::Role::Publisher) => Ok(Role::Publisher),
        Ok(proto::Role::Subscriber) => Ok(Role::Subscriber),
        Ok(proto::Role::Desk) => Ok(Role::Desk),
        Ok(proto::Role::Monitor) => Ok(Role::Monitor),
        Ok(proto::Role::Native) => Ok(Role::Native),
        Ok(proto::Role::Unspecified) | Err(_) => {
            let message = format!("{number} is no role; give one of Role");
            Err(Fault::field("FIELD_INVALID", "role", message))
        }
    }
}

/// Reads a note for people.
///
/// # Errors
/// A [`Fault`] for one that is too long or has control characters.
pub fn note(text: String) -> Result<String, Fault> {
    if text.chars().count() > NOTE_CHARS_MAX || text.chars().any(char::is_control) {
        let message = format!(
            "{} is longer than {NOTE_CHARS_MAX} characters, or has control characters",
            shown(&text)
        );
        return Err(Fault::field("FIELD_INVALID", "note", message));
    }
    Ok(text)
}

/// Reads the SHA-256 of a client certificate; none for an empty text.
///
/// # Errors
/// A [`Fault`] for one that is none.
pub fn certificate(text: &str) -> Result<Option<SecretDigest>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    // As openssl prints it, too.
    let digits: String = text.chars().filter(|char| *char != ':').collect();
    let bytes = HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok();
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.map(|bytes| Some(SecretDigest::new(bytes))).ok_or_else(|| {
        let message = format!(
            "{} is not the SHA-256 of a certificate; give 64 hexadecimal digits, as `openssl x509 \
             -noout -fingerprint -sha256` prints them",
            shown(text)
        );
        Fault::field("FIELD_INVALID", "certificate", message)
    })
}

/// Reads when something expires, in seconds from 1970.
///
/// # Errors
/// A [`Fault`] for a time that is past, or after the year 9999.
pub fn expires(timestamp: Option<&prost_types::Timestamp>, now: i64) -> Result<Option<i64>, Fault> {
    let Some(seconds) = timestamp.map(|timestamp| timestamp.seconds) else {
        return Ok(None);
    };
    if !(now + 1..=Time::SECONDS_MAX).contains(&seconds) {
        let message = "is not in the future, or after the year 9999";
        return Err(Fault::field("FIELD_INVALID", "expires", message));
    }
    Ok(Some(seconds))
}

/// A line of the audit.
pub fn audit_line(line: Line) -> proto::ListAuditResponse {
    let seconds = line.time_ns.div_euclid(1_000_000_000);
    let nanos = line.time_ns.rem_euclid(1_000_000_000);
    let entry = line.entry;
    proto::ListAuditResponse {
        time: Some(prost_types::Timestamp {
            seconds: i64::try_from(seconds).unwrap_or_default(),
            nanos: i32::try_from(nanos).unwrap_or_default(),
        }),
        key_id: entry.key,
        partner: entry.partner,
        address: entry.from.map(|from| from.to_string()).unwrap_or_default(),
        action: entry.action,
        target: entry.target,
        outcome: entry.outcome,
    }
}

fn some(count: u32) -> Option<u32> {
    Some(count).filter(|count| *count > 0)
}

fn source(check: &mut Checker, text: String) -> Option<String> {
    if text.chars().count() > SOURCE_CHARS_MAX {
        let message = format!("is longer than {SOURCE_CHARS_MAX} characters");
        check.refuse("partner.publish.source", message);
    }
    Some(text).filter(|text| !text.is_empty())
}

fn scope(check: &mut Checker, field: &str, given: &proto::Scope) -> Scope {
    Scope {
        topics: parsed(check, &format!("{field}.topics"), &given.topics, TOPICS_MAX),
        languages: parsed(
            check,
            &format!("{field}.languages"),
            &given.languages,
            LANGUAGES_MAX,
        ),
    }
}

fn parsed<T>(check: &mut Checker, field: &str, texts: &[String], most: usize) -> BTreeSet<T>
where
    T: std::str::FromStr<Err: std::fmt::Display> + Ord,
{
    if texts.len() > most {
        check.refuse(
            field,
            format!("has {} entries, more than {most}", texts.len()),
        );
    }
    let mut all = BTreeSet::new();
    for (place, text) in texts.iter().take(most).enumerate() {
        match text.parse() {
            Ok(one) => {
                all.insert(one);
            }
            Err(error) => {
                let message = format!("{}: {error}", shown(text));
                check.refuse(&format!("{field}[{place}]"), message);
            }
        }
    }
    all
}

fn scope_to_proto(scope: &Scope) -> proto::Scope {
    proto::Scope {
        topics: scope.topics.iter().map(ToString::to_string).collect(),
        languages: scope
            .languages
            .iter()
            .map(|range| range.as_str().to_owned())
            .collect(),
    }
}
