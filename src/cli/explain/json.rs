//! An explanation as `--output json` prints it.

use serde::Serialize;

use crate::{
    cli::explain::{context::Fields, show::Subject},
    wire::proto::v1::{self as proto, evidence::Kind},
};

/// Columns of a phrase with the words around it.
const CONTEXT_COLUMNS: usize = 80;

/// One explained article.
#[derive(Serialize)]
pub struct ExplainedJson<'a> {
    result: &'static str,
    /// Where the article stands, or the id or uri that was asked for.
    place: &'a str,
    id: &'a str,
    uri: &'a str,
    language: &'a str,
    headline: &'a str,
    taxonomy_version: &'a str,
    threshold: i32,
    topics: &'a [String],
    own_topics: &'a [String],
    inherited_topics: &'a [String],
    /// Of a story that is stored, also under the file's uri: where its newest revision went.
    stored: Vec<StoredJson<'a>>,
    explanations: Vec<TopicJson<'a>>,
}

#[derive(Serialize)]
struct StoredJson<'a> {
    topic: &'a str,
    reason: &'a str,
}

#[derive(Serialize)]
struct TopicJson<'a> {
    topic: &'a str,
    verdict: &'static str,
    points: i32,
    evidence: Vec<EvidenceJson<'a>>,
    remedy: Option<&'a str>,
}

#[derive(Serialize)]
struct EvidenceJson<'a> {
    points: i32,
    #[serde(flatten)]
    kind: KindJson<'a>,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum KindJson<'a> {
    Named {
        name: &'a str,
    },
    Subject {
        code: &'a str,
    },
    Inherited,
    Phrase {
        #[serde(flatten)]
        phrase: PhraseJson<'a>,
    },
    Rule {
        name: &'a str,
        phrases: Vec<PhraseJson<'a>>,
    },
    Descendant {
        topic: &'a str,
    },
    Rest,
    /// Of a newer server.
    Unknown,
}

#[derive(Serialize)]
struct PhraseJson<'a> {
    phrase: &'a str,
    places: Vec<PlaceJson<'a>>,
}

#[derive(Serialize)]
struct PlaceJson<'a> {
    field: &'a str,
    offset: u32,
    before: String,
    text: &'a str,
    after: String,
}

impl<'a> ExplainedJson<'a> {
    /// The object of an explained article.
    pub fn of(subject: &'a Subject<'a>) -> Self {
        let Subject {
            article, explained, ..
        } = subject;
        let (own, inherited) = subject.topics();
        let stored = explained.stored_topics.iter();
        let reasons = explained.stored_reasons.iter().map(String::as_str);
        Self {
            result: "explained",
            place: subject.name,
            id: &article.id,
            uri: &article.uri,
            language: &article.language,
            headline: &article.headline,
            taxonomy_version: &explained.taxonomy_version,
            threshold: explained.threshold,
            topics: &explained.topics,
            own_topics: own,
            inherited_topics: inherited,
            stored: stored
                .zip(reasons.chain(std::iter::repeat("")))
                .map(|(topic, reason)| StoredJson { topic, reason })
                .collect(),
            explanations: (explained.explanations.iter())
                .map(|explanation| topic(explanation, subject.fields))
                .collect(),
        }
    }
}

fn topic<'a>(explanation: &'a proto::TopicExplanation, fields: &Fields) -> TopicJson<'a> {
    let remedy = &*explanation.remedy;
    TopicJson {
        topic: &explanation.topic,
        verdict: match explanation.verdict() {
            proto::Verdict::Unspecified => "unspecified",
            proto::Verdict::Routed => "routed",
            proto::Verdict::BelowThreshold => "below_threshold",
            proto::Verdict::Outweighed => "outweighed",
            proto::Verdict::Yields => "yields",
            proto::Verdict::TooMany => "too_many",
        },
        points: explanation.points,
        evidence: (explanation.evidence.iter())
            .map(|evidence| EvidenceJson {
                points: evidence.points,
                kind: kind(evidence.kind.as_ref(), fields),
            })
            .collect(),
        remedy: (!remedy.is_empty()).then_some(remedy),
    }
}

fn kind<'a>(kind: Option<&'a Kind>, fields: &Fields) -> KindJson<'a> {
    match kind {
        Some(Kind::Named(name)) => KindJson::Named { name },
        Some(Kind::Subject(code)) => KindJson::Subject { code },
        Some(Kind::Inherited(_)) => KindJson::Inherited,
        Some(Kind::Phrase(evidence)) => KindJson::Phrase {
            phrase: phrase(evidence, fields),
        },
        Some(Kind::Rule(rule)) => KindJson::Rule {
            name: &rule.name,
            phrases: rule.phrases.iter().map(|one| phrase(one, fields)).collect(),
        },
        Some(Kind::Descendant(topic)) => KindJson::Descendant { topic },
        Some(Kind::Rest(_)) => KindJson::Rest,
        None => KindJson::Unknown,
    }
}

fn phrase<'a>(evidence: &'a proto::PhraseEvidence, fields: &Fields) -> PhraseJson<'a> {
    let places = evidence.places.iter().map(|place| {
        let context = fields.around(place, CONTEXT_COLUMNS);
        PlaceJson {
            field: &place.field,
            offset: place.offset,
            before: context.before,
            text: &place.text,
            after: context.after,
        }
    });
    PhraseJson {
        phrase: &evidence.phrase,
        places: places.collect(),
    }
}
