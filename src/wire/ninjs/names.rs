//! The names of ninjs 3.1, to tell a property that Barid does not carry from a typo, and its
//! numbers and times.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize as _, Deserializer, de};

use crate::article::check::shown;

/// Properties that a reader may meet in what Barid writes, or that say nothing about the story.
const SILENT: [&str; 8] = [
    "version",
    "representationType",
    "profile",
    "standard",
    "charCount",
    "wordCount",
    "$schema",
    "contentCreated",
];

/// Every property of the ninjs 3.1 schema that may stand in an object that Barid reads.
const NINJS: &[&str] = &[
    "address",
    "altIds",
    "aspectRatio",
    "associations",
    "bitrate",
    "bodies",
    "by",
    "charCount",
    "confidence",
    "contactInfo",
    "contentCreated",
    "contentType",
    "copyrightHolder",
    "copyrightNotice",
    "creator",
    "descriptions",
    "digitalSourceType",
    "duration",
    "edNote",
    "embargoedUntil",
    "eventDetails",
    "events",
    "expires",
    "firstCreated",
    "format",
    "frameRate",
    "genres",
    "geoJSON",
    "headlines",
    "height",
    "href",
    "infoSources",
    "language",
    "literal",
    "located",
    "name",
    "objects",
    "organisations",
    "people",
    "places",
    "plannedCoverage",
    "poi",
    "profile",
    "pubStatus",
    "rel",
    "relevance",
    "renditions",
    "representationType",
    "rightsInfo",
    "role",
    "scanType",
    "sizeInBytes",
    "slugline",
    "standard",
    "subjects",
    "title",
    "transportProtocol",
    "trustIndicators",
    "type",
    "uri",
    "urgency",
    "usageTerms",
    "value",
    "version",
    "versionCreated",
    "videoCodec",
    "width",
    "wordCount",
];

/// Fields of an article, and where ninjs has them. Where the names have a space in them, elements
/// are counted otherwise there.
const FIELDS: [(&str, &str); 22] = [
    ("id", "altIds with role \"barid:id\""),
    ("uri", "uri"),
    ("headline", "headlines[0].value"),
    ("subheadline", "headlines with role \"subheadline\""),
    ("slugline", "slugline"),
    ("body", "bodies[0].value"),
    ("body_type", "bodies[0].contentType"),
    ("byline", "by"),
    ("located", "located"),
    ("language", "language"),
    ("topics", "subjects with rel \"topic\""),
    ("subjects", "subjects with IPTC media topics"),
    ("places", "places"),
    ("urgency", "urgency"),
    ("edition_note", "edNote"),
    ("source", "infoSources[0].name"),
    ("usage_terms", "usageTerms"),
    ("first_created", "firstCreated"),
    ("version_created", "versionCreated"),
    ("embargoed_until", "embargoedUntil"),
    ("expires", "expires"),
    ("links", "renditions or associations"),
];

/// How alike a name must be to be offered instead, of 1.
const LIKENESS_MIN: f64 = 0.85;

/// A sentence about an article, `article.edition_note: is empty`, for people who wrote it in ninjs:
/// `edNote: is empty`. What is no field stays as it is.
pub fn in_ninjs(text: &str) -> String {
    let mut parts = text.split("article.");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_name = |char: char| char.is_ascii_lowercase() || char == '_';
        let name_end = part.find(|char| !is_name(char)).unwrap_or(part.len());
        let (name, rest) = part.split_at(name_end);
        let field = FIELDS.iter().find(|(known, _)| *known == name);
        let is_before = |char: char| char.is_whitespace() || "(\"`".contains(char);
        let is_field = shown.is_empty() || shown.ends_with(is_before);
        match field {
            Some((_, ninjs)) if is_field => {
                shown.push_str(ninjs);
                let is_place = |char: char| char.is_ascii_digit() || "[]".contains(char);
                let place_end = rest.find(|char| !is_place(char)).unwrap_or(rest.len());
                let is_counted = !ninjs.contains(' ');
                shown.push_str(
                    rest.get(if is_counted { 0 } else { place_end }..)
                        .unwrap_or(rest),
                );
            }
            _ => {
                shown.push_str("article.");
                shown.push_str(part);
            }
        }
    }
    shown
}

/// What a reader met and did not read.
#[derive(Debug, Default)]
pub struct Ignored {
    left_out: Vec<String>,
    unknown: Vec<String>,
}

impl Ignored {
    /// Notes one property.
    pub fn note(&mut self, path: &serde_ignored::Path<'_>) {
        let name = last_name(path);
        if SILENT.contains(&name) {
            return;
        }
        let shown = render(path);
        if NINJS.contains(&name) {
            self.left_out.push(shown);
            return;
        }
        match nearest(name) {
            Some(near) => self.unknown.push(format!("{shown} (is {near} meant?)")),
            None => self.unknown.push(shown),
        }
    }

    /// One sentence for each kind.
    pub fn into_warnings(self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.unknown.is_empty() {
            let names = self.unknown.join(", ");
            warnings.push(format!("not in ninjs 3.1 and left out: {names}"));
        }
        if !self.left_out.is_empty() {
            let names = self.left_out.join(", ");
            warnings.push(format!("not carried by Barid and left out: {names}"));
        }
        warnings
    }
}

/// A time (RFC 3339), or null for none.
///
/// # Errors
/// It is anything else, or later than what can be told in every zone.
pub fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    let parsed = text.map(|text| {
        text.parse().map_err(|_| {
            let shown = shown(&text);
            de::Error::custom(format!(
                "{shown} is not a time from the year 1 to 9999-12-30; write it as \
                 2026-12-24T18:00:00Z"
            ))
        })
    });
    parsed.transpose()
}

/// Reads a whole number of 0 to 4294967295; JSON's `6.0` is `6` (JSON Schema, "integer").
///
/// # Errors
/// It is anything else.
pub fn whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    struct Whole;

    impl de::Visitor<'_> for Whole {
        type Value = u32;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number")
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<u32, E> {
            let invalid = de::Unexpected::Unsigned(number);
            u32::try_from(number).map_err(|_| E::invalid_value(invalid, &self))
        }

        fn visit_f64<E: de::Error>(self, number: f64) -> Result<u32, E> {
            // Printed and parsed, for there is no checked conversion.
            let whole = format!("{number:.0}").parse().ok();
            let whole = whole.filter(|whole| f64::from(*whole) == number);
            whole.ok_or_else(|| E::invalid_type(de::Unexpected::Float(number), &self))
        }
    }

    deserializer.deserialize_any(Whole)
}

/// The property of ninjs that a field of an article comes from, for faults: a field of a request
/// that is none of an article's stays what it is.
pub fn property_of(field: &str) -> String {
    let Some(field) = field.strip_prefix("article.") else {
        return field.to_owned();
    };
    let end = field.find(['[', '.']).unwrap_or(field.len());
    let (name, rest) = field.split_at(end);
    match name {
        "id" => "altIds".to_owned(),
        "headline" | "subheadline" => "headlines".to_owned(),
        "body" | "body_type" => "bodies".to_owned(),
        "byline" => "by".to_owned(),
        // Their places in the list are not those of the topics and codes among them.
        "topics" | "subjects" => "subjects".to_owned(),
        "links" => "renditions or associations".to_owned(),
        "edition_note" => "edNote".to_owned(),
        "source" => "infoSources[0].name".to_owned(),
        "usage_terms" => "usageTerms".to_owned(),
        "first_created" => "firstCreated".to_owned(),
        "version_created" => "versionCreated".to_owned(),
        "embargoed_until" => "embargoedUntil".to_owned(),
        same => format!("{same}{rest}"),
    }
}

fn nearest(name: &str) -> Option<&'static str> {
    let likeness = |known: &str| strsim::jaro_winkler(&known.to_lowercase(), &name.to_lowercase());
    NINJS
        .iter()
        .copied()
        .max_by(|one, other| likeness(one).total_cmp(&likeness(other)))
        .filter(|known| likeness(known) >= LIKENESS_MIN)
}

fn last_name<'a>(path: &'a serde_ignored::Path<'_>) -> &'a str {
    use serde_ignored::Path;
    match path {
        Path::Map { key, .. } => key,
        Path::Seq { parent, .. }
        | Path::Some { parent }
        | Path::NewtypeStruct { parent }
        | Path::NewtypeVariant { parent } => last_name(parent),
        Path::Root => "",
    }
}

/// `subjects[0].relevance`, as in the errors of serde_path_to_error.
fn render(path: &serde_ignored::Path<'_>) -> String {
    use serde_ignored::Path;
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}[{index}]", render(parent)),
        Path::Map { parent, key } => match render(parent) {
            empty if empty.is_empty() => key.clone(),
            parent => format!("{parent}.{key}"),
        },
        Path::Some { parent }
        | Path::NewtypeStruct { parent }
        | Path::NewtypeVariant { parent } => render(parent),
    }
}
