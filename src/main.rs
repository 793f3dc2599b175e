//! The command `barid`.

use std::process::ExitCode;

use barid::cli::{self, Cli};
use clap::Parser as _;

fn main() -> ExitCode {
    match cli::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => cli::report(&error),
    }
}
