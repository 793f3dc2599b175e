//! Barid carries a news agency's wire: articles in by gRPC, every matching revision out, in order,
//! once, on NATS JetStream.
//!
//! # Map
//! Each group imports only from groups to its left:
//!
//! `article topic cursor fault filter access recipient target webhook < routing telemetry < wire < gate <
//! ingest delivery desk < config < server < cli`
//!
//! - [`article`], [`topic`], [`cursor`], [`filter`], [`fault`], [`access`], [`recipient`],
//!   [`target`], [`webhook`]: the words of the domain, their limits, and no I/O. [`recipient`] keeps
//!   what somebody was sent, so that corrections and kills follow it.
//! - [`routing`]: article and taxonomy to topics, a pure function. [`routing::source`] reads a
//!   taxonomy file, [`routing::words`] and [`routing::phrases`] find its phrases in a text,
//!   [`routing::findings`] counts points, [`routing::explain`] says why.
//! - [`telemetry`]: what is measured of a node.
//! - [`wire`]: everything that leaves the process. [`wire::proto`] is generated from `proto/`,
//!   [`wire::convert`] checks every field once, [`wire::record`] is what the log stores,
//!   [`wire::ninjs`] is the JSON of HTTP and of the command line, and [`wire::log`] is the log: group commit, leader reads, the tail, epochs, erasure, retention,
//!   and [`wire::log::embargo`], drafts until their time.
//! - [`gate`]: who a caller is and what it may do now, by key, session, client certificate or token;
//!   follows the partners in the log's bucket.
//! - [`ingest`]: the Publish call.
//! - [`delivery`]: the hub (one reader of the log, a bounded ring of chunks), pages of history,
//!   subscriptions by groups of one filter, [`delivery::durable`] ones that the log keeps, gRPC
//!   frames and server-sent events, reads, feeds, [`delivery::related`], [`delivery::webhooks`], which
//!   also send feeds to who has subscribed to them.
//! - administration in [`desk`].
//! - [`config`]: flags, variables and file to settings.
//! - [`server`]: bind, assemble, supervise, drain; [`server::http`] is the web side:
//!   [`server::http::router`] names its paths, [`server::http::admission`] lets requests in,
//!   [`server::http::dashboard`] is for editors;
//!   [`server::nats`] runs nats-server as a child. Connections of both listeners come by
//!   [`server::incoming`], which asks [`server::door`] who may, and sets [`server::tls`] up.
//! - [`cli`]: the commands, and the benchmarks.
//!
//! # An article's way
//! A request becomes a [`article::Submission`] ([`wire::convert`]). [`ingest`] looks at what the
//! node remembers of the article and the request, decides the next revision, routes it, and makes
//! its group: the history record, a copy per topic, the stored answer ([`wire::log::group`]). The
//! writer commits what is queued as one atomic batch ([`wire::log::batch`]); the log itself refuses
//! a group whose article or request is no longer as it was, and then the leader is asked. The tail
//! ([`wire::log::tail`]) brings the record to every node, where it becomes one [`delivery::Entry`]
//! in the ring, encoded once per protocol for all subscribers. An usher
//! wakes those whose filter wants it; each takes everything up to the ring's end as one shared
//! buffer. Who is behind the ring reads pages of the log, which all share that read the same part.
//!
//! One whose embargo is not over takes the same way up to its record, which becomes a draft
//! ([`wire::record::draft`]) at a place that no reader looks at. Every node knows all drafts and their
//! times ([`wire::log::embargo::keeper`]); whichever is first at the time puts the record into the log
//! with its copies and the draft's end, as one group that the log takes once. From there on it is as
//! any other.
//!
//! # Invariants, and the tests that fail without them
//! 1. **Accepted is durable**: `model`, `outages` (kill -9 of NATS and of the service), `cluster`
//!    (of the leader, a follower, a node), and the configurations (`server::nats`, `deploy`: every
//!    write is synced; `bad_clusters`: a server that does not is told).
//! 2. **All or nothing**: `model` compares every message of the log with what was accepted;
//!    `native::an_uncommitted_batch…` for what readers of NATS see.
//! 3. **Once**: `model` (retries over crashes), `cluster` (over elections), `publishing`.
//! 4. **In order**: `model`, `cluster`, `subscribing`.
//! 5. **Exactly the matching**: `model` and `filter` (against naive matchers), `subscribing`.
//! 6. **No silent loss**: `epochs`, `retention`.
//! 7. **Bounded**: `bad_input` (a subscriber that never reads), `subscribing::stalled`,
//!    `sse::stalled`, `limits` (of connections, addresses, time); `model` with rings that hold little or nothing.
//! 8. **A kill is final**: `kills`, `model`, `feeds`, `http_articles`; for shared buffers the property test of
//!    [`delivery::chunk`].
//! 9. **An embargo holds**: `embargoes` (every read with a draft in the log, crashes of nodes and of
//!    NATS around the time, all of them away, what is left on the disk), `embargo_cluster` (leaders and
//!    nodes lost at the time), `model` (drafts between all other steps), and the unit tests of
//!    [`wire::log::embargo::queue`] and [`wire::log::clock`].
//! 10. **Keys bound everything**: `access_matrix` (every call and path with every kind of key, session,
//!     client certificate and token), `access` (grants, revocation within a second on two nodes),
//!     `sessions`, `certified`, `tokens`, `cors`, `floods`, `fuzz`, `keys` (no secret shows).

pub mod access;
pub mod article;
pub mod cli;
pub mod config;
pub mod cursor;
pub mod delivery;
pub mod desk;
pub mod fault;
pub mod filter;
pub mod gate;
pub mod ingest;
pub mod recipient;
pub mod routing;
pub mod server;
pub mod target;
pub mod telemetry;
pub mod topic;
pub mod webhook;
pub mod wire;
