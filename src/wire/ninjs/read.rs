//! ninjs -> article.

use crate::{
    article::ArticleId,
    routing::taxonomy::media_topic_code,
    wire::{
        ninjs::{
            Association, CANONICAL, MEDIA_TOPIC_URI, Ninjs, NinjsError, Place, REL_TOPIC, ROLE_ID,
            ROLE_PREFIX, ROLE_URI, Rendition, Subject, Text, time_to_proto,
        },
        proto::v1 as proto,
    },
};

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
            } else if alt.role == ROLE_URI {
                uri = alt.value;
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
