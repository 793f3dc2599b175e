//! Audit: who did what, or was refused.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// One line of the audit. It never holds a secret, or news.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The key's id; empty where none was shown, or none that is one.
    pub key: String,
    /// Whose it is, or empty.
    pub partner: String,
    /// From where.
    pub from: Option<IpAddr>,
    /// What, `partner.create`; for a refused call its path.
    pub action: String,
    /// Of what: a partner's name, a key's id, an article's id.
    pub target: String,
    /// `asked` before a change, `done` after a recall, or the reason of a refusal.
    pub outcome: String,
}

/// What an entry says before a change that follows at once.
pub const ASKED: &str = "asked";
/// What an entry says of something that is done.
pub const DONE: &str = "done";
