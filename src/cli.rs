//! Subcommands.
pub mod ninjs;
