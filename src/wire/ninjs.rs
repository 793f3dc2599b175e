//! ninjs 3.1 (IPTC News in JSON) <-> the protobuf article.
//!
//! What is Barid's own and has no place in ninjs stands in `altIds`, under roles that begin with
//! `barid:`; topics are `subjects` whose `rel` is `topic`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::wire::proto::v1 as proto;

pub mod names;
pub mod read;
pub mod uri;
pub mod write;

/// How a subject's `rel` says that its literal is a topic of Barid's.
const REL_TOPIC: &str = "topic";
/// Where IPTC media topics live; the eight digits follow. `https` is read as well.
const MEDIA_TOPIC_URI: &str = "http://cv.iptc.org/newscodes/mediatopic/";
/// Roles in `altIds` that are Barid's.
const ROLE_PREFIX: &str = "barid:";
/// The role of the article's id.
const ROLE_ID: &str = "barid:id";
/// The role of the article's own uri, where that is no URI as ninjs wants it.
const ROLE_URI: &str = "barid:uri";
/// Name of the rendition that is the story's own page.
const CANONICAL: &str = "canonical";

/// A ninjs object, as far as Barid carries it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", expecting = "one ninjs object")]
pub struct Ninjs {
    /// The agency's own id as a URI (RFC 3986), or `urn:uuid:<id>`.
    pub uri: String,
    /// `text`.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The revision; written, not read.
    #[serde(skip_deserializing, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// When the story was first written.
    #[serde(deserialize_with = "names::time")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_created: Option<Timestamp>,
    /// When this revision was written.
    #[serde(deserialize_with = "names::time")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_created: Option<Timestamp>,
    /// Not to be shown before.
    #[serde(deserialize_with = "names::time")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embargoed_until: Option<Timestamp>,
    /// Not to be shown after.
    #[serde(deserialize_with = "names::time")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// What became of the story.
    pub pub_status: PubStatus,
    /// 1 (flash) to 9; 0 is unset.
    #[serde(deserialize_with = "names::whole_number")]
    #[serde(skip_serializing_if = "is_zero")]
    pub urgency: u32,
    /// BCP 47 tag.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub language: String,
    /// Role `main` or none: the headline; role `subheadline`: the line below.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headlines: Vec<Text>,
    /// The slug.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub slugline: String,
    /// Who wrote it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// The dateline.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub located: String,
    /// Role `main`, or else the first: the body.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bodies: Vec<Text>,
    /// Note to editors.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ed_note: String,
    /// Topics (rel `topic`) and IPTC media topics.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<Subject>,
    /// Places that the story is about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<Place>,
    /// The first one's name: whose news it is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub info_sources: Vec<InfoSource>,
    /// Terms of use.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub usage_terms: String,
    /// The story's own page (name `canonical`), pictures, film, sound.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub renditions: Vec<Rendition>,
    /// Other stories.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub associations: Vec<Association>,
    /// Barid's own facts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alt_ids: Vec<AltId>,
}

/// ninjs `pubStatus`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PubStatus {
    /// May be used.
    #[default]
    Usable,
    /// Taken back for now.
    Withheld,
    /// Taken back for good.
    Canceled,
}

impl PubStatus {
    /// What a publisher asks for who sends an article of this status, and no action.
    pub fn asks_for(self) -> proto::Action {
        match self {
            Self::Usable => proto::Action::Publish,
            Self::Withheld => proto::Action::Withhold,
            Self::Canceled => proto::Action::Kill,
        }
    }
}

/// An entry of `headlines` or `bodies`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Text {
    /// `main`, `subheadline`, or none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub role: String,
    /// `text/plain`, `text/html`, or none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub content_type: String,
    /// The text.
    pub value: String,
}

/// An entry of `subjects`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Subject {
    /// `topic`: the literal is one of Barid's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rel: String,
    /// Its URI in a vocabulary.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uri: String,
    /// Its code.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub literal: String,
    /// Its name; read over.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// An entry of `places`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Place {
    /// Name as printed.
    pub name: String,
    /// Its URI in a vocabulary.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uri: String,
}

/// An entry of `infoSources`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InfoSource {
    /// Whose news it is.
    pub name: String,
}

/// An entry of `renditions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Rendition {
    /// `canonical` is the story's own page.
    pub name: String,
    /// Where it is.
    pub href: String,
    /// Its media type.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub content_type: String,
    /// Its title.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub title: String,
}

/// An entry of `associations`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Association {
    /// Its key among the others; `related…` is a related story.
    pub name: String,
    /// What it is to the story; else its name says so.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rel: String,
    /// Its id: a URL, or `urn:uuid:<id>` for an article of this wire.
    pub uri: String,
    /// Its title.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// Of a picture: where it is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub renditions: Vec<Rendition>,
}

/// An entry of `altIds`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AltId {
    /// `barid:id`, `barid:cursor`, `barid:action`, `barid:uri`.
    pub role: String,
    /// The id.
    pub value: String,
}

/// What a ninjs text says.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// The article.
    pub article: proto::Article,
    /// What became of the story.
    pub pub_status: PubStatus,
    /// What was left out, one sentence each. Empty: everything was understood.
    pub warnings: Vec<String>,
}

/// Why a text is not ninjs that Barid can carry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", if field.is_empty() { String::new() } else { format!("{field}: ") })]
pub struct NinjsError {
    /// Line within the text, from 1; 0 where only the field is known.
    pub line: usize,
    /// Column within the line, from 1; 0 where only the field is known.
    pub column: usize,
    /// The field, `headlines[0].value`; empty for the whole.
    pub field: String,
    /// What is wrong.
    pub message: String,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Reads one ninjs object.
///
/// # Errors
/// [`NinjsError`] names the place in the text and the field.
pub fn parse(text: &str) -> Result<Parsed, NinjsError> {
    let mut ignored = names::Ignored::default();
    let mut json = serde_json::Deserializer::from_str(text);
    let mut note = |path: serde_ignored::Path<'_>| ignored.note(&path);
    let read = serde_ignored::Deserializer::new(&mut json, &mut note);
    let ninjs: Ninjs = serde_path_to_error::deserialize(read).map_err(|error| {
        let field = match error.path().to_string() {
            unknown if unknown == "." || unknown == "?" => String::new(),
            path => path,
        };
        syntax(field, error.inner())
    })?;
    json.end().map_err(|error| syntax(String::new(), &error))?;
    let mut warnings = ignored.into_warnings();
    let pub_status = ninjs.pub_status;
    let article = ninjs.into_article(&mut warnings)?;
    Ok(Parsed {
        article,
        pub_status,
        warnings,
    })
}

fn syntax(field: String, error: &serde_json::Error) -> NinjsError {
    let (line, column) = (error.line(), error.column());
    let whole = error.to_string();
    let place = format!(" at line {line} column {column}");
    let message = whole.strip_suffix(&place).unwrap_or(&whole);
    // serde names Rust's types.
    let message = message.replace("expected u32", "expected a whole number");
    NinjsError {
        line,
        column,
        field,
        message,
    }
}

/// A time as protobuf.
pub fn time_to_proto(time: Timestamp) -> prost_types::Timestamp {
    let (seconds, nanos) = (time.as_second(), time.subsec_nanosecond());
    // Before 1970 jiff counts both parts down; protobuf always counts nanoseconds up.
    if nanos < 0 {
        prost_types::Timestamp {
            seconds: seconds - 1,
            nanos: nanos + 1_000_000_000,
        }
    } else {
        prost_types::Timestamp { seconds, nanos }
    }
}

/// A time from protobuf, if it is one.
pub fn time_from_proto(time: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    let time = time?;
    Timestamp::new(time.seconds, time.nanos).ok()
}

#[cfg(test)]
mod tests;
