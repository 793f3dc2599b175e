//! Delivery -> ninjs.

use bytes::Bytes;
use prost::Message as _;

use crate::{
    article::Action,
    wire::{
        convert,
        ninjs::{
            AltId, Association, CANONICAL, InfoSource, MEDIA_TOPIC_URI, Ninjs, Place, PubStatus,
            REL_TOPIC, ROLE_ID, ROLE_URI, Rendition, Subject, Text, time_from_proto, uri::as_uri,
        },
        proto::v1 as proto,
    },
};

impl Ninjs {
    /// A delivery as ninjs; it validates against the schema of ninjs 3.1.
    ///
    /// # Errors
    /// The delivery's article is not readable.
    pub fn from_delivery(delivery: &proto::Delivery) -> Result<Self, prost::DecodeError> {
        let article = proto::Article::decode(delivery.article.clone())?;
        let action = convert::action_from_proto(delivery.action).unwrap_or(Action::Publish);
        let published_at = time_from_proto(delivery.published_at.as_ref());
        let body_type = match article.body_type() {
            proto::BodyType::Html => "text/html",
            proto::BodyType::Unspecified | proto::BodyType::Text => "text/plain",
        };
        let (renditions, associations) = ninjs_links(article.links);
        let mut alt_ids = vec![
            alt_id(ROLE_ID, &article.id),
            alt_id("barid:cursor", &delivery.cursor),
            alt_id("barid:action", action.as_str()),
        ];
        let uri = match article.uri {
            empty if empty.is_empty() => format!("urn:uuid:{}", article.id),
            own => {
                let uri = as_uri(own.clone());
                if uri != own {
                    alt_ids.push(alt_id(ROLE_URI, &own));
                }
                uri
            }
        };
        Ok(Self {
            alt_ids,
            uri,
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
            bodies: text("main", body_type, article.body).into_iter().collect(),
            ed_note: article.edition_note,
            subjects: subjects(&delivery.topics, &article.subjects),
            places: (article.places.into_iter())
                .map(|proto::Place { name, uri }| Place {
                    name,
                    uri: as_uri(uri),
                })
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

/// Whether a revision comes without its article, as those of a withdrawn one do.
pub fn is_bare(delivery: &proto::Delivery) -> bool {
    delivery.article.is_empty()
}

/// Has revisions that come without their article say which it is, out of its head.
pub fn name_bare(deliveries: &mut [proto::Delivery], head: &proto::Article) {
    let identity = proto::Article {
        id: head.id.clone(),
        uri: head.uri.clone(),
        language: head.language.clone(),
        ..proto::Article::default()
    };
    let identity = Bytes::from(identity.encode_to_vec());
    let bare = deliveries.iter_mut().filter(|delivery| is_bare(delivery));
    bare.for_each(|delivery| delivery.article = identity.clone());
}

fn subjects(topics: &[String], codes: &[String]) -> Vec<Subject> {
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
    let topics = topics.iter().map(topic);
    topics.chain(codes.iter().map(media_topic)).collect()
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
                href: as_uri(link.href),
                content_type: link.content_type,
                title: link.title,
            });
        } else {
            associations.push(Association {
                name: format!("{rel}-{number}"),
                rel: rel.to_owned(),
                uri: match link.article_id {
                    empty if empty.is_empty() => as_uri(link.href),
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
