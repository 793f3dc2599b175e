//! How many files, and so how many connections, the system lets this process have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that the node needs beside its connections: listeners, NATS, the log's, what is read.
const RESERVE: u64 = 128;
/// Most connections unless more are asked for: memory, too, is bounded.
const CONNECTIONS_DEFAULT_MAX: u64 = 100_000;
/// With fewer than these, the log says so even if nobody asked for more.
const CONNECTIONS_FEW: u64 = 1_000;

/// Raises the soft limit of open files to the hard one, and returns how many connections the node
/// takes: those that were asked for, as far as the limit allows; else what it allows, at most
/// 100,000. Says in the log where it is too low.
pub fn connections_max(wanted: Option<u32>) -> usize {
    let fit = raised().map_or(u64::MAX, |files| files.saturating_sub(RESERVE).max(1));
    let max = fitting(wanted, fit);
    if u64::from(wanted.unwrap_or(0)).max(CONNECTIONS_FEW) > fit {
        tracing::warn!(
            connections_max = max,
            "the system lets this process have too few open files; raise its hard limit \
             (ulimit -Hn, LimitNOFILE of systemd)"
        );
    }
    usize::try_from(max).unwrap_or(usize::MAX)
}

fn fitting(wanted: Option<u32>, fit: u64) -> u64 {
    wanted.map_or(CONNECTIONS_DEFAULT_MAX, u64::from).min(fit)
}

/// The limit of open files after it was raised; none = no limit.
fn raised() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return limit.current;
    }
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files can't be raised");
            limit.current
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is asked for holds as far as files allow it.
    #[test]
    fn fits() {
        assert_eq!(fitting(None, 896), 896);
        assert_eq!(fitting(None, u64::MAX), CONNECTIONS_DEFAULT_MAX);
        assert_eq!(fitting(Some(10), 896), 10);
        assert_eq!(fitting(Some(200_000), u64::MAX), 200_000);
        assert_eq!(fitting(Some(200_000), 896), 896);
    }
}
