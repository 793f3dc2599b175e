//! Nodes: who is there to work webhooks, and which of them works which.
//!
//! Clocks of nodes are never compared. Each node says now and then that it is there; who has not been
//! heard for [`DEAD_AFTER`] is dead to whoever listens. A node itself stops after [`LEASE`] without
//! having said so, which is less, and is counted from before it said it: it stops before anybody takes
//! over.

use std::{collections::BTreeMap, time::Duration};

use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::webhook::WebhookId;

/// Time between two words of a node.
pub const BEAT: Duration = Duration::from_secs(1);
/// How long a node works after it last began to say that it is there.
pub const LEASE: Duration = Duration::from_secs(5);
/// After how long without a word a node is dead.
pub const DEAD_AFTER: Duration = Duration::from_secs(6);
/// After how long without hearing itself a node judges nobody: it hears nobody else, either.
const DEAF_AFTER: Duration = Duration::from_secs(3);
/// After how long a dead node is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// What a node knows of all nodes.
#[derive(Debug)]
pub struct Nodes {
    me: String,
    /// When each was heard last.
    heard: BTreeMap<String, Instant>,
    /// Since when this node has heard without a break; none = it never has.
    listening_since: Option<Instant>,
}

impl Nodes {
    /// A node that has heard nobody.
    pub fn new(me: String) -> Self {
        Self {
            me,
            heard: BTreeMap::new(),
            listening_since: None,
        }
    }

    /// A node has said that it is there.
    pub fn heard(&mut self, node: &str, now: Instant) {
        if node == self.me {
            let last = self.heard.get(node);
            if last.is_none_or(|last| now.duration_since(*last) >= DEAF_AFTER) {
                self.listening_since = Some(now);
            }
        }
        self.heard.insert(node.to_owned(), now);
    }

    /// A node has said good-bye.
    pub fn left(&mut self, node: &str) {
        self.heard.remove(node);
    }

    /// Whether a node is surely dead: it was not heard for long enough by a node that would have.
    pub fn is_dead(&self, node: &str, now: Instant) -> bool {
        let is_silent = |heard: &Instant| now.duration_since(*heard) >= DEAD_AFTER;
        node != self.me && self.hears(now) && self.heard.get(node).is_none_or(is_silent)
    }

    /// Whether this node has heard for long enough to judge others.
    fn hears(&self, now: Instant) -> bool {
        let own = self.heard.get(&self.me);
        own.is_some_and(|own| now.duration_since(*own) < DEAF_AFTER)
            && self
                .listening_since
                .is_some_and(|since| now.duration_since(since) >= DEAD_AFTER)
    }

    /// Whether this node is to work a webhook: of those who are there, the one whose name and the
    /// webhook's give the highest number. All find the same, and when one comes or goes only its own
    /// webhooks move.
    pub fn is_mine(&self, id: WebhookId, now: Instant) -> bool {
        let mine = weight(&self.me, id);
        let others = self.heard.keys().filter(|node| **node != self.me);
        let mut there = others.filter(|node| !self.is_dead(node, now));
        !there.any(|node| (weight(node, id), node.as_str()) > (mine, self.me.as_str()))
    }

    /// Nodes that have been dead for long; they are forgotten.
    pub fn buried(&mut self, now: Instant) -> Vec<String> {
        if !self.hears(now) {
            return Vec::new();
        }
        let is_old = |heard: &Instant| now.duration_since(*heard) >= FORGET_AFTER;
        let old = self.heard.extract_if(.., |_, heard| is_old(heard));
        old.map(|(node, _)| node).collect()
    }
}

/// The same on all nodes, and in all releases.
fn weight(node: &str, id: WebhookId) -> u64 {
    let digest = Sha256::digest(format!("{node} {id}").as_bytes());
    let first = digest.first_chunk::<8>().expect("32 bytes");
    u64::from_be_bytes(*first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    /// Nobody is declared dead by a node that was deaf itself, or has just begun to listen.
    #[test]
    fn the_deaf_do_not_judge() {
        let start = Instant::now();
        let mut nodes = Nodes::new("me".to_owned());
        nodes.heard("you", start);
        assert!(
            !nodes.is_dead("you", after(start, 100.0)),
            "never heard itself"
        );
        for second in 0..=5 {
            nodes.heard("me", after(start, f64::from(second)));
        }
        assert!(!nodes.is_dead("you", after(start, 5.9)));
        nodes.heard("me", after(start, 6.0));
        assert!(nodes.is_dead("you", after(start, 6.0)));
        assert!(nodes.is_dead("never", after(start, 6.0)));
        assert!(!nodes.is_dead("me", after(start, 6.0)));
        // An outage: nobody hears anybody.
        assert!(!nodes.is_dead("you", after(start, 9.1)));
        nodes.heard("me", after(start, 20.0));
        assert!(!nodes.is_dead("you", after(start, 20.0)), "just back");
        nodes.heard("you", after(start, 20.5));
        for second in 21..=27 {
            nodes.heard("me", after(start, f64::from(second)));
        }
        assert!(nodes.is_dead("you", after(start, 27.0)));
        for second in 28..=90 {
            nodes.heard("me", after(start, f64::from(second)));
        }
        assert_eq!(nodes.buried(after(start, 90.0)), ["you"]);
    }

    proptest! {
        /// Each webhook has one node; when a node goes, the others keep theirs.
        #[test]
        fn each_webhook_has_one_node(bits in any::<u64>(), count in 1usize..5, gone in 0usize..5) {
            let (id, now) = (WebhookId::from_bits(bits), Instant::now());
            let names: Vec<String> = (0..count).map(|number| format!("node{number}")).collect();
            let workers = |names: &[String]| {
                let all = names.iter().map(|me| {
                    let mut nodes = Nodes::new(me.clone());
                    names.iter().for_each(|node| nodes.heard(node, now));
                    (me.clone(), nodes.is_mine(id, now))
                });
                let mine = all.filter(|(_, is_mine)| *is_mine).map(|(me, _)| me);
                mine.collect::<Vec<String>>()
            };
            let before = workers(&names);
            prop_assert_eq!(before.len(), 1);
            let gone = format!("node{}", gone % count);
            let rest: Vec<String> = names.iter().filter(|name| **name != gone).cloned().collect();
            if !rest.is_empty() && before[0] != gone {
                prop_assert_eq!(workers(&rest), before);
            }
        }
    }
}
