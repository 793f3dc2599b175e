//! What a process has used, by Linux's /proc.

use std::{fs, time::Duration};

use anyhow::Context as _;

/// CPU time of all threads of a process.
///
/// # Errors
/// There is no such process.
pub fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let mut nanos = 0;
    // Nanoseconds on the CPU for each thread, where `stat` has hundredths of a second.
    for task in fs::read_dir(format!("/proc/{pid}/task")).context("the server is gone")? {
        let stat = fs::read_to_string(task?.path().join("schedstat"));
        // A thread may end in between.
        let first = stat.ok().and_then(|stat| {
            let first = stat.split_whitespace().next()?;
            first.parse::<u64>().ok()
        });
        nanos += first.unwrap_or(0);
    }
    Ok(Duration::from_nanos(nanos))
}

/// Resident memory of a process.
///
/// # Errors
/// There is no such process.
pub fn memory_kib(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the server is gone")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.context("/proc has no VmRSS")
}
