//! All durable subscriptions that a node knows of, by partner and name: how many a partner has is the
//! length of its own map, so that no count beside it can be wrong.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Included, Unbounded},
};

use crate::{
    access::partner::PartnerName,
    recipient::subscription::{SubscriptionId, SubscriptionName},
    wire::log::subscriptions::KeptSubscription,
};

/// Durable subscriptions in the order of their ids; no partner's map is empty.
#[derive(Debug, Default)]
pub struct Kept(BTreeMap<Option<PartnerName>, BTreeMap<SubscriptionName, KeptSubscription>>);

impl Kept {
    /// The one of that id.
    pub fn get(&self, id: &SubscriptionId) -> Option<&KeptSubscription> {
        self.0.get(&id.partner)?.get(&id.name)
    }

    /// Takes over a state; returns the one before.
    pub fn insert(&mut self, kept: KeptSubscription) -> Option<KeptSubscription> {
        let SubscriptionId { partner, name } = kept.id.clone();
        self.0.entry(partner).or_default().insert(name, kept)
    }

    /// Forgets one; returns its state.
    pub fn remove(&mut self, id: &SubscriptionId) -> Option<KeptSubscription> {
        let own = self.0.get_mut(&id.partner)?;
        let removed = own.remove(&id.name);
        if own.is_empty() {
            self.0.remove(&id.partner);
        }
        removed
    }

    /// How many a partner has.
    pub fn count(&self, partner: &Option<PartnerName>) -> usize {
        self.0.get(partner).map_or(0, BTreeMap::len)
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &KeptSubscription> {
        self.0.values().flat_map(BTreeMap::values)
    }

    /// Those that come after one, of a partner or of all.
    pub fn after(
        &self,
        partner: Option<&Option<PartnerName>>,
        after: Option<&SubscriptionId>,
    ) -> impl Iterator<Item = &KeptSubscription> {
        let partners = match (partner, after) {
            (Some(only), _) => (Included(only), Included(only)),
            (None, Some(after)) => (Included(&after.partner), Unbounded),
            (None, None) => (Unbounded, Unbounded),
        };
        let reached = self.0.range(partners);
        let reached = reached.filter(move |(one, _)| after.is_none_or(|id| **one >= id.partner));
        reached.flat_map(move |(one, own)| {
            let last = after.filter(|id| id.partner == *one);
            let begin = last.map_or(Unbounded, |id| Excluded(&id.name));
            own.range((begin, Unbounded)).map(|(_, kept)| kept)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{
        cursor::Cursor,
        filter::Filter,
        recipient::subscription::{Opening, Subscription, Token},
    };

    fn id() -> impl Strategy<Value = SubscriptionId> {
        let id = "(_|a|b-c)\\.[a-c]";
        id.prop_map(|text| text.parse().unwrap())
    }

    fn kept(id: SubscriptionId, revision: u64) -> KeptSubscription {
        let opening = Opening {
            token: Token::default(),
            node: String::new(),
            now: 0,
        };
        let cursor: Cursor = "abcdefgh-1".parse().unwrap();
        KeptSubscription {
            id,
            subscription: Subscription::new(Filter::default(), cursor, opening),
            revision,
        }
    }

    proptest! {
        /// It finds, counts and lists what one flat map does.
        #[test]
        fn agrees_with_a_flat_map(
            steps in vec((id(), any::<bool>()), 0..40),
            partner in proptest::option::of(id()),
            after in proptest::option::of(id()),
        ) {
            let (mut by_partner, mut flat) = (Kept::default(), BTreeMap::new());
            for (revision, (id, is_put)) in (0..).zip(steps) {
                let (former, expected) = if is_put {
                    let kept = kept(id.clone(), revision);
                    (by_partner.insert(kept), flat.insert(id.clone(), revision))
                } else {
                    (by_partner.remove(&id), flat.remove(&id))
                };
                prop_assert_eq!(former.map(|kept| kept.revision), expected);
                let known = by_partner.get(&id).map(|kept| kept.revision);
                prop_assert_eq!(known, flat.get(&id).copied());
                let own = flat.keys().filter(|one| one.partner == id.partner);
                prop_assert_eq!(by_partner.count(&id.partner), own.count());
            }
            let revisions = |kept: Vec<&KeptSubscription>| -> Vec<u64> {
                kept.iter().map(|kept| kept.revision).collect()
            };
            let all: Vec<u64> = flat.values().copied().collect();
            prop_assert_eq!(revisions(by_partner.all().collect()), all);
            let partner = partner.map(|id| id.partner);
            let wanted = flat.iter().filter(|(id, _)| {
                partner.as_ref().is_none_or(|partner| id.partner == *partner)
                    && after.as_ref().is_none_or(|after| *id > after)
            });
            let listed = by_partner.after(partner.as_ref(), after.as_ref()).collect();
            let wanted: Vec<u64> = wanted.map(|(_, revision)| *revision).collect();
            prop_assert_eq!(revisions(listed), wanted);
        }
    }
}
