//! Access: who may do what. Partners, their grants and keys, as they are kept; no I/O.

pub mod audit;
pub mod author;
pub mod key;
pub mod partner;
pub mod scope;
pub mod session;
