//! Partners and keys: how the desk makes, changes and ends them. The log's bucket decides; nodes,
//! this one too, follow it.

use std::time::Duration;

use tokio::time::timeout;

use crate::{
    access::{
        key::{KeyId, Role, Secret, SecretDigest},
        partner::{KEYS_MAX, KeptSecret, Key, NATIVE_MAX, Partner, PartnerName},
        session::Ended,
    },
    fault::{Fault, Kind},
    gate::Gate,
    wire::log::{Log, partners::KeptPartner},
};

/// How often a change that somebody else crossed is tried anew.
const RACES_MAX: usize = 8;
/// How long a node may take to know of a key that was just made.
const MADE: Duration = Duration::from_millis(500);

/// A key to make.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// What it is for.
    pub role: Role,
    /// For people.
    pub note: String,
    /// From when on it lets nobody in, in seconds from 1970; none = never.
    pub expires: Option<i64>,
    /// The client certificate that stands for it, instead of a secret.
    pub certificate: Option<SecretDigest>,
}

/// The partners of a log, as the desk changes them.
#[derive(Clone, Debug)]
pub struct Partners {
    log: Log,
    gate: Gate,
}

impl Partners {
    /// Those of a log; the gate tells the time and whose a key is.
    pub fn new(log: Log, gate: Gate) -> Self {
        Self { log, gate }
    }

    /// The partner of that name.
    ///
    /// # Errors
    /// Missing `PARTNER_UNKNOWN`; unavailable.
    pub async fn get(&self, name: &PartnerName) -> Result<KeptPartner, Fault> {
        let kept = self
            .log
            .partner(name)
            .await
            .map_err(|error| error.fault())?;
        kept.ok_or_else(|| {
            let message = format!("there is no partner {name}");
            Fault::new(Kind::Missing, "PARTNER_UNKNOWN", message)
        })
    }

    /// Makes a partner.
    ///
    /// # Errors
    /// Conflict `PARTNER_EXISTS`; unavailable.
    pub async fn create(&self, partner: Partner) -> Result<KeptPartner, Fault> {
        let kept = self
            .log
            .put_partner(&partner, 0)
            .await
            .map_err(|error| error.fault())?;
        match kept {
            Some(revision) => Ok(KeptPartner { partner, revision }),
            None => {
                let message = format!("there is a partner {} already; change that", partner.name);
                Err(Fault::new(Kind::Exists, "PARTNER_EXISTS", message))
            }
        }
    }

    /// Replaces what a partner may do, over the version that it was read at; its keys stay.
    ///
    /// # Errors
    /// Missing `PARTNER_UNKNOWN`, conflict `PARTNER_CONFLICT`; unavailable.
    pub async fn update(&self, partner: Partner, revision: u64) -> Result<KeptPartner, Fault> {
        let kept = self.get(&partner.name).await?;
        let partner = Partner {
            keys: kept.partner.keys,
            ..partner
        };
        let is_same = kept.revision == revision;
        let put = match is_same {
            true => self
                .log
                .put_partner(&partner, revision)
                .await
                .map_err(|error| error.fault())?,
            false => None,
        };
        let message = "the partner has changed meanwhile; read it and decide again";
        put.map(|revision| KeptPartner { partner, revision })
            .ok_or_else(|| Fault::new(Kind::Conflict, "PARTNER_CONFLICT", message))
    }

    /// Removes a partner and its keys.
    ///
    /// # Errors
    /// Missing `PARTNER_UNKNOWN`; unavailable.
    pub async fn delete(&self, name: &PartnerName) -> Result<(), Fault> {
        for _ in 0..RACES_MAX {
            let kept = self.get(name).await?;
            let removed = self.log.remove_partner(name, kept.revision).await;
            if removed.map_err(|error| error.fault())? {
                return Ok(());
            }
        }
        Err(crossed())
    }

    /// Makes a key; returns it with its secret, which is kept nowhere, and is empty where a client
    /// certificate stands for it.
    ///
    /// # Errors
    /// Missing `PARTNER_UNKNOWN`; precondition `ROLE_NOT_GRANTED`, `KEYS_FULL`; conflict
    /// `CERTIFICATE_TAKEN`; a native key with a certificate; unavailable.
    pub async fn create_key(
        &self,
        name: &PartnerName,
        new: NewKey,
    ) -> Result<(Key, String), Fault> {
        let role = new.role;
        let (key, shown) = match (role, new.certificate) {
            (Role::Native, None) => self.native_key(new)?,
            (Role::Native, Some(_)) => {
                let message = "a native reader shows an nkey to NATS, and no certificate to Barid";
                return Err(Fault::field("FIELD_INVALID", "certificate", message));
            }
            (_, Some(certificate)) => (self.certified_key(new, certificate)?, String::new()),
            (_, None) => self.secret_key(new),
        };
        self.change(name, |partner| {
            if !partner.has(role) {
                let message = format!(
                    "{name} has no grant for keys of the role {}; grant it first (native: topics to \
                     read, in any language)",
                    role.as_str()
                );
                return Err(Fault::new(Kind::Precondition, "ROLE_NOT_GRANTED", message));
            }
            if partner.keys.len() >= KEYS_MAX {
                let message = format!("{name} has {KEYS_MAX} keys; revoke one first");
                return Err(Fault::new(Kind::Precondition, "KEYS_FULL", message));
            }
            partner.keys.push(key.clone());
            Ok(())
        })
        .await?;
        Ok((key, shown))
    }

    fn secret_key(&self, new: NewKey) -> (Key, String) {
        let secret = Secret::new(KeyId::from_bits(rand::random()), rand::random());
        let key = Key {
            expires: new.expires,
            note: new.note,
            ..Key::new(&secret, new.role, self.gate.now())
        };
        (key, secret.reveal().to_owned())
    }

    fn certified_key(&self, new: NewKey, certificate: SecretDigest) -> Result<Key, Fault> {
        let id = KeyId::from_bits(rand::random());
        self.check_certificate(id, &certificate)?;
        Ok(Key {
            id,
            role: new.role,
            secrets: vec![KeptSecret::certificate(certificate)],
            created: self.gate.now(),
            expires: new.expires,
            note: new.note,
            nkey: None,
            ended_sessions: Ended::default(),
        })
    }

    /// That a certificate stands for no other key.
    fn check_certificate(&self, id: KeyId, certificate: &SecretDigest) -> Result<(), Fault> {
        match self.gate.key_of_certificate(certificate.as_bytes()) {
            Some(other) if other != id => {
                let message = format!("this certificate stands for key {other}; revoke that first");
                Err(Fault::new(Kind::Exists, "CERTIFICATE_TAKEN", message))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn native_key(&self, new: NewKey) -> Result<(Key, String), Fault> {
        let partners = self.gate.partners();
        let keys = partners.iter().flat_map(|kept| &kept.partner.keys);
        if keys.filter(|key| key.nkey.is_some()).count() >= NATIVE_MAX {
            let message = format!("there are {NATIVE_MAX} native keys; revoke one first");
            return Err(Fault::new(Kind::Precondition, "KEYS_FULL", message));
        }
        let pair = nkeys::KeyPair::new_user();
        let failed = |_| Fault::new(Kind::Bug, "NKEY_FAILED", "no nkey could be made; try again");
        let seed = pair.seed().map_err(failed)?;
        let key = Key {
            id: KeyId::from_bits(rand::random()),
            role: Role::Native,
            secrets: Vec::new(),
            created: self.gate.now(),
            expires: new.expires,
            note: new.note,
            nkey: Some(pair.public_key()),
            ended_sessions: Ended::default(),
        };
        Ok((key, seed))
    }

    /// Gives a key a new secret, or a new certificate where one stands for it; the one of now stays
    /// good for `overlap`.
    ///
    /// # Errors
    /// Missing `KEY_UNKNOWN`; conflict `CERTIFICATE_TAKEN`; a certificate for a key with a secret, or
    /// none for one without; unavailable.
    pub async fn rotate_key(
        &self,
        id: KeyId,
        overlap: Duration,
        certificate: Option<SecretDigest>,
    ) -> Result<(Key, String), Fault> {
        let name = self.owner(id).await?;
        let (next, shown) = match certificate {
            Some(certificate) => {
                self.check_certificate(id, &certificate)?;
                (KeptSecret::certificate(certificate), String::new())
            }
            None => {
                let secret = Secret::new(id, rand::random());
                (KeptSecret::lasting(&secret), secret.reveal().to_owned())
            }
        };
        let now = self.gate.now();
        let until = now.saturating_add(i64::try_from(overlap.as_secs()).unwrap_or(i64::MAX));
        let mut rotated = None;
        self.change(&name, |partner| {
            let key = partner.keys.iter_mut().find(|key| key.id == id);
            let key = key.ok_or_else(|| unknown(id))?;
            if key.nkey.is_some() {
                let message = "an nkey can't be rotated; make another key, and revoke this one";
                return Err(Fault::new(Kind::Precondition, "KEY_NATIVE", message));
            }
            if (key.certificates().next().is_some()) != next.is_certificate {
                let message = "a key that a client certificate stands for takes the next one, and \
                               another key none";
                return Err(Fault::field("FIELD_INVALID", "certificate", message));
            }
            // Of an earlier rotation: two at most are good at once.
            key.secrets.retain(|kept| kept.expires.is_none());
            for former in &mut key.secrets {
                former.expires = Some(until);
            }
            if overlap.is_zero() {
                key.secrets.clear();
            }
            key.secrets.retain(|kept| kept.digest != next.digest);
            key.secrets.push(next.clone());
            rotated = Some(key.clone());
            Ok(())
        })
        .await?;
        let key = rotated.ok_or_else(|| unknown(id))?;
        Ok((key, shown))
    }

    /// Ends a session of a key before its time, on every node.
    ///
    /// # Errors
    /// Missing `KEY_UNKNOWN`; unavailable.
    pub async fn end_session(&self, id: KeyId, nonce: &str, expires: i64) -> Result<(), Fault> {
        let name = self.owner(id).await?;
        let now = self.gate.now();
        self.change(&name, |partner| {
            let key = partner.keys.iter_mut().find(|key| key.id == id);
            let key = key.ok_or_else(|| unknown(id))?;
            key.ended_sessions.add(nonce, expires, now);
            Ok(())
        })
        .await
    }

    /// Removes a key for good.
    ///
    /// # Errors
    /// Missing `KEY_UNKNOWN`; unavailable.
    pub async fn revoke_key(&self, id: KeyId) -> Result<(), Fault> {
        let name = self.owner(id).await?;
        self.change(&name, |partner| {
            let count = partner.keys.len();
            partner.keys.retain(|key| key.id != id);
            if partner.keys.len() == count {
                Err(unknown(id))
            } else {
                Ok(())
            }
        })
        .await
    }

    /// Whose a key is. One that was just made comes to this node a moment later.
    async fn owner(&self, id: KeyId) -> Result<PartnerName, Fault> {
        let mut changes = self.gate.changes();
        let known = changes.wait_for(|_| self.gate.holder(id).is_some());
        // The time-out says that there is none.
        drop(timeout(MADE, known).await);
        let holder = self.gate.holder(id);
        holder
            .map(|holder| holder.partner().clone())
            .ok_or_else(|| unknown(id))
    }

    async fn change(
        &self,
        name: &PartnerName,
        mut change: impl FnMut(&mut Partner) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        for _ in 0..RACES_MAX {
            let mut kept = self.get(name).await?;
            change(&mut kept.partner)?;
            let put = self.log.put_partner(&kept.partner, kept.revision).await;
            if put.map_err(|error| error.fault())?.is_some() {
                return Ok(());
            }
        }
        Err(crossed())
    }
}

fn unknown(id: KeyId) -> Fault {
    let message = format!("there is no key {id}");
    Fault::new(Kind::Missing, "KEY_UNKNOWN", message)
}

fn crossed() -> Fault {
    let message = "others change this partner at the same time; try again";
    Fault::new(Kind::Conflict, "PARTNER_CONFLICT", message)
}
