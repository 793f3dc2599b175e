//! The command `barid`.

use std::process::ExitCode;

use barid::cli::{self, Cli};
use clap::Parser as _;
use tikv_jemallocator::Jemalloc;

/// By size classes, on pages that it gives back when they have been free for ten seconds.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    match cli::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => cli::report(&error),
    }
}
