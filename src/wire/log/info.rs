//! What the leader says of the stream, and no other server.

use async_nats::jetstream::{response::Response, stream::Info};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::wire::{
    log::{Log, READ_PATIENCE, RETRY_PAUSE, ReadError, clock::Reading, unavailable},
    subject,
};

/// The state of the stream, and when that was: the client passes over the second.
#[derive(Deserialize)]
struct Stamped {
    ts: Timestamp,
    #[serde(flatten)]
    info: Info,
}

impl Log {
    /// The stream as its leader has it: last sequence, settings, replicas.
    pub(super) async fn info(&self) -> Result<Info, ReadError> {
        let deadline = Instant::now() + READ_PATIENCE;
        loop {
            let asked = Instant::now();
            let subject = format!("STREAM.INFO.{}", subject::STREAM);
            let answer = self.0.connection.context.request(subject, &json!({})).await;
            let Stamped { ts, info } = match answer.map_err(unavailable)? {
                Response::Ok(stamped) => stamped,
                Response::Err { error } => return Err(unavailable(error)),
            };
            if is_of_leader(&info) {
                self.0.clock.set(Reading {
                    asked,
                    answered: Instant::now(),
                    time_ns: ts.as_nanosecond(),
                });
                return Ok(info);
            }
            if Instant::now() + RETRY_PAUSE >= deadline {
                return Err(ReadError::Unavailable(None));
            }
            sleep(RETRY_PAUSE).await;
        }
    }
}

/// Whether the leader has given this answer.
///
/// Others answer too, with the state that they happen to have: nats-server lets the server that a
/// stream was first placed on do so for 10 s after each of its starts, "if this group is new and we
/// are preferred" (2.15.1, `jsStreamInfoRequest`), and every server while it knows of no leader. Taken
/// for the leader's word, such an answer is a loss of the log's newest part (measured: once in 21
/// restarts under publishing). A server leaves itself out of the replicas that it lists; so the leader
/// is the one whose list lacks the leader, and has the others.
pub(super) fn is_of_leader(info: &Info) -> bool {
    if info.config.num_replicas <= 1 {
        return true;
    }
    info.cluster.as_ref().is_some_and(|cluster| {
        let leader = cluster.leader.as_ref();
        leader.is_some_and(|leader| {
            !cluster.replicas.is_empty() && cluster.replicas.iter().all(|one| one.name != *leader)
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn info(replicas: u8, cluster: &Value) -> Info {
        serde_json::from_value(json!({
            "config": {
                "name": "BARID", "subjects": ["log.>"], "retention": "limits", "discard": "new",
                "storage": "file", "num_replicas": replicas, "max_consumers": -1, "max_msgs": -1,
                "max_bytes": -1, "max_age": 0, "max_msg_size": -1, "duplicate_window": 0,
            },
            "created": "2026-01-01T00:00:00Z",
            "ts": "2026-01-01T00:00:00Z",
            "state": {
                "messages": 0, "bytes": 0, "first_seq": 1, "last_seq": 0, "consumer_count": 0,
                "first_ts": "2026-01-01T00:00:00Z", "last_ts": "2026-01-01T00:00:00Z",
            },
            "cluster": cluster,
        }))
        .unwrap()
    }

    fn peers(names: &[&str]) -> Vec<Value> {
        let peer = |name| json!({"name": name, "current": true, "active": 1});
        names.iter().map(peer).collect()
    }

    /// The answers that nats-server 2.15.1 gives while a server starts, and those of the leader.
    #[test]
    fn only_the_leader_is_believed() {
        for (replicas, cluster, is_leaders) in [
            (1, json!(null), true),
            (1, json!({"leader": "a"}), true),
            (
                3,
                json!({"leader": "a", "replicas": peers(&["b", "c"])}),
                true,
            ),
            // The leader of a group that has lost a peer for good.
            (3, json!({"leader": "a", "replicas": peers(&["b"])}), true),
            // A follower.
            (
                3,
                json!({"leader": "a", "replicas": peers(&["a", "c"])}),
                false,
            ),
            // A follower that has not joined yet, and takes itself for the leader.
            (3, json!({"leader": "b"}), false),
            // Nobody knows of a leader.
            (3, json!({"replicas": peers(&["a", "b", "c"])}), false),
            (3, json!(null), false),
        ] {
            let info = info(replicas, &cluster);
            assert_eq!(is_of_leader(&info), is_leaders, "{replicas} {cluster}");
        }
    }
}
