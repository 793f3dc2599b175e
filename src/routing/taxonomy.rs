//! The taxonomy: which topics there are, their names, and what leads to them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, RwLock},
};

use sha2::{Digest as _, Sha256};

use crate::{
    routing::{
        findings::Zone,
        phrases::Phrasebook,
        source::{self, TaxonomyError},
    },
    topic::Topic,
};

/// Where a story goes that belongs nowhere else.
pub const GENERAL: &str = "general";
/// Most topics of a taxonomy, aliases included.
pub const TAXONOMY_TOPICS_MAX: usize = 4096;
/// Most bytes of a taxonomy's text.
pub const TAXONOMY_BYTES_MAX: usize = 1024 * 1024;

/// The built-in taxonomy's source.
pub const BUILT_IN: &str = include_str!("taxonomy.toml");

/// All topics, and everything that leads to them.
#[derive(Clone, Debug)]
pub struct Taxonomy {
    pub(super) version: String,
    pub(super) entries: Vec<Entry>,
    pub(super) by_topic: HashMap<Topic, usize>,
    pub(super) by_subject: HashMap<String, Vec<Topic>>,
    /// Each alias, with what it means in the end.
    pub(super) aliases: BTreeMap<Topic, Topic>,
    pub(super) general: Topic,
    pub(super) settings: Settings,
    pub(super) phrasebook: Phrasebook,
    pub(super) rules: Vec<Rule>,
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
    /// The topics above it, nearest first.
    pub(super) ancestors: Vec<usize>,
}

/// How points are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Points from which the text alone leads to a topic.
    pub threshold: i32,
    /// A topic with fewer points than this percentage of the strongest topic's is left out.
    pub share_percent: i32,
    /// Words of the body that are its lead.
    pub lead_words: usize,
    /// Weight of a phrase in headline, deck, lead and body.
    pub weights: [i32; 4],
    /// Most that the places of one phrase weigh together.
    pub weight_max: i32,
    /// Points of a hint.
    pub hint: i32,
}

impl Settings {
    /// What a phrase weighs in a zone.
    pub fn weight(&self, zone: Zone) -> i32 {
        let [headline, deck, lead, body] = self.weights;
        match zone {
            Zone::Headline => headline,
            Zone::Deck => deck,
            Zone::Lead => lead,
            Zone::Body => body,
        }
    }
}

/// A topic that follows from several things together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// For people.
    pub name: String,
    /// The topics that it is about.
    pub topics: Vec<usize>,
    /// Points that it gives to each; less than 0 speaks against them.
    pub points: i32,
    /// Groups of phrases, and how many different ones of each the text must have.
    pub all: Vec<(usize, usize)>,
    /// Groups of which the text must have none.
    pub none: Vec<usize>,
    /// Where it looks: there and in weightier parts.
    pub within: Zone,
}

impl Taxonomy {
    /// The taxonomy that comes with Barid.
    pub fn built_in() -> Self {
        Self::parse(BUILT_IN).expect("the built-in taxonomy is tested")
    }

    /// Reads a taxonomy file's text, at most 1 MiB. `taxonomy.toml`, the built-in one, explains the
    /// format.
    ///
    /// # Errors
    /// [`TaxonomyError`] names line, column and the remedy.
    pub fn parse(text: &str) -> Result<Self, TaxonomyError> {
        source::parse(text)
    }

    /// The beginning of its text's SHA-256: 12 hex digits, the same wherever routing is.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Whether it has this topic, not counting aliases.
    pub fn contains(&self, topic: &Topic) -> bool {
        self.by_topic.contains_key(topic)
    }

    /// The topic that a path means: itself, or what it is an alias of.
    pub fn resolve<'a>(&'a self, topic: &'a Topic) -> Option<&'a Topic> {
        if self.contains(topic) {
            Some(topic)
        } else {
            self.aliases.get(topic)
        }
    }

    /// Every alias, with the topic that it means.
    pub fn aliases(&self) -> &BTreeMap<Topic, Topic> {
        &self.aliases
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

    /// Where a topic stands among the entries.
    pub fn number(&self, topic: &Topic) -> Option<usize> {
        self.by_topic.get(topic).copied()
    }

    /// The topics above one, by their places among the entries.
    pub fn ancestors(&self, number: usize) -> impl Iterator<Item = usize> {
        self.entries[number].ancestors.iter().copied()
    }

    /// How points are counted.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// All phrases.
    pub fn phrasebook(&self) -> &Phrasebook {
        &self.phrasebook
    }

    /// All rules.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The known topic whose path is nearest to a text.
    pub fn nearest(&self, text: &str) -> &Topic {
        let likeness = |entry: &&Entry| {
            let path = entry.topic.as_str();
            let last = path.rsplit('.').next().unwrap_or(path);
            // Letters that changed places count once, and what begins alike counts most.
            let like = |known: &str| {
                strsim::jaro_winkler(text, known)
                    + strsim::normalized_damerau_levenshtein(text, known)
            };
            // A bare last token, `cybersecurity`, means the path that ends in it.
            like(path).max(like(last))
        };
        self.entries
            .iter()
            .max_by(|one, other| likeness(one).total_cmp(&likeness(other)))
            .map_or(&self.general, |entry| &entry.topic)
    }
}

/// The version of a taxonomy with this text.
pub(super) fn version(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The taxonomy that a node routes by; clones share it, and it can be exchanged at any time.
#[derive(Clone, Debug)]
pub struct LiveTaxonomy(Arc<RwLock<Arc<Taxonomy>>>);

impl LiveTaxonomy {
    /// One that begins with this taxonomy.
    pub fn new(taxonomy: Taxonomy) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(taxonomy))))
    }

    /// The taxonomy of now. Whoever decides something uses one throughout.
    pub fn get(&self) -> Arc<Taxonomy> {
        Arc::clone(&self.0.read().expect("no panic under this lock"))
    }

    /// Exchanges it; what is being routed goes on with the one before.
    pub fn replace(&self, taxonomy: Taxonomy) {
        *self.0.write().expect("no panic under this lock") = Arc::new(taxonomy);
    }
}

/// The eight digits of an IPTC media topic code, with or without its `medtop:` prefix.
pub fn media_topic_code(text: &str) -> Option<&str> {
    let digits = text.strip_prefix("medtop:").unwrap_or(text);
    (digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(digits)
}
