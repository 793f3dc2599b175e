//! `barid config`.

use std::{env, path::PathBuf};

use clap::{Subcommand, ValueHint};
use serde::Serialize;

use crate::{
    cli::{
        out,
        serve::{ServeArgs, read_jwks, read_taxonomy, read_tls},
    },
    config::{self, Settings, value::Output},
};

/// Look at the settings of `barid serve`, check them, begin a file of them
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  barid config example > barid.toml\n  barid config check barid.toml\n  \
                        barid config show"
)]
pub enum ConfigCommand {
    /// Show each setting, and where its value comes from
    #[command(
        after_help = "Examples:\n  barid config show\n  barid config show --retain 30d\n  \
                        barid config show --config /etc/barid/barid.toml --output json"
    )]
    Show(Box<ServeArgs>),
    /// Check a settings file and the variables: every problem at once, with line and column
    #[command(
        after_help = "Examples:\n  barid config check\n  barid config check /etc/barid/barid.toml"
    )]
    Check(CheckArgs),
    /// Print a settings file with every setting, explained
    ///
    /// Each line is a comment: unchanged, the file changes nothing.
    #[command(after_help = "Examples:\n  barid config example > barid.toml")]
    Example,
}

/// What to check.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// The settings file [default: ./barid.toml if it is there]
    #[arg(env = "BARID_CONFIG", value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
}

/// A setting as `--output json` prints it.
#[derive(Serialize)]
struct SettingJson<'a> {
    key: &'a str,
    value: Option<&'a str>,
    origin: String,
}

/// The environment, as far as it is text.
pub fn variables() -> Vec<(String, String)> {
    env::vars_os()
        .filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            Some((name, value.to_string_lossy().into_owned()))
        })
        .collect()
}

/// Runs `barid config`.
///
/// # Errors
/// Settings that can't be used.
pub fn config(command: ConfigCommand, variables: &[(String, String)]) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Show(args) => {
            let settings = config::load(args.flags, args.config.as_deref(), variables)?;
            show(&settings)
        }
        ConfigCommand::Check(args) => {
            let settings = config::check(args.file.as_deref(), variables)?;
            if let Some(path) = &settings.serve.taxonomy {
                read_taxonomy(path)?;
            }
            read_tls(&settings.serve)?;
            read_jwks(&settings.serve)?;
            let said = settings.file.map_or_else(
                || "no file; variables and defaults are good".to_owned(),
                |file| format!("{} is good", file.display()),
            );
            out::line(&said)
        }
        ConfigCommand::Example => out::line(config::example::text()?.trim_end()),
    }
}

fn show(settings: &Settings) -> anyhow::Result<()> {
    let width = settings.shown.iter().map(|shown| shown.key.len()).max();
    let width = width.unwrap_or(0);
    let value_width = settings.shown.iter().map(|shown| shown.value.len()).max();
    let value_width = value_width.unwrap_or(0);
    for shown in &settings.shown {
        let (key, value) = (shown.key, shown.value.as_str());
        if settings.serve.output == Output::Json {
            out::json(&SettingJson {
                key,
                value: (!value.is_empty()).then_some(value),
                origin: shown.origin.to_string(),
            })?;
            continue;
        }
        let value = if value.is_empty() { "-" } else { value };
        let origin = &shown.origin;
        out::line(&format!("{key:<width$}  {value:<value_width$}  {origin}"))?;
    }
    Ok(())
}
