//! Topic: a path in the taxonomy; which topics cover which.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// Most tokens in a topic.
pub const TOKENS_MAX: usize = 8;
/// Most bytes in a topic.
pub const TOPIC_BYTES_MAX: usize = 128;

/// A path in the taxonomy, `ict.cybersecurity`: 1 to 8 tokens of `[a-z0-9-]` joined by dots, at
/// most 128 bytes. Safe as a NATS subject as it stands.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Topic(Arc<str>);

/// Why a text is not a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a topic is 1 to 8 tokens of a-z, 0-9 and '-' joined by dots, at most 128 bytes")]
pub struct TopicError;

impl Topic {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this topic is `other` or an ancestor of it.
    pub fn covers(&self, other: &Topic) -> bool {
        other
            .0
            .strip_prefix(&*self.0)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

impl FromStr for Topic {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        let token_is_good = |token: &str| {
            !token.is_empty()
                && token
                    .bytes()
                    .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        };
        let good = text.len() <= TOPIC_BYTES_MAX
            && text.split('.').all(token_is_good)
            && text.split('.').count() <= TOKENS_MAX;
        if good {
            Ok(Self(text.into()))
        } else {
            Err(TopicError)
        }
    }
}

impl TryFrom<String> for Topic {
    type Error = TopicError;

    fn try_from(text: String) -> Result<Self, TopicError> {
        text.parse()
    }
}

impl From<Topic> for String {
    fn from(topic: Topic) -> Self {
        topic.as_str().to_owned()
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
