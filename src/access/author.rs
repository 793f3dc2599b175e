//! Author: as whom a revision is handed in, and whether it may be.

use crate::{
    access::{key::KeyId, partner::Publishing},
    article::{Action, Article, Language},
    fault::{Fault, Kind},
    topic::Topic,
};

/// Who hands a revision in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// The key, by which request ids are kept apart; none on a node that asks for none.
    pub key: Option<KeyId>,
    /// The partner's name, or empty.
    pub partner: String,
    /// What it may hand in.
    pub publishing: Publishing,
}

/// What stands for a key where there is none.
const ANONYMOUS: &str = "anon";

/// A key as records and subjects name it: by its id, or `anon`.
pub fn key_name(key: Option<KeyId>) -> String {
    key.map_or_else(|| ANONYMOUS.to_owned(), |key| key.to_string())
}

impl Author {
    /// Whoever comes without a key, to a node that asks for none.
    pub fn anyone() -> Self {
        Self {
            key: None,
            partner: String::new(),
            publishing: Publishing::default(),
        }
    }

    /// The key as records and subjects name it.
    pub fn key_name(&self) -> String {
        key_name(self.key)
    }

    /// Whether it may hand in an article of that source.
    ///
    /// # Errors
    /// Forbidden `SOURCE_NOT_GRANTED`.
    pub fn check_source(&self, action: Action, article: &Article) -> Result<(), Fault> {
        // Notices carry none.
        if let Some(source) = &self.publishing.source
            && !action.is_notice()
            && article.source != *source
        {
            let message = format!(
                "article.source is {:?}; this key publishes only as {source:?}",
                article.source
            );
            return Err(forbidden("SOURCE_NOT_GRANTED", message).with("field", "article.source"));
        }
        Ok(())
    }

    /// Whether it may revise an article of that owner and with those topics.
    ///
    /// # Errors
    /// Forbidden `ARTICLE_NOT_OWN`, `TOPIC_NOT_GRANTED`.
    fn check_former(&self, owner: &str, topics: &[Topic]) -> Result<(), Fault> {
        if owner == self.partner {
            return Ok(());
        }
        if self.publishing.is_bound {
            let message = "this key revises only articles that its partner published itself";
            return Err(forbidden("ARTICLE_NOT_OWN", message));
        }
        // A revision goes to all that its article went to; which that is, is for its readers.
        if topics
            .iter()
            .all(|topic| self.publishing.scope.covers(topic))
        {
            return Ok(());
        }
        let message = "the article is also in topics to which this key does not publish; leave it to \
                       others";
        Err(forbidden("TOPIC_NOT_GRANTED", message))
    }

    /// Whether it may read an article of that owner, with those topics and in that language: its own,
    /// and what it may revise of others'.
    ///
    /// # Errors
    /// Forbidden `ARTICLE_NOT_OWN`, `TOPIC_NOT_GRANTED`, `LANGUAGE_NOT_GRANTED`.
    pub fn check_read(
        &self,
        owner: &str,
        topics: &[Topic],
        language: &Language,
    ) -> Result<(), Fault> {
        if owner == self.partner {
            return Ok(());
        }
        self.check_former(owner, topics)?;
        if self.publishing.scope.speaks(language) {
            return Ok(());
        }
        // In which, is for its readers.
        let message = "the article is in a language in which this key does not publish; leave it to \
                       others";
        Err(forbidden("LANGUAGE_NOT_GRANTED", message))
    }

    /// Whether it may publish in a language, to topics of the article's own.
    ///
    /// # Errors
    /// Forbidden `LANGUAGE_NOT_GRANTED`, `TOPIC_NOT_GRANTED`.
    pub fn check_route(&self, language: &Language, own: &[Topic]) -> Result<(), Fault> {
        self.check_language(language)?;
        self.check_topics(own)
    }

    fn check_language(&self, language: &Language) -> Result<(), Fault> {
        if self.publishing.scope.speaks(language) {
            return Ok(());
        }
        let message = format!(
            "article.language is {}, in which this key does not publish",
            language.as_str()
        );
        Err(forbidden("LANGUAGE_NOT_GRANTED", message).with("field", "article.language"))
    }

    fn check_topics(&self, topics: &[Topic]) -> Result<(), Fault> {
        let scope = &self.publishing.scope;
        let Some(topic) = topics.iter().find(|topic| !scope.covers(topic)) else {
            return Ok(());
        };
        let message = format!(
            "the revision would go to {topic}, to which this key does not publish; name other \
             topics in article.topics and leave inference out (ROUTING_STATED), or leave the \
             article to others"
        );
        Err(forbidden("TOPIC_NOT_GRANTED", message).with("topic", topic.to_string()))
    }
}

fn forbidden(reason: &'static str, message: impl Into<String>) -> Fault {
    Fault::new(Kind::Forbidden, reason, message)
}
