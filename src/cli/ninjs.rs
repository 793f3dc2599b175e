//! ninjs 3.1 (IPTC News in JSON) <-> the protobuf article.
//!
//! What is Barid's own and has no place in ninjs stands in `altIds`, under roles that begin with
//! `barid:`; topics are `subjects` whose `rel` is `topic`.

use jiff::Timestamp;
use prost::Message as _;
use serde::{Deserialize, Serialize};

use crate::{
    article::{Action, ArticleId},
    routing::taxonomy::media_topic_code,
    wire::{convert, proto::v1 as proto},
};

pub mod names;

/// How a subject's `rel` says that its literal is a topic of Barid's.
const REL_TOPIC: &str = "topic";
/// Where IPTC media topics live; the eight digits follow. `https` is read as well.
const MEDIA_TOPIC_URI: &str = "http://cv.iptc.org/newscodes/mediatopic/";
/// Roles in `altIds` that are Barid's.
const ROLE_PREFIX: &str = "barid:";
/// The role of the article's id.
const ROLE_ID: &str = "barid:id";
/// Name of the rendition that is the story's own page.
const CANONICAL: &str = "canonical";

/// A ninjs object, as far as Barid carries it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", expecting = "one ninjs object")]
pub struct Ninjs {
    /// The agency's own id, or `urn:uuid:<id>`.
    pub uri: String,
    /// `text`.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The revision; written, not read.
    #[serde(skip_deserializing, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// When the story was first written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_created: Option<Timestamp>,
    /// When this revision was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_created: Option<Timestamp>,
    /// Not to be shown before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embargoed_until: Option<Timestamp>,
    /// Not to be shown after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// What became of the story.
    pub pub_status: PubStatus,
    /// 1 (flash) to 9; 0 is unset.
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
    /// `barid:id`, `barid:cursor`, `barid:action`.
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
            root if root == "." => String::new(),
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
    let message = whole.strip_suffix(&place).unwrap_or(&whole).to_owned();
    NinjsError {
        line,
        column,
        field,
        message,
    }
}

impl Ninjs {
    /// The article that this is; what has no place in one is told in `warnings`.
    ///
    /// # Errors
    /// [`NinjsError`] if the body is in a form that Barid can't carry.
    pub fn into_article(self, warnings: &mut Vec<String>) -> Result<proto::Article, NinjsError> {
        if !matches!(self.kind.as_str(), "" | "text" | "composite") {
            warnings.push(format!("type {:?} is carried as text", self.kind));
        }
        let (headline, subheadline) = headlines(self.headlines, warnings);
        let (body, body_type) = body(self.bodies, warnings)?;
        let (topics, subjects) = subjects(self.subjects, warnings);
        let source = match self.info_sources.as_slice() {
            [] => String::new(),
            [first, rest @ ..] => {
                if !rest.is_empty() {
                    warnings.push("infoSources: only the first is carried".to_owned());
                }
                first.name.clone()
            }
        };
        let mut links = Vec::new();
        for rendition in self.renditions {
            links.push(rendition_link(rendition));
        }
        for (index, association) in self.associations.into_iter().enumerate() {
            association_links(index, association, &mut links, warnings);
        }
        let (mut id, mut uri) = (String::new(), self.uri);
        for alt in self.alt_ids {
            if alt.role == ROLE_ID {
                id = alt.value;
            } else if !alt.role.starts_with(ROLE_PREFIX) {
                warnings.push(format!("altIds: {:?} is left out", alt.role));
            }
        }
        // ninjs wants a uri; this one is the id itself, and the article has no uri of its own.
        if let Some(named) = ArticleId::in_urn(&uri)
            && (id.is_empty() || id == named.to_string())
        {
            id = named.to_string();
            uri = String::new();
        }
        Ok(proto::Article {
            id,
            uri,
            headline,
            subheadline,
            slugline: self.slugline,
            body,
            body_type: body_type.into(),
            byline: self.by,
            located: self.located,
            language: self.language,
            topics,
            subjects,
            places: self.places.into_iter().map(place).collect(),
            urgency: self.urgency,
            edition_note: self.ed_note,
            source,
            usage_terms: self.usage_terms,
            first_created: self.first_created.map(time_to_proto),
            version_created: self.version_created.map(time_to_proto),
            embargoed_until: self.embargoed_until.map(time_to_proto),
            expires: self.expires.map(time_to_proto),
            links,
        })
    }

    /// A delivery as ninjs; it validates against the schema of ninjs 3.1.
    ///
    /// # Errors
    /// The delivery's article is not readable.
    pub fn from_delivery(delivery: &proto::Delivery) -> Result<Self, prost::DecodeError> {
        let article = proto::Article::decode(delivery.article.clone())?;
        let action = convert::action_from_proto(delivery.action).unwrap_or(Action::Publish);
        let published_at = time_from_proto(delivery.published_at.as_ref());
        let (renditions, associations) = ninjs_links(article.links);
        let topic = |topic: &String| Subject {
            rel: REL_TOPIC.to_owned(),
            literal: topic.clone(),
            ..Subject::default()
        };
        let media_topic = |code: &String| Subject {
            rel: "subject".to_owned(),
            uri: format!("{MEDIA_TOPIC_URI}{code}"),
            literal: format!("medtop:{code}"),
            name: String::new(),
        };
        Ok(Self {
            alt_ids: vec![
                alt_id(ROLE_ID, &article.id),
                alt_id("barid:cursor", &delivery.cursor),
                alt_id("barid:action", action.as_str()),
            ],
            uri: match article.uri {
                empty if empty.is_empty() => format!("urn:uuid:{}", article.id),
                uri => uri,
            },
            kind: "text".to_owned(),
            version: delivery.revision.to_string(),
            first_created: time_from_proto(article.first_created.as_ref()),
            version_created: time_from_proto(article.version_created.as_ref()).or(published_at),
            embargoed_until: time_from_proto(article.embargoed_until.as_ref()),
            expires: time_from_proto(article.expires.as_ref()),
            pub_status: match action {
                Action::Publish | Action::Update | Action::Correct => PubStatus::Usable,
                Action::Withhold => PubStatus::Withheld,
                Action::Kill => PubStatus::Canceled,
            },
            urgency: match article.urgency {
                0 => 5,
                number => number,
            },
            language: article.language,
            headlines: [
                text("main", "", article.headline),
                text("subheadline", "", article.subheadline),
            ]
            .into_iter()
            .flatten()
            .collect(),
            slugline: article.slugline,
            by: article.byline,
            located: article.located,
            bodies: match proto::BodyType::try_from(article.body_type) {
                Ok(proto::BodyType::Html) => text("main", "text/html", article.body),
                Ok(proto::BodyType::Unspecified | proto::BodyType::Text) | Err(_) => {
                    text("main", "text/plain", article.body)
                }
            }
            .into_iter()
            .collect(),
            ed_note: article.edition_note,
            subjects: (delivery.topics.iter().map(topic))
                .chain(article.subjects.iter().map(media_topic))
                .collect(),
            places: (article.places.into_iter())
                .map(|proto::Place { name, uri }| Place { name, uri })
                .collect(),
            info_sources: match article.source {
                empty if empty.is_empty() => vec![],
                name => vec![InfoSource { name }],
            },
            usage_terms: article.usage_terms,
            renditions,
            associations,
        })
    }
}

fn headlines(headlines: Vec<Text>, warnings: &mut Vec<String>) -> (String, String) {
    let (mut headline, mut subheadline) = (None, None);
    for (index, text) in headlines.into_iter().enumerate() {
        let place = match text.role.as_str() {
            "" | "main" => &mut headline,
            "subheadline" => &mut subheadline,
            _ => {
                warnings.push(format!(
                    "headlines[{index}]: role {:?} is left out",
                    text.role
                ));
                continue;
            }
        };
        if !matches!(media_type(&text.content_type), "" | "text/plain") {
            warnings.push(format!("headlines[{index}]: is carried as plain text"));
        }
        if place.is_some() {
            warnings.push(format!(
                "headlines[{index}]: a second one of its role is left out"
            ));
        } else {
            *place = Some(text.value);
        }
    }
    (
        headline.unwrap_or_default(),
        subheadline.unwrap_or_default(),
    )
}

fn body(
    bodies: Vec<Text>,
    warnings: &mut Vec<String>,
) -> Result<(String, proto::BodyType), NinjsError> {
    let main = bodies.iter().position(|text| text.role == "main");
    let (main, count) = (main.unwrap_or(0), bodies.len());
    let Some(text) = bodies.into_iter().nth(main) else {
        return Ok((String::new(), proto::BodyType::Unspecified));
    };
    if count > 1 {
        warnings.push(format!("bodies: only bodies[{main}] is carried"));
    }
    match media_type(&text.content_type) {
        "" | "text/plain" => Ok((text.value, proto::BodyType::Text)),
        "text/html" | "application/xhtml+xml" => Ok((text.value, proto::BodyType::Html)),
        other => Err(NinjsError {
            line: 0,
            column: 0,
            field: format!("bodies[{main}].contentType"),
            message: format!("{other:?} can't be carried; use text/plain or text/html"),
        }),
    }
}

/// A media type without its parameters.
fn media_type(content_type: &str) -> &str {
    content_type
        .split(';')
        .next()
        .map_or("", |part| part.trim())
}

fn subjects(subjects: Vec<Subject>, warnings: &mut Vec<String>) -> (Vec<String>, Vec<String>) {
    let (mut topics, mut codes) = (Vec::new(), Vec::new());
    for (index, subject) in subjects.into_iter().enumerate() {
        let digits = (subject.uri.strip_prefix(MEDIA_TOPIC_URI))
            .or_else(|| {
                subject
                    .uri
                    .strip_prefix("https://cv.iptc.org/newscodes/mediatopic/")
            })
            .or_else(|| subject.literal.strip_prefix("medtop:"));
        if subject.rel == REL_TOPIC {
            topics.push(subject.literal);
        } else if let Some(code) = digits.and_then(media_topic_code) {
            codes.push(code.to_owned());
        } else {
            let named = [subject.name, subject.literal, subject.uri];
            let named = named
                .into_iter()
                .find(|text| !text.is_empty())
                .unwrap_or_default();
            warnings.push(format!(
                "subjects[{index}]: {named:?} is neither a topic (rel \"topic\") nor an IPTC \
                 media topic and is left out"
            ));
        }
    }
    (topics, codes)
}

fn place(place: Place) -> proto::Place {
    proto::Place {
        name: place.name,
        uri: place.uri,
    }
}

fn rendition_link(rendition: Rendition) -> proto::Link {
    let relation = if rendition.name == CANONICAL {
        proto::LinkRelation::Canonical
    } else {
        proto::LinkRelation::Rendition
    };
    proto::Link {
        relation: relation.into(),
        href: rendition.href,
        article_id: String::new(),
        content_type: rendition.content_type,
        title: rendition.title,
    }
}

/// An association is another story, or a picture with renditions of its own.
fn association_links(
    index: usize,
    association: Association,
    links: &mut Vec<proto::Link>,
    warnings: &mut Vec<String>,
) {
    let Association {
        name,
        rel,
        uri,
        title,
        renditions,
    } = association;
    let said = if rel.is_empty() { &name } else { &rel };
    let relation = match said.as_str() {
        "translationOf" => proto::LinkRelation::TranslationOf,
        CANONICAL => proto::LinkRelation::Canonical,
        "rendition" => proto::LinkRelation::Rendition,
        other if other.starts_with("related") => proto::LinkRelation::Related,
        _ if !renditions.is_empty() => {
            for mut rendition in renditions {
                if rendition.title.is_empty() {
                    rendition.title.clone_from(&title);
                }
                links.push(rendition_link(rendition));
            }
            return;
        }
        other => {
            warnings.push(format!("associations[{index}]: {other:?} is left out"));
            return;
        }
    };
    let (href, article_id) = match ArticleId::in_urn(&uri) {
        Some(id) => (String::new(), id.to_string()),
        None => (uri, String::new()),
    };
    links.push(proto::Link {
        relation: relation.into(),
        href,
        article_id,
        content_type: String::new(),
        title,
    });
}

fn ninjs_links(links: Vec<proto::Link>) -> (Vec<Rendition>, Vec<Association>) {
    let (mut renditions, mut associations) = (Vec::new(), Vec::new());
    for (number, link) in (1..).zip(links) {
        let rel = match proto::LinkRelation::try_from(link.relation) {
            Ok(proto::LinkRelation::Canonical) => CANONICAL,
            Ok(proto::LinkRelation::Rendition) => "rendition",
            Ok(proto::LinkRelation::TranslationOf) => "translationOf",
            // A relation of a later release is at least that.
            Ok(proto::LinkRelation::Related | proto::LinkRelation::Unspecified) | Err(_) => {
                "related"
            }
        };
        let is_page_or_file = matches!(rel, CANONICAL | "rendition");
        if is_page_or_file && link.article_id.is_empty() {
            renditions.push(Rendition {
                name: match rel {
                    CANONICAL => CANONICAL.to_owned(),
                    _ => format!("rendition-{number}"),
                },
                href: link.href,
                content_type: link.content_type,
                title: link.title,
            });
        } else {
            associations.push(Association {
                name: format!("{rel}-{number}"),
                rel: rel.to_owned(),
                uri: match link.article_id {
                    empty if empty.is_empty() => link.href,
                    id => format!("urn:uuid:{id}"),
                },
                title: link.title,
                renditions: vec![],
            });
        }
    }
    (renditions, associations)
}

fn text(role: &str, content_type: &str, value: String) -> Option<Text> {
    (!value.is_empty()).then(|| Text {
        role: role.to_owned(),
        content_type: content_type.to_owned(),
        value,
    })
}

fn alt_id(role: &str, value: &str) -> AltId {
    AltId {
        role: role.to_owned(),
        value: value.to_owned(),
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
