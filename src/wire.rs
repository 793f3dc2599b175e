//! Everything that leaves the process, and in which form.

pub mod begin;
pub mod codec;
pub mod convert;
pub mod event;
pub mod log;
pub mod ninjs;
pub mod outbound;
pub mod peer;
pub mod problem;
pub mod proto;
pub mod record;
pub mod status;
pub mod subject;
