//! Barid.
pub mod article;
pub mod cursor;
pub mod fault;
pub mod filter;
pub mod ingest;
pub mod routing;
pub mod topic;
pub mod wire;
