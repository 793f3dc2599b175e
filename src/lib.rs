//! Barid.
pub mod article;
pub mod cli;
pub mod config;
pub mod cursor;
pub mod delivery;
pub mod desk;
pub mod fault;
pub mod filter;
pub mod ingest;
pub mod routing;
pub mod server;
pub mod topic;
pub mod wire;
