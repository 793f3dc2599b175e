//! Finding a nats-server that is new enough.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    str::FromStr,
};

/// The first release with everything that the log needs: atomic batches that refuse without harm.
pub(super) const OLDEST: Version = Version {
    major: 2,
    minor: 14,
    patch: 0,
};
/// Where `make tools` puts it.
const TOOLS: &str = ".barid/bin/nats-server";
/// Looked up on PATH by the system.
const ON_PATH: &str = "nats-server";

/// A release of nats-server. A pre-release counts as its release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    major: u32,
    minor: u32,
    patch: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// What is not the answer of `nats-server --version`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotAVersion;

impl FromStr for Version {
    type Err = NotAVersion;

    /// Reads `nats-server: v2.15.1`, also with `-RC.1` or `-dev` behind it.
    fn from_str(answer: &str) -> Result<Self, NotAVersion> {
        let version = answer
            .trim()
            .strip_prefix("nats-server: v")
            .ok_or(NotAVersion)?;
        let release = version.split(['-', '+']).next().unwrap_or(version);
        let mut numbers = release.split('.').map(str::parse);
        match (
            numbers.next(),
            numbers.next(),
            numbers.next(),
            numbers.next(),
        ) {
            (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch)), None) => Ok(Self {
                major,
                minor,
                patch,
            }),
            _ => Err(NotAVersion),
        }
    }
}

/// What was looked for, in order, and why each was not taken.
#[derive(Debug)]
pub struct Attempts(Vec<Attempt>);

impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, attempt) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            let Attempt { program, refusal } = attempt;
            match program.to_str() {
                Some(ON_PATH) => f.write_str("nats-server on PATH")?,
                _ => program.display().fmt(f)?,
            }
            match refusal {
                Refusal::Missing => f.write_str(" is missing")?,
                Refusal::Broken(error) => write!(f, " does not run: {error}")?,
                Refusal::Unknown => f.write_str(" does not say which version it is")?,
                Refusal::Old(version) => write!(f, " is {version}")?,
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Attempt {
    program: PathBuf,
    refusal: Refusal,
}

#[derive(Debug)]
enum Refusal {
    Missing,
    Broken(io::Error),
    Unknown,
    Old(Version),
}

/// The program to run: the given one and no other, or else the first usable one.
pub(super) fn find(given: Option<&Path>) -> Result<PathBuf, Attempts> {
    let places = match given {
        Some(given) => vec![given],
        None => vec![Path::new(TOOLS), Path::new(ON_PATH)],
    };
    let mut attempts = Vec::new();
    for place in places {
        match check(place) {
            Ok(()) => return Ok(place.to_owned()),
            Err(refusal) => attempts.push(Attempt {
                program: place.to_owned(),
                refusal,
            }),
        }
    }
    Err(Attempts(attempts))
}

fn check(program: &Path) -> Result<(), Refusal> {
    let output = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Refusal::Missing,
            _ => Refusal::Broken(error),
        })?;
    let version: Version = String::from_utf8_lossy(&output.stdout)
        .parse()
        .map_err(|NotAVersion| Refusal::Unknown)?;
    if version < OLDEST {
        return Err(Refusal::Old(version));
    }
    Ok(())
}
