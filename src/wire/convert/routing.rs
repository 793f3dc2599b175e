//! Routing, explained, as protobuf.

use crate::{
    article::{Action, Article, ArticleId, BodyType, Routing, check::Checker},
    fault::Fault,
    routing::{
        Verdict,
        explain::{Evidence, Explanation, PhraseEvidence, TopicExplanation},
        taxonomy::Taxonomy,
    },
    wire::{
        proto::v1::{self as proto, evidence::Kind},
        record::{RecordError, texts},
    },
};

/// Reads an article that is to be explained, and its id if it has one.
///
/// # Errors
/// One [`Fault`] that names every bad field.
pub fn explained(article: proto::Article) -> Result<(Option<ArticleId>, Article), Fault> {
    let mut check = Checker::default();
    let given_id = super::article_id(&mut check, &article.id);
    let article = super::parse_article(&mut check, article, Action::Publish);
    check.finish()?;
    let of_uri = || (!article.uri.is_empty()).then(|| ArticleId::from_uri(&article.uri));
    Ok((given_id.or_else(of_uri), article))
}

/// What routing looks at of a stored article.
///
/// # Errors
/// [`RecordError`] for bytes that no release of Barid wrote.
pub fn routed(article: &[u8]) -> Result<Article, RecordError> {
    let article = <proto::Article as prost::Message>::decode(article)?;
    let body_type = match proto::BodyType::try_from(article.body_type) {
        Ok(proto::BodyType::Unspecified | proto::BodyType::Text) => BodyType::Text,
        Ok(proto::BodyType::Html) => BodyType::Html,
        Err(_) => return Err(RecordError::Field("body_type")),
    };
    let topics = article.topics.iter().map(|topic| topic.parse());
    Ok(Article {
        topics: topics
            .collect::<Result<_, _>>()
            .map_err(|_| RecordError::Field("article.topics"))?,
        language: article.language.parse().ok(),
        headline: article.headline,
        subheadline: article.subheadline,
        slugline: article.slugline,
        body: article.body,
        body_type,
        subjects: article.subjects,
        ..Article::default()
    })
}

/// Reads how topics are to be found.
///
/// # Errors
/// A [`Fault`] that names the field.
pub fn routing(number: i32) -> Result<Routing, Fault> {
    let mut check = Checker::default();
    let routing = super::routing(&mut check, number);
    check.finish().map(|()| routing)
}

/// Reads a taxonomy that a caller sends.
///
/// # Errors
/// A [`Fault`] that names line and column.
pub fn taxonomy(text: &str) -> Result<Taxonomy, Fault> {
    Taxonomy::parse(text).map_err(|error| {
        let (line, column) = (error.line, error.column);
        let problem = &error.problem;
        let message = format!("line {line}, column {column}: {problem}");
        Fault::field("TAXONOMY_INVALID", "taxonomy", message)
            .with("line", line.to_string())
            .with("column", column.to_string())
    })
}

/// An explanation as protobuf; what is known of a stored article is the caller's to add.
pub fn explanation(explanation: Explanation, taxonomy: &Taxonomy) -> proto::ExplainRoutingResponse {
    let own_count = explanation.route.own_count;
    proto::ExplainRoutingResponse {
        topics: texts(&explanation.route.topics),
        own_topic_count: u32::try_from(own_count).expect("at most 64 topics"),
        explanations: explanation.topics.into_iter().map(topic).collect(),
        threshold: taxonomy.settings().threshold,
        stored_topics: Vec::new(),
        stored_reasons: Vec::new(),
        taxonomy_version: taxonomy.version().to_owned(),
    }
}

fn topic(explanation: TopicExplanation) -> proto::TopicExplanation {
    let verdict = match explanation.verdict {
        Verdict::Routed => proto::Verdict::Routed,
        Verdict::BelowThreshold => proto::Verdict::BelowThreshold,
        Verdict::Outweighed => proto::Verdict::Outweighed,
        Verdict::Yields => proto::Verdict::Yields,
        Verdict::TooMany => proto::Verdict::TooMany,
    };
    let evidence = explanation.evidence.into_iter();
    proto::TopicExplanation {
        topic: explanation.topic.to_string(),
        verdict: verdict.into(),
        points: explanation.points,
        evidence: evidence
            .map(|(evidence, points)| proto::Evidence {
                kind: Some(kind(evidence)),
                points,
            })
            .collect(),
        remedy: explanation.remedy,
    }
}

fn kind(evidence: Evidence) -> Kind {
    match evidence {
        Evidence::Named(name) => Kind::Named(name.to_string()),
        Evidence::Subject(code) => Kind::Subject(code),
        Evidence::Inherited => Kind::Inherited(true),
        Evidence::Rest => Kind::Rest(true),
        Evidence::Phrase(evidence) => Kind::Phrase(phrase(evidence)),
        Evidence::Rule(name, phrases) => Kind::Rule(proto::RuleEvidence {
            name,
            phrases: phrases.into_iter().map(phrase).collect(),
        }),
        Evidence::Descendant(topic) => Kind::Descendant(topic.to_string()),
    }
}

fn phrase(evidence: PhraseEvidence) -> proto::PhraseEvidence {
    let places = evidence.places.into_iter();
    proto::PhraseEvidence {
        phrase: evidence.phrase,
        places: places
            .map(|place| proto::PhrasePlace {
                field: place.field.to_owned(),
                offset: u32::try_from(place.offset).expect("texts are far below 4 GiB"),
                text: place.text,
            })
            .collect(),
    }
}
