//! All behaviour tests: a real nats-server and the real binary per test, through public protocols.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::too_many_lines,
    clippy::missing_panics_doc,
    clippy::let_underscore_must_use,
    clippy::cast_possible_truncation,
    clippy::string_slice,
    reason = "a test may panic, look at the clock and be long"
)]

mod access;
mod access_matrix;
mod bad_clusters;
mod bad_input;
mod bursts;
mod certificates;
mod certified;
mod clients;
mod cluster;
mod command_line;
mod cors;
mod dashboard;
mod deafness;
mod deploy;
mod desk_pages;
mod desk_words;
mod durable;
mod durable_batches;
mod durable_model;
mod durable_sse;
mod embargo_cluster;
mod embargoes;
mod epochs;
mod expiring;
mod explaining;
mod feeds;
mod floods;
mod fuzz;
mod harness;
mod http_articles;
mod importing;
mod keys;
mod kills;
mod limits;
mod managed_nats;
mod model;
mod native;
mod native_keys;
mod nats;
mod nats_cluster;
mod ninjs;
mod outages;
mod publishing;
mod raw_log;
mod reading;
mod recalls;
mod recalls_lost;
mod recalls_parked;
mod recalls_past;
mod recalls_text;
mod related;
mod retention;
mod routing;
mod sessions;
mod sse;
mod status;
mod subscribing;
mod tidy;
mod tls;
mod tokens;
mod tracing;
mod web;
mod webhook_limits;
mod webhook_schedules;
mod webhooks;
mod websub;
