//! The taxonomy: which topics there are, their names, and the IPTC codes that lead to them.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use crate::topic::{Topic, TopicError};

/// Where a story goes that belongs nowhere else.
pub const GENERAL: &str = "general";

/// The built-in taxonomy's source.
const BUILT_IN: &str = include_str!("taxonomy.toml");

/// All topics that publishers may name.
#[derive(Clone, Debug)]
pub struct Taxonomy {
    entries: Vec<Entry>,
    by_topic: HashMap<Topic, usize>,
    by_subject: HashMap<String, Vec<Topic>>,
    general: Topic,
}

/// One topic of the taxonomy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path.
    pub topic: Topic,
    /// Name per language.
    pub names: BTreeMap<String, String>,
    /// IPTC media topic codes, eight digits each.
    pub subjects: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    names: BTreeMap<String, String>,
    #[serde(default)]
    subjects: Vec<String>,
}

/// Why a text is not a taxonomy.
#[derive(Debug, thiserror::Error)]
pub enum TaxonomyError {
    /// Not TOML of the expected shape; the cause names line and column.
    #[error("the taxonomy is not readable")]
    Syntax(#[from] toml::de::Error),
    /// A key that is not a topic.
    #[error("the taxonomy names {path:?}")]
    Path {
        /// The key.
        path: String,
        /// What is wrong with it.
        source: TopicError,
    },
    /// A child without its parent.
    #[error("the taxonomy has {path} but not its parent {parent}")]
    Orphan {
        /// The child.
        path: String,
        /// What is missing.
        parent: String,
    },
    /// A code that is not one.
    #[error("the taxonomy gives {path} the subject {code:?}; a media topic code has eight digits")]
    Code {
        /// The topic.
        path: String,
        /// The code.
        code: String,
    },
    /// Nowhere to put the rest.
    #[error("the taxonomy lacks the topic general")]
    NoGeneral,
}

impl Taxonomy {
    /// The taxonomy that comes with Barid.
    pub fn built_in() -> Self {
        Self::parse(BUILT_IN).expect("the built-in taxonomy is tested")
    }

    /// Reads a taxonomy: a TOML table per topic, with `names` and `subjects`.
    ///
    /// # Errors
    /// [`TaxonomyError`] names the place and the remedy.
    pub fn parse(text: &str) -> Result<Self, TaxonomyError> {
        let source: BTreeMap<String, Source> = toml::from_str(text)?;
        let general = GENERAL.parse().expect("general is a topic");
        let mut taxonomy = Self {
            entries: vec![],
            by_topic: HashMap::new(),
            by_subject: HashMap::new(),
            general,
        };
        // A map's order puts parents before their children: a prefix sorts first.
        for (path, Source { names, subjects }) in source {
            let topic: Topic = path.parse().map_err(|source| TaxonomyError::Path {
                path: path.clone(),
                source,
            })?;
            if let Some((parent, _)) = path.rsplit_once('.')
                && !taxonomy
                    .by_topic
                    .keys()
                    .any(|known| known.as_str() == parent)
            {
                let parent = parent.to_owned();
                return Err(TaxonomyError::Orphan { path, parent });
            }
            for code in &subjects {
                if media_topic_code(code) != Some(code) {
                    return Err(TaxonomyError::Code {
                        path,
                        code: code.clone(),
                    });
                }
                taxonomy
                    .by_subject
                    .entry(code.clone())
                    .or_default()
                    .push(topic.clone());
            }
            taxonomy
                .by_topic
                .insert(topic.clone(), taxonomy.entries.len());
            taxonomy.entries.push(Entry {
                topic,
                names,
                subjects,
            });
        }
        if taxonomy.contains(&taxonomy.general) {
            Ok(taxonomy)
        } else {
            Err(TaxonomyError::NoGeneral)
        }
    }

    /// Whether it has this topic.
    pub fn contains(&self, topic: &Topic) -> bool {
        self.by_topic.contains_key(topic)
    }

    /// The topic for the rest.
    pub fn general(&self) -> &Topic {
        &self.general
    }

    /// The topics that an IPTC media topic code leads to.
    pub fn of_subject(&self, code: &str) -> &[Topic] {
        self.by_subject.get(code).map_or(&[], Vec::as_slice)
    }

    /// Every topic, parents before children.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The known topic whose path is nearest to a text.
    pub fn nearest(&self, text: &str) -> &Topic {
        let likeness = |entry: &&Entry| {
            let path = entry.topic.as_str();
            let last = path.rsplit('.').next().unwrap_or(path);
            // A bare last token, `cybersecurity`, means the path that ends in it.
            strsim::jaro_winkler(text, path).max(strsim::jaro_winkler(text, last))
        };
        self.entries
            .iter()
            .max_by(|one, other| likeness(one).total_cmp(&likeness(other)))
            .map_or(&self.general, |entry| &entry.topic)
    }
}

/// The eight digits of an IPTC media topic code, with or without its `medtop:` prefix.
pub fn media_topic_code(text: &str) -> Option<&str> {
    let digits = text.strip_prefix("medtop:").unwrap_or(text);
    (digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(digits)
}
