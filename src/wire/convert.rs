//! Protobuf <-> domain, both ways; every field of a request is checked here, once.

use prost::Message as _;
use sha2::{Digest as _, Sha256};

use crate::{
    access::author::Author,
    article::{
        ARTICLE_BYTES_MAX, Action, Article, ArticleId, BodyType, LIST_MAX, Language, LanguageError,
        Link, LinkRelation, LinkTarget, OWN_TOPICS_MAX, Place, RequestId, Routing, Submission,
        Time, Urgency,
        check::{Checker, shown},
        text,
    },
    fault::{
        Fault, Kind,
        wrong::{Quoted, Wrong},
    },
    filter::{self, Filter, RangeError},
    routing::taxonomy::media_topic_code,
    topic::{Topic, TopicError},
    wire::proto::v1 as proto,
};

pub mod embargo;
pub mod field;
pub mod partner;
pub mod routing;
pub mod webhook;

/// What a subscriber asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// After everything that is there.
    Now,
    /// After this cursor, as its text stands.
    After(crate::cursor::Cursor),
    /// With the first revision at or after this time.
    Since(Time),
    /// With the newest that match, so many.
    Last(u32),
    /// With the oldest that is kept.
    Earliest,
}

/// Most revisions that a subscriber may ask back for by number.
pub const LAST_MAX: u32 = 1000;

/// The time that a protobuf timestamp is, if it is within the bounds.
pub fn time(timestamp: Option<&prost_types::Timestamp>) -> Option<Time> {
    timestamp.and_then(|timestamp| Time::new(timestamp.seconds, timestamp.nanos))
}

/// Reads since when something is wanted, in nanoseconds from 1970; none = from the beginning.
///
/// # Errors
/// A [`Fault`] for a time that is none of the years 1900 to 9999.
pub fn since(since: Option<&prost_types::Timestamp>) -> Result<Option<i128>, Fault> {
    let Some(timestamp) = since else {
        return Ok(None);
    };
    let time = time(Some(timestamp)).ok_or_else(|| {
        let message = format!(
            "{} s from 1970 is not a time of 1900 to 9999",
            timestamp.seconds
        );
        Fault::field("FIELD_INVALID", "since", message)
    })?;
    Ok(Some(time.unix_nanos()))
}

/// A time as protobuf.
pub fn time_to_proto(time: Time) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: time.seconds(),
        nanos: time.nanos(),
    }
}

/// An action as protobuf.
pub fn action_to_proto(action: Action) -> proto::Action {
    match action {
        Action::Publish => proto::Action::Publish,
        Action::Update => proto::Action::Update,
        Action::Correct => proto::Action::Correct,
        Action::Withhold => proto::Action::Withhold,
        Action::Kill => proto::Action::Kill,
    }
}

/// The action that a number names; none for unspecified or unknown ones.
pub fn action_from_proto(number: i32) -> Option<Action> {
    match proto::Action::try_from(number).ok()? {
        proto::Action::Unspecified => None,
        proto::Action::Publish => Some(Action::Publish),
        proto::Action::Update => Some(Action::Update),
        proto::Action::Correct => Some(Action::Correct),
        proto::Action::Withhold => Some(Action::Withhold),
        proto::Action::Kill => Some(Action::Kill),
    }
}

/// Reads a request to publish.
///
/// # Errors
/// One [`Fault`] that names every bad field.
pub fn submission(mut request: proto::PublishRequest) -> Result<Submission, Fault> {
    let mut check = Checker::default();
    // Without the id, the encoded request is its content: this tells a retry from a reuse.
    let request_id = std::mem::take(&mut request.request_id);
    let digest = Sha256::digest(request.encode_to_vec()).into();
    let proto::PublishRequest {
        expected_revision,
        action,
        article,
        routing,
        ..
    } = request;

    let parsed_request_id = request_id.parse::<RequestId>();
    if let Err(error) = parsed_request_id {
        check.refuse(
            "request_id",
            format!("{} is not an id: {error}", shown(&request_id)),
        );
    }
    let action = match action {
        0 => Action::Publish,
        number => action_from_proto(number).unwrap_or_else(|| {
            check.refuse(
                "action",
                format!("{number} is no action; use one of Action"),
            );
            Action::Publish
        }),
    };
    let routing = self::routing(&mut check, routing);
    let Some(article) = article else {
        check.refuse("article", "is missing; give the article");
        return Err(check.into_fault());
    };
    let given_id = article_id(&mut check, &article.id);
    let article = parse_article(&mut check, article, action);
    check.finish()?;
    let request_id = parsed_request_id
        .map_err(|_| Fault::new(Kind::Bug, "INTERNAL", "an unchecked request id"))?;

    let article_id = match given_id {
        Some(id) => id,
        None if !article.uri.is_empty() => ArticleId::from_uri(&article.uri),
        None => ArticleId::from_request(request_id),
    };
    if let Some(id) = ArticleId::in_urn(&article.uri)
        && id != article_id
    {
        let message = format!("names {id}, but article.id is {article_id}; give one of them");
        return Err(Fault::field("ID_URI_MISMATCH", "article.uri", message));
    }
    let mut article = article;
    if ArticleId::in_urn(&article.uri).is_some() {
        // It says no more than the id does.
        article.uri.clear();
    }
    Ok(Submission {
        request_id,
        digest,
        article_id,
        expected_revision,
        action,
        article,
        routing,
        author: Author::anyone(),
        traceparent: String::new(),
        replaces: None,
    })
}

/// How topics are to be found.
fn routing(check: &mut Checker, number: i32) -> Routing {
    match proto::Routing::try_from(number) {
        Ok(proto::Routing::Unspecified | proto::Routing::Inferred) => Routing::Inferred,
        Ok(proto::Routing::Stated) => Routing::Stated,
        Err(_) => {
            let message = format!("{number} is no way of routing; use one of Routing");
            check.refuse("routing", message);
            Routing::Inferred
        }
    }
}

/// An article's id, or nothing if none is given.
pub fn article_id(check: &mut Checker, text: &str) -> Option<ArticleId> {
    if text.is_empty() {
        return None;
    }
    let parsed = text.parse();
    if let Err(error) = &parsed {
        check.refuse(
            "article.id",
            format!("{} is not an id: {error}", shown(text)),
        );
    }
    parsed.ok()
}

fn parse_article(check: &mut Checker, mut article: proto::Article, action: Action) -> Article {
    let (sent_len, sent_body_len) = (article.encoded_len(), article.body.len());
    let (body, body_type) = body(check, std::mem::take(&mut article.body), article.body_type);
    // Sanitising escapes characters, and what is stored must fit a message of the log.
    let encoded_len = sent_len.max(sent_len - sent_body_len + body.len());
    if encoded_len > ARTICLE_BYTES_MAX {
        let (count, max) = (encoded_len, ARTICLE_BYTES_MAX);
        check.refuse("article", Wrong::TooLarge { count, max });
    }
    check_texts(check, &article);
    if article.headline.trim().is_empty() && !action.is_notice() {
        check.refuse("article.headline", Wrong::NoHeadline);
    }
    if article.edition_note.trim().is_empty() && action.needs_note() {
        check.refuse("article.edition_note", Wrong::NoReason { action });
    }
    let urgency = match article.urgency {
        0 => None,
        number => Urgency::new(number).or_else(|| {
            let value = Quoted::of(&number.to_string());
            check.refuse("article.urgency", Wrong::NoUrgency { value });
            None
        }),
    };
    let mut times = |field: &str, value: Option<prost_types::Timestamp>| {
        let parsed = time(value.as_ref());
        if let (Some(value), None) = (&value, parsed) {
            let (field, seconds, nanos) = (format!("article.{field}"), value.seconds, value.nanos);
            let message = format!("{seconds} s and {nanos} ns is not a time of 1900 to 9999");
            check.refuse(&field, message);
        }
        parsed
    };
    let first_created = times("first_created", article.first_created);
    let version_created = times("version_created", article.version_created);
    let embargoed_until = times("embargoed_until", article.embargoed_until);
    let expires = times("expires", article.expires);
    if let (Some(until), Some(end)) = (embargoed_until, expires)
        && end <= until
    {
        check.refuse("article.expires", Wrong::ExpiresUnseen);
    }
    Article {
        language: language(check, &article.language),
        topics: topics(check, "article.topics", &article.topics, OWN_TOPICS_MAX),
        subjects: subjects(check, &article.subjects),
        places: places(check, article.places),
        links: links(check, article.links),
        uri: article.uri,
        headline: article.headline,
        subheadline: article.subheadline,
        slugline: article.slugline,
        body,
        body_type,
        byline: article.byline,
        located: article.located,
        urgency,
        edition_note: article.edition_note,
        source: article.source,
        usage_terms: article.usage_terms,
        first_created,
        version_created,
        embargoed_until,
        expires,
    }
}

fn check_texts(check: &mut Checker, article: &proto::Article) {
    check.uri("article.uri", &article.uri);
    check.line("article.headline", &article.headline, 500);
    check.line("article.subheadline", &article.subheadline, 500);
    check.line("article.slugline", &article.slugline, 200);
    check.line("article.byline", &article.byline, 500);
    check.line("article.located", &article.located, 200);
    check.line("article.source", &article.source, 200);
    check.paragraph("article.edition_note", &article.edition_note, 1000);
    check.paragraph("article.usage_terms", &article.usage_terms, 2000);
}

fn body(check: &mut Checker, body: String, body_type: i32) -> (String, BodyType) {
    let is_good = check.body("article.body", &body);
    match proto::BodyType::try_from(body_type) {
        Ok(proto::BodyType::Unspecified | proto::BodyType::Text) => (body, BodyType::Text),
        // Once, before anybody can read it: what is stored is safe to show.
        Ok(proto::BodyType::Html) if is_good && check.markup("article.body", &body) => {
            let body = ammonia::clean(&body);
            // Again: entities have become what they stand for, and `&` has become an entity.
            check.body("article.body", &body);
            (body, BodyType::Html)
        }
        Ok(proto::BodyType::Html) => (body, BodyType::Html),
        Err(_) => {
            let message = format!("{body_type} is no body type; use one of BodyType");
            check.refuse("article.body_type", message);
            (body, BodyType::Text)
        }
    }
}

fn language(check: &mut Checker, text: &str) -> Option<Language> {
    if text.is_empty() {
        return None;
    }
    text.parse()
        .map_err(|LanguageError| {
            let value = Quoted::of(text);
            check.refuse("article.language", Wrong::NoLanguage { value });
        })
        .ok()
}

fn topics(check: &mut Checker, field: &str, texts: &[String], max: usize) -> Vec<Topic> {
    let count = check.count(field, texts.len(), max);
    let mut topics = Vec::with_capacity(count);
    for (index, text) in texts.iter().take(count).enumerate() {
        match text.parse() {
            Ok(topic) => topics.push(topic),
            Err(TopicError) => {
                let value = Quoted::of(text);
                check.refuse(&format!("{field}[{index}]"), Wrong::NoTopic { value });
            }
        }
    }
    topics
}

fn subjects(check: &mut Checker, texts: &[String]) -> Vec<String> {
    let count = check.count("article.subjects", texts.len(), LIST_MAX);
    let mut codes = Vec::with_capacity(count);
    for (index, text) in texts.iter().take(count).enumerate() {
        if let Some(code) = media_topic_code(text) {
            codes.push(code.to_owned());
        } else {
            let field = format!("article.subjects[{index}]");
            let value = Quoted::of(text);
            check.refuse(&field, Wrong::NoSubject { value });
        }
    }
    codes
}

fn places(check: &mut Checker, places: Vec<proto::Place>) -> Vec<Place> {
    let count = check.count("article.places", places.len(), LIST_MAX);
    let mut parsed = Vec::with_capacity(count);
    for (index, place) in places.into_iter().take(count).enumerate() {
        let name_field = format!("article.places[{index}].name");
        check.line(&name_field, &place.name, 200);
        if place.name.trim().is_empty() {
            check.refuse(&name_field, Wrong::NoPlace);
        }
        check.uri(&format!("article.places[{index}].uri"), &place.uri);
        parsed.push(Place {
            name: place.name,
            uri: place.uri,
        });
    }
    parsed
}

fn links(check: &mut Checker, links: Vec<proto::Link>) -> Vec<Link> {
    let count = check.count("article.links", links.len(), LIST_MAX);
    let mut parsed = Vec::with_capacity(count);
    for (index, link) in links.into_iter().take(count).enumerate() {
        let field = format!("article.links[{index}]");
        check.line(&format!("{field}.content_type"), &link.content_type, 127);
        check.line(&format!("{field}.title"), &link.title, 500);
        let relation = match proto::LinkRelation::try_from(link.relation) {
            Ok(proto::LinkRelation::Canonical) => Some(LinkRelation::Canonical),
            Ok(proto::LinkRelation::Rendition) => Some(LinkRelation::Rendition),
            Ok(proto::LinkRelation::Related) => Some(LinkRelation::Related),
            Ok(proto::LinkRelation::TranslationOf) => Some(LinkRelation::TranslationOf),
            Ok(proto::LinkRelation::Unspecified) | Err(_) => None,
        };
        let Some(relation) = relation else {
            let message = format!("{} is no relation; use one of LinkRelation", link.relation);
            check.refuse(&format!("{field}.relation"), message);
            continue;
        };
        let Some(target) = link_target(check, &field, link.href, &link.article_id) else {
            continue;
        };
        parsed.push(Link {
            relation,
            target,
            content_type: link.content_type,
            title: link.title,
        });
    }
    parsed
}

fn link_target(check: &mut Checker, field: &str, href: String, id: &str) -> Option<LinkTarget> {
    match (href.is_empty(), id.is_empty()) {
        (false, true) => {
            check.href(&format!("{field}.href"), &href);
            Some(LinkTarget::Href(href))
        }
        (true, false) => match id.parse() {
            Ok(id) => Some(LinkTarget::Article(id)),
            Err(error) => {
                let message = format!("{} is not an id: {error}", shown(id));
                check.refuse(&format!("{field}.article_id"), message);
                None
            }
        },
        (true, true) | (false, false) => {
            check.refuse(field, "give exactly one of href and article_id");
            None
        }
    }
}

/// An article as the log stores it and subscribers get it.
pub fn article_to_proto(id: ArticleId, article: Article) -> proto::Article {
    let body_type = match article.body_type {
        // A notice has no body, and so no type of one.
        BodyType::Text if article.body.is_empty() => proto::BodyType::Unspecified.into(),
        BodyType::Text => proto::BodyType::Text.into(),
        BodyType::Html => proto::BodyType::Html.into(),
    };
    proto::Article {
        id: id.to_string(),
        uri: article.uri,
        headline: article.headline,
        subheadline: article.subheadline,
        slugline: article.slugline,
        body: article.body,
        body_type,
        byline: article.byline,
        located: article.located,
        language: article
            .language
            .as_ref()
            .map(|tag| tag.as_str().to_owned())
            .unwrap_or_default(),
        topics: article.topics.iter().map(Topic::to_string).collect(),
        subjects: article.subjects,
        places: article
            .places
            .into_iter()
            .map(|place| proto::Place {
                name: place.name,
                uri: place.uri,
            })
            .collect(),
        urgency: article.urgency.map_or(0, |urgency| urgency.get().into()),
        edition_note: article.edition_note,
        source: article.source,
        usage_terms: article.usage_terms,
        first_created: article.first_created.map(time_to_proto),
        version_created: article.version_created.map(time_to_proto),
        embargoed_until: article.embargoed_until.map(time_to_proto),
        expires: article.expires.map(time_to_proto),
        links: article.links.into_iter().map(link_to_proto).collect(),
    }
}

fn link_to_proto(link: Link) -> proto::Link {
    let relation = match link.relation {
        LinkRelation::Canonical => proto::LinkRelation::Canonical,
        LinkRelation::Rendition => proto::LinkRelation::Rendition,
        LinkRelation::Related => proto::LinkRelation::Related,
        LinkRelation::TranslationOf => proto::LinkRelation::TranslationOf,
    };
    let (href, article_id) = match link.target {
        LinkTarget::Href(href) => (href, String::new()),
        LinkTarget::Article(id) => (String::new(), id.to_string()),
    };
    proto::Link {
        relation: relation.into(),
        href,
        article_id,
        content_type: link.content_type,
        title: link.title,
    }
}

/// Reads a filter. Whether its topics exist is the caller's to ask.
///
/// # Errors
/// One [`Fault`] that names every bad field.
pub fn filter(filter: Option<proto::Filter>) -> Result<Filter, Fault> {
    let filter = filter.unwrap_or_default();
    let mut check = Checker::default();
    let topics = topics(
        &mut check,
        "filter.topics",
        &filter.topics,
        filter::TOPICS_MAX,
    );
    let mut parsed = Filter {
        topics: topics.into_iter().collect(),
        ..Filter::default()
    };

    let count = check.count(
        "filter.languages",
        filter.languages.len(),
        filter::LANGUAGES_MAX,
    );
    for (index, text) in filter.languages.iter().take(count).enumerate() {
        match text.parse() {
            Ok(range) => {
                parsed.languages.insert(range);
            }
            Err(RangeError) => {
                let field = format!("filter.languages[{index}]");
                let value = Quoted::of(text);
                check.refuse(&field, Wrong::NoRange { value });
            }
        }
    }
    if filter.urgency != 0 {
        parsed.urgency = Urgency::new(filter.urgency);
        if parsed.urgency.is_none() {
            check.refuse(
                "filter.urgency",
                format!("{} is not 1 to 9", filter.urgency),
            );
        }
    }
    let count = check.count("filter.words", filter.words.len(), filter::WORDS_MAX);
    for (index, text) in filter.words.iter().take(count).enumerate() {
        let words = text::words(text);
        if words.is_empty() || text.chars().count() > filter::WORD_CHARS_MAX {
            let field = format!("filter.words[{index}]");
            let value = Quoted::of(text);
            check.refuse(&field, Wrong::NoWord { value });
        }
        // `e-learning` is two words to Unicode, in an article as here.
        parsed.words.extend(words);
    }
    check.finish()?;
    Ok(parsed)
}

/// A filter as protobuf.
pub fn filter_to_proto(filter: &Filter) -> proto::Filter {
    proto::Filter {
        topics: filter.topics.iter().map(ToString::to_string).collect(),
        languages: (filter.languages.iter())
            .map(|range| range.as_str().to_owned())
            .collect(),
        urgency: filter.urgency.map_or(0, |least| least.get().into()),
        words: filter.words.iter().cloned().collect(),
    }
}

/// Reads where a stream begins.
///
/// # Errors
/// A [`Fault`] that names the bad field.
pub fn start(start: Option<proto::Start>) -> Result<Start, Fault> {
    use proto::start::From;
    let Some(from) = start.and_then(|start| start.from) else {
        return Ok(Start::Now);
    };
    match from {
        From::Now(()) => Ok(Start::Now),
        From::Earliest(()) => Ok(Start::Earliest),
        From::After(text) => field::cursor("start.after", &text).map(Start::After),
        From::Since(timestamp) => time(Some(&timestamp)).map(Start::Since).ok_or_else(|| {
            let seconds = timestamp.seconds;
            let message = format!("{seconds} s from 1970 is not a time of 1900 to 9999");
            Fault::field("FIELD_INVALID", "start.since", message)
        }),
        From::Last(count) if (1..=LAST_MAX).contains(&count) => Ok(Start::Last(count)),
        From::Last(count) => {
            let message = format!("{count} is not 1 to {LAST_MAX}");
            Err(Fault::field("FIELD_INVALID", "start.last", message))
        }
    }
}

#[cfg(test)]
mod tests;
