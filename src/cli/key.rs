//! `barid key`: what partners show.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum, ValueHint};
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    access::{key::Role, partner::NativeReader},
    cli::{
        BadUse,
        client::{CallError, Client, ClientArgs},
        out,
        printable::printable,
    },
    config::value::{Output, Span},
    server::{
        nats,
        tls::{self, TlsError},
    },
    topic::Topic,
    wire::{
        convert::partner::role_to_proto,
        peer::PeerCertificate,
        proto::v1::{self as proto},
    },
};

/// Make, rotate and revoke the keys of partners
///
/// A key's secret is printed once, when it is made or rotated, and kept nowhere. Takes a key of the
/// role desk.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  barid key add gazette --role subscriber > gazette.key\n  \
                  barid key rotate abcdefghij --overlap 7d\n  barid key revoke abcdefghij"
)]
pub enum KeyCommand {
    /// Make a key, and print it
    #[command(
        after_help = "Examples:\n  barid key add gazette --role subscriber --expires 365d\n  \
                      barid key add bureau --role publisher --note cms\n  \
                      barid key add bureau --role publisher --certificate bureau.crt"
    )]
    Add(AddArgs),
    /// Give a key a new secret, and print it; the former one stays good for a while
    #[command(
        after_help = "Examples:\n  barid key rotate abcdefghij --overlap 7d\n  \
                            barid key rotate abcdefghij --overlap 0s"
    )]
    Rotate(RotateArgs),
    /// End a key for good; its open streams end within a second
    #[command(after_help = "Examples:\n  barid key revoke abcdefghij")]
    Revoke(RevokeArgs),
    /// Print the accounts of native readers, for the configuration of a cluster's nats-servers
    ///
    /// They go into the block `accounts` of each server's configuration, followed by a reload.
    /// Managed NATS has them by itself.
    #[command(after_help = "Examples:\n  barid key nats-accounts > /etc/barid/native.conf")]
    NatsAccounts(NatsAccountsArgs),
}

/// All native readers.
#[derive(Debug, Args)]
pub struct NatsAccountsArgs {
    #[command(flatten)]
    client: ClientArgs,
}

/// A key to make.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// The partner's name
    #[arg(value_name = "PARTNER", value_hint = ValueHint::Other)]
    partner: String,
    /// What it is for; the partner must have a grant for it
    #[arg(long)]
    role: RoleArg,
    /// After how long it lets nobody in, such as 365d [default: never]
    #[arg(long, value_name = "DURATION", value_hint = ValueHint::Other)]
    expires: Option<Span>,
    /// For people: where it is used
    #[arg(long, value_name = "TEXT", default_value = "", value_hint = ValueHint::Other)]
    note: String,
    /// A client certificate (PEM) that stands for it: who has that needs no secret
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    certificate: Option<PathBuf>,
    #[command(flatten)]
    client: ClientArgs,
}

/// A key to rotate.
#[derive(Debug, Args)]
pub struct RotateArgs {
    /// The key's id
    #[arg(value_name = "KEY_ID", value_hint = ValueHint::Other)]
    key_id: String,
    /// How long the former secret stays good, at most 90d
    #[arg(long, value_name = "DURATION", default_value = "24h", value_hint = ValueHint::Other)]
    overlap: Span,
    /// The next client certificate (PEM), for a key that one stands for
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    certificate: Option<PathBuf>,
    #[command(flatten)]
    client: ClientArgs,
}

/// A key to revoke.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// The key's id
    #[arg(value_name = "KEY_ID", value_hint = ValueHint::Other)]
    key_id: String,
    #[command(flatten)]
    client: ClientArgs,
}

/// What a key is for.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleArg {
    /// Hands news in
    Publisher,
    /// Takes news
    Subscriber,
    /// Administers, and may do everything
    Desk,
    /// Reads /metrics and /v1/status
    Monitor,
    /// Reads topics from NATS itself, by an nkey
    Native,
}

/// A key as `--output json` prints it.
#[derive(Serialize)]
pub struct KeyJson<'a> {
    id: &'a str,
    role: &'static str,
    note: &'a str,
    created: Option<String>,
    expires: Option<String>,
    former_secret_expires: Option<String>,
    streams: u32,
    last_used: Option<String>,
    certificates: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
}

/// Runs `barid key`.
///
/// # Errors
/// Bad use, no server, or a refusal.
pub async fn run(command: KeyCommand) -> anyhow::Result<()> {
    match command {
        KeyCommand::Add(args) => add(args).await,
        KeyCommand::Rotate(args) => rotate(args).await,
        KeyCommand::Revoke(args) => revoke(args).await,
        KeyCommand::NatsAccounts(args) => nats_accounts(args).await,
    }
}

async fn add(args: AddArgs) -> anyhow::Result<()> {
    let client = Client::connect(&args.client, Role::Desk).await?;
    let role = match args.role {
        RoleArg::Publisher => Role::Publisher,
        RoleArg::Subscriber => Role::Subscriber,
        RoleArg::Desk => Role::Desk,
        RoleArg::Monitor => Role::Monitor,
        RoleArg::Native => Role::Native,
    };
    let expires = args.expires.map(|span| from_now(span.0));
    let request = client.request(proto::CreateKeyRequest {
        partner: args.partner,
        role: role_to_proto(role).into(),
        note: args.note,
        expires,
        certificate: fingerprint(args.certificate.as_deref())?,
    });
    let made = client.desk().create_key(request).await;
    let made = made.map_err(CallError::from)?.into_inner();
    print(
        &made.key.unwrap_or_default(),
        &made.secret,
        args.client.output,
    )
}

async fn rotate(args: RotateArgs) -> anyhow::Result<()> {
    let client = Client::connect(&args.client, Role::Desk).await?;
    let request = client.request(proto::RotateKeyRequest {
        key_id: args.key_id,
        overlap: prost_types::Duration::try_from(args.overlap.0).ok(),
        certificate: fingerprint(args.certificate.as_deref())?,
    });
    let rotated = client.desk().rotate_key(request).await;
    let rotated = rotated.map_err(CallError::from)?.into_inner();
    print(
        &rotated.key.unwrap_or_default(),
        &rotated.secret,
        args.client.output,
    )
}

async fn revoke(args: RevokeArgs) -> anyhow::Result<()> {
    let client = Client::connect(&args.client, Role::Desk).await?;
    let key_id = args.key_id;
    let request = client.request(proto::RevokeKeyRequest { key_id });
    let revoked = client.desk().revoke_key(request).await;
    revoked.map_err(CallError::from)?;
    Ok(())
}

async fn nats_accounts(args: NatsAccountsArgs) -> anyhow::Result<()> {
    let client = Client::connect(&args.client, Role::Desk).await?;
    let request = client.request(proto::ListPartnersRequest {});
    let listed = client.desk().list_partners(request).await;
    let partners = listed.map_err(CallError::from)?.into_inner().partners;
    for partner in partners.iter().filter(|partner| !partner.suspended) {
        let Some(scope) = partner
            .subscribe
            .as_ref()
            .filter(|scope| scope.languages.is_empty())
        else {
            continue;
        };
        let topics: Result<Vec<Topic>, _> = scope.topics.iter().map(|text| text.parse()).collect();
        let now = Timestamp::now().as_second();
        let is_over = |key: &proto::Key| key.expires.is_some_and(|end| end.seconds <= now);
        let native = partner.keys.iter().filter(|key| !key.nkey.is_empty());
        for key in native.filter(|key| !is_over(key)) {
            let reader = NativeReader {
                id: key.id.parse().context("a key's id")?,
                nkey: printable(&key.nkey),
                topics: topics.clone().context("a partner's topics")?,
            };
            let name = format!("NATIVE_{}", reader.id);
            out::line(nats::account(&name, Some(&reader)).trim_end())?;
        }
    }
    Ok(())
}

/// The SHA-256 of the first certificate in a file; empty without one.
fn fingerprint(file: Option<&Path>) -> Result<String, BadUse> {
    let Some(file) = file else {
        return Ok(String::new());
    };
    let bad = |error: TlsError| BadUse(format!("--certificate: {error}"));
    let pem = tls::bytes(file, tls::Role::Certificate).map_err(bad)?;
    let chain = tls::certificates(file, tls::Role::Certificate, &pem).map_err(bad)?;
    let own = chain.first().expect("at least one is in the file");
    let read = PeerCertificate::of(own);
    let read = read.map_err(|error| BadUse(format!("--certificate: {} {error}", file.display())));
    Ok(read?.to_string())
}

/// The secret alone on stdout, so that it can go into a file; the rest is for people.
fn print(key: &proto::Key, secret: &str, output: Output) -> anyhow::Result<()> {
    if output == Output::Json {
        return out::json(&KeyJson {
            secret: Some(secret).filter(|secret| !secret.is_empty()),
            ..KeyJson::from(key)
        });
    }
    if secret.is_empty() {
        out::say("its client certificate stands for this key, and it has no secret:");
        return out::line(&line(key));
    }
    out::say(&format!(
        "key {}; its secret is not shown again:",
        line(key)
    ));
    out::line(&printable(secret))
}

/// A key in a line.
pub fn line(key: &proto::Key) -> String {
    let mut line = format!("{}  {}", printable(&key.id), role(key));
    let mut add = |what: &str, time: Option<String>| {
        if let Some(time) = time {
            line.push_str(&format!(", {what} {time}"));
        }
    };
    add("made", time(key.created.as_ref()));
    add("expires", time(key.expires.as_ref()));
    add(
        "former secret until",
        time(key.former_secret_expires.as_ref()),
    );
    add("last used", time(key.last_used.as_ref()));
    for certificate in &key.certificates {
        line.push_str(&format!(", certificate {}", printable(certificate)));
    }
    if key.streams > 0 {
        line.push_str(&format!(", {} streams", key.streams));
    }
    if !key.note.is_empty() {
        line.push_str(&format!("  {}", printable(&key.note)));
    }
    line
}

impl<'a> From<&'a proto::Key> for KeyJson<'a> {
    fn from(key: &'a proto::Key) -> Self {
        Self {
            id: &key.id,
            role: role(key),
            note: &key.note,
            created: time(key.created.as_ref()),
            expires: time(key.expires.as_ref()),
            former_secret_expires: time(key.former_secret_expires.as_ref()),
            streams: key.streams,
            last_used: time(key.last_used.as_ref()),
            certificates: &key.certificates,
            secret: None,
        }
    }
}

fn role(key: &proto::Key) -> &'static str {
    let known = Role::ALL
        .into_iter()
        .find(|role| i32::from(role_to_proto(*role)) == key.role);
    known.map_or("unknown", Role::as_str)
}

fn time(timestamp: Option<&prost_types::Timestamp>) -> Option<String> {
    let time = Timestamp::from_second(timestamp?.seconds).ok()?;
    Some(time.to_string())
}

fn from_now(span: Duration) -> prost_types::Timestamp {
    let seconds = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    prost_types::Timestamp {
        seconds: Timestamp::now().as_second().saturating_add(seconds),
        nanos: 0,
    }
}
