//! Book: all that a node knows of partners and keys.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use crate::{
    access::{
        key::KeyId,
        origin::Origin,
        partner::{Key, PartnerName},
        session::Ended,
        token::Claims,
    },
    fault::{Fault, Kind},
    gate::{budget::Budget, holder::Holder},
    wire::log::partners::KeptPartner,
};

/// Subjects of tokens that are known at a time; with more, those that nobody uses are forgotten,
/// and with them what they have used of their limits.
const SUBJECTS_MAX: usize = 10_000;

/// Partners by name, keys by id.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) partners: BTreeMap<PartnerName, KeptPartner>,
    pub(super) holders: HashMap<KeyId, Arc<Holder>>,
    /// Keys that client certificates stand for, by their SHA-256.
    pub(super) certificates: HashMap<[u8; 32], KeyId>,
    /// What each partner's webhooks have taken.
    pub(super) webhook_bytes: HashMap<PartnerName, Arc<Budget>>,
    /// How many partners list it.
    pub(super) origins: HashMap<Origin, usize>,
    /// Whom tokens are for, each like a key: limits count for each.
    subjects: HashMap<KeyId, Arc<Holder>>,
}

impl Book {
    /// The key of that id.
    pub(super) fn holder(&self, id: KeyId) -> Option<Arc<Holder>> {
        self.holders.get(&id).cloned()
    }

    /// The subject of tokens that is known under that id.
    pub(super) fn subject(&self, id: KeyId) -> Option<Arc<Holder>> {
        self.subjects.get(&id).cloned()
    }

    /// How many streams are open by tokens, of each partner that has any.
    pub(super) fn token_streams(&self) -> HashMap<PartnerName, u32> {
        let mut counts = HashMap::new();
        let busy = self.subjects.values().filter(|holder| holder.streams() > 0);
        for holder in busy {
            *counts.entry(holder.partner().clone()).or_default() += holder.streams();
        }
        counts
    }

    /// Takes over a partner as it is kept now.
    pub(super) fn put(&mut self, kept: KeptPartner) {
        let name = kept.partner.name.clone();
        let partner = Arc::new(kept.partner.clone());
        self.list(&partner.origins);
        self.webhook_bytes.entry(name.clone()).or_default();
        let former = self.partners.insert(name.clone(), kept);
        if let Some(former) = former.map(|former| former.partner) {
            self.strike(&former.origins);
            for key in former.keys {
                self.forget_certificates(&key);
                if !partner.keys.iter().any(|kept| kept.id == key.id)
                    && let Some(holder) = self.holders.remove(&key.id)
                {
                    holder.end();
                }
            }
        }
        for holder in self.subjects.values() {
            if *holder.partner() == name {
                holder.set(&holder.state().key, &partner);
            }
        }
        for key in &partner.keys {
            self.know_certificates(key);
            match self.holders.get(&key.id) {
                Some(holder) if *holder.partner() == name => holder.set(key, &partner),
                // Ids are random: this takes a hand in the bucket.
                Some(_) => tracing::error!(key = %key.id, "a key is another partner's, too"),
                None => {
                    self.holders
                        .insert(key.id, Arc::new(Holder::new(key, &partner, None)));
                }
            }
        }
    }

    /// Forgets a partner; all that is open by its keys ends.
    pub(super) fn remove(&mut self, name: &PartnerName) {
        let Some(former) = self.partners.remove(name) else {
            return;
        };
        self.strike(&former.partner.origins);
        self.webhook_bytes.remove(name);
        let gone = self
            .subjects
            .extract_if(|_, holder| holder.partner() == name);
        for (_, holder) in gone {
            holder.end();
        }
        for key in former.partner.keys {
            self.forget_certificates(&key);
            if let Some(holder) = self.holders.remove(&key.id) {
                holder.end();
            }
        }
    }

    /// Gets to know the subject of a good token.
    pub(super) fn add_subject(&mut self, id: KeyId, claims: Claims) -> Result<Arc<Holder>, Fault> {
        // Another call may have been faster.
        if let Some(holder) = self.subject(id) {
            return Ok(holder);
        }
        let Some(kept) = self.partners.get(&claims.partner) else {
            let message = "the partner that this token names is none here";
            return Err(Fault::new(Kind::Unauthenticated, "TOKEN_INVALID", message));
        };
        let partner = Arc::new(kept.partner.clone());
        if self.subjects.len() >= SUBJECTS_MAX {
            self.subjects
                .retain(|_, holder| Arc::strong_count(holder) > 1);
        }
        if self.subjects.len() >= SUBJECTS_MAX {
            let message = "this node serves as many subjects of tokens as it may; ask another";
            let after = Duration::from_secs(5);
            return Err(Fault::unavailable("NODE_FULL", message, after));
        }
        let key = Key {
            id,
            role: claims.role,
            secrets: Vec::new(),
            created: 0,
            expires: None,
            note: String::new(),
            nkey: None,
            ended_sessions: Ended::default(),
        };
        let holder = Arc::new(Holder::new(&key, &partner, Some(claims.subject)));
        self.subjects.insert(id, Arc::clone(&holder));
        Ok(holder)
    }

    fn list(&mut self, origins: &BTreeSet<Origin>) {
        for origin in origins {
            *self.origins.entry(origin.clone()).or_default() += 1;
        }
    }

    fn strike(&mut self, origins: &BTreeSet<Origin>) {
        for origin in origins {
            if let Some(count) = self.origins.get_mut(origin) {
                *count -= 1;
            }
        }
        self.origins.retain(|_, count| *count > 0);
    }

    fn know_certificates(&mut self, key: &Key) {
        for digest in key.certificates() {
            let digest = *digest.as_bytes();
            let known = self.certificates.entry(digest).or_insert(key.id);
            if *known != key.id {
                // The desk refuses it: this takes two at the same moment.
                tracing::error!(key = %key.id, other = %known, "a certificate stands for two keys");
            }
        }
    }

    fn forget_certificates(&mut self, key: &Key) {
        for digest in key.certificates() {
            if self.certificates.get(digest.as_bytes()) == Some(&key.id) {
                self.certificates.remove(digest.as_bytes());
            }
        }
    }
}
