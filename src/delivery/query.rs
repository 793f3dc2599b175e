//! Query: what a URL says, with faults that name its parameters.

use std::collections::HashMap;

use http::HeaderMap;
use url::form_urlencoded;

use crate::{
    article::check::shown,
    delivery::start::Beyond,
    fault::{Fault, Violation},
    filter::Filter,
    wire::{
        begin::Begin,
        convert::{self, Start},
        proto::v1 as proto,
    },
};

/// The header by which a client resumes; it wins over `from`.
const LAST_EVENT_ID: &str = "last-event-id";
/// The same as people write it.
const LAST_EVENT_ID_SHOWN: &str = "Last-Event-ID";
/// The parameters of a stream.
const STREAM: [&str; 7] = [
    "topics",
    "languages",
    "urgency",
    "q",
    "from",
    "beyond-grant",
    "subscription",
];
/// Longest query: a filter at its bounds has a third of that.
const QUERY_BYTES_MAX: usize = 8 * 1024;

/// What a stream is asked for.
#[derive(Clone, Debug)]
pub struct Query {
    /// What is wanted.
    pub filter: Filter,
    /// Where it begins.
    pub start: Start,
    /// What becomes of the part that is not granted.
    pub beyond: Beyond,
    /// The name of the durable subscription that it is of, if any.
    pub subscription: Option<String>,
    /// What said where it begins.
    start_name: &'static str,
}

/// The parameters of a URL: a filter's, and others, each given once at most.
#[derive(Clone, Debug, Default)]
pub struct Parameters {
    /// What is wanted, unchecked: `topics` and `languages` (commas between them, or one by one),
    /// `urgency`, and the words of `q`.
    pub filter: proto::Filter,
    others: HashMap<&'static str, String>,
}

impl Parameters {
    /// Reads a query, the text after the question mark, that may have the `known` parameters.
    ///
    /// # Errors
    /// A fault that names the parameter, the rule and the remedy.
    pub fn parse(query: &str, known: &[&'static str]) -> Result<Self, Fault> {
        if query.len() > QUERY_BYTES_MAX {
            let message = format!("the query is longer than {QUERY_BYTES_MAX} bytes");
            return Err(Fault::field("FIELD_INVALID", "query", message));
        }
        let mut parameters = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let Some(name) = known.iter().copied().find(|known| *known == name) else {
                return Err(unknown_parameter(&name, known));
            };
            match name {
                "topics" => parameters.filter.topics.extend(list(&value)),
                "languages" => parameters.filter.languages.extend(list(&value)),
                "q" => parameters.filter.words.extend(words(&value)),
                name => {
                    if parameters.others.insert(name, value.into_owned()).is_some() {
                        let message = "is given more than once; give it once";
                        return Err(Fault::field("FIELD_INVALID", name, message));
                    }
                }
            }
        }
        if let Some(urgency) = parameters.others.remove("urgency") {
            parameters.filter.urgency = number(&urgency)?;
        }
        Ok(parameters)
    }

    /// What a parameter that is not of the filter says.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.others.get(name).map(String::as_str)
    }
}

impl Query {
    /// Reads a stream's query, and the header by which a client resumes.
    ///
    /// # Errors
    /// A fault that names the parameter, the rule and the remedy.
    pub fn parse(query: &str, headers: &HeaderMap) -> Result<Self, Fault> {
        let parameters = Parameters::parse(query, &STREAM)?;
        let wanted = parameters.filter.clone();
        let filter = convert::filter(Some(wanted)).map_err(|fault| named(fault, "from"))?;
        let (start, start_name) = match headers.get(LAST_EVENT_ID) {
            Some(id) if !id.is_empty() => {
                let text = String::from_utf8_lossy(id.as_bytes());
                (resumed(&text)?, LAST_EVENT_ID_SHOWN)
            }
            Some(_) | None => (started(parameters.get("from"))?, "from"),
        };
        Ok(Self {
            filter,
            start,
            beyond: beyond_grant(parameters.get("beyond-grant"))?,
            subscription: parameters.get("subscription").map(str::to_owned),
            start_name,
        })
    }

    /// A fault in the words of this query.
    pub fn named(&self, fault: Fault) -> Fault {
        named(fault, self.start_name)
    }
}

fn beyond_grant(text: Option<&str>) -> Result<Beyond, Fault> {
    match text {
        None | Some("cut") => Ok(Beyond::Cut),
        Some("refuse") => Ok(Beyond::Refuse),
        Some(other) => {
            let message = format!("{} is neither cut nor refuse", shown(other));
            Err(Fault::field("FIELD_INVALID", "beyond-grant", message))
        }
    }
}

fn list(value: &str) -> Vec<String> {
    let parts = value.split(',').map(str::trim);
    parts
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

fn words(value: &str) -> Vec<String> {
    value.split_whitespace().map(str::to_owned).collect()
}

fn unknown_parameter(name: &str, known: &[&str]) -> Fault {
    let nearest = known.iter().copied().max_by(|one, other| {
        let likeness = |known: &str| strsim::normalized_damerau_levenshtein(known, name);
        likeness(one).total_cmp(&likeness(other))
    });
    let message = match nearest {
        Some(nearest) => format!(
            "is not a parameter of this path; is {nearest} meant? It takes {}",
            known.join(", ")
        ),
        None => "is not a parameter of this path, which takes none".to_owned(),
    };
    let shown: String = name.chars().take(64).collect();
    Fault::field("PARAMETER_UNKNOWN", &shown, message)
}

fn number(text: &str) -> Result<u32, Fault> {
    let number: Option<u32> = text.parse().ok();
    // Zero is how protobuf says that none is given; a query leaves it out.
    number.filter(|number| *number > 0).ok_or_else(|| {
        let message = format!("{} is not 1 (flash) to 9", shown(text));
        Fault::field("FIELD_INVALID", "urgency", message)
    })
}

fn resumed(text: &str) -> Result<Start, Fault> {
    text.parse().map(Start::After).map_err(|error| {
        let message = format!(
            "{} is not a cursor: {error}; send the id of an event of this stream, or none",
            shown(text)
        );
        Fault::field("CURSOR_UNREADABLE", LAST_EVENT_ID_SHOWN, message)
    })
}

fn started(text: Option<&str>) -> Result<Start, Fault> {
    let Some(text) = text else {
        return Ok(Start::Now);
    };
    // A plus sign that was not escaped: no other beginning has a space.
    let text = text.replace(' ', "+");
    let begin: Begin = text.parse().map_err(|error| {
        let message = format!("{} is no beginning: {error}", shown(&text));
        Fault::field("FIELD_INVALID", "from", message)
    })?;
    let start = proto::Start {
        from: Some(begin.0),
    };
    convert::start(Some(start)).map_err(|fault| named(fault, "from"))
}

/// A fault of a gRPC request's fields in the words of a query, where `start_name` says where a
/// stream begins.
pub fn named(fault: Fault, start_name: &'static str) -> Fault {
    let name = |field: &str| {
        let (root, rest) = match field.split_once('[') {
            Some((root, rest)) => (root, format!("[{rest}")),
            None => (field, String::new()),
        };
        let name = match root {
            "filter.topics" => "topics",
            "filter.languages" => "languages",
            "filter.urgency" => "urgency",
            "filter.words" => "q",
            "start.after" | "start.since" | "start.last" => start_name,
            "page_size" => "limit",
            "page_token" => "page",
            "article_id" => "id",
            other => other,
        };
        format!("{name}{rest}")
    };
    let Fault {
        kind,
        reason,
        message,
        violations,
        metadata,
        retry_after,
    } = fault;
    let violations: Vec<Violation> = violations
        .into_iter()
        .map(|violation| Violation {
            field: name(&violation.field),
            wrong: violation.wrong,
        })
        .collect();
    let message = if violations.is_empty() {
        message.replace("start.after", start_name)
    } else {
        Fault::fields(reason, violations.clone()).message
    };
    Fault {
        kind,
        reason,
        message,
        violations,
        metadata,
        retry_after,
    }
}

#[cfg(test)]
mod tests;
