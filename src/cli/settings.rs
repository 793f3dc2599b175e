//! `barid serve`'s flags, and `barid config`.

use std::{env, path::PathBuf};

use clap::Subcommand;
use serde::Serialize;

use crate::{
    cli::{BadUse, out},
    config::{self, Serve, Settings, layer::Layer, value::Output},
    routing::taxonomy::Taxonomy,
};

/// Run the service
///
/// Each setting is a flag, a variable (--grpc-listen: BARID_GRPC_LISTEN) and a key of barid.toml
/// (grpc_listen); flags win over variables over the file.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  barid serve\n  barid serve --data-dir /var/lib/barid --retain 90d\n  \
                        barid serve --nats-url nats://a,nats://b,nats://c --replicas 3"
)]
pub struct ServeArgs {
    /// The settings file [default: ./barid.toml if it is there]
    #[arg(long, env = "BARID_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    flags: Layer,
}

impl ServeArgs {
    /// Decides every setting.
    ///
    /// # Errors
    /// What [`config::load`] refuses.
    pub fn load(self, variables: &[(String, String)]) -> anyhow::Result<Serve> {
        Ok(config::load(self.flags, self.config.as_deref(), variables)?.serve)
    }
}

/// Look at the settings
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show each setting, and where its value comes from
    #[command(after_help = "Example:\n  barid config show --retain 30d")]
    Show(Box<ServeArgs>),
    /// Check a settings file and the variables
    #[command(after_help = "Example:\n  barid config check /etc/barid/barid.toml")]
    Check(CheckArgs),
}

/// What to check.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// The settings file [default: ./barid.toml if it is there]
    #[arg(env = "BARID_CONFIG", value_name = "FILE")]
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
            let settings = config::load(Layer::default(), args.file.as_deref(), variables)?;
            check_taxonomy(&settings.serve)?;
            let file = settings.file.map_or_else(
                || "no file; variables and defaults are good".to_owned(),
                |file| format!("{} is good", file.display()),
            );
            out::line(&file)
        }
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

fn check_taxonomy(serve: &Serve) -> anyhow::Result<()> {
    let Some(path) = &serve.taxonomy else {
        return Ok(());
    };
    let bad = |error: &dyn std::error::Error| {
        let cause = error.source().map(|cause| format!(": {cause}"));
        let cause = cause.unwrap_or_default();
        BadUse(format!("taxonomy {}: {error}{cause}", path.display()))
    };
    let text = std::fs::read_to_string(path).map_err(|error| bad(&error))?;
    Taxonomy::parse(&text).map_err(|error| bad(&error))?;
    Ok(())
}
