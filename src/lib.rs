//! Barid.
pub mod article;
pub mod cli;
pub mod config;
pub mod cursor;
pub mod fault;
pub mod filter;
pub mod routing;
pub mod topic;
pub mod wire;
