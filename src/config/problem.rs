//! What can be wrong with the settings, and where; all of it at once.

use std::{fmt, io, path::PathBuf};

/// A place in a settings file, as editors jump to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file as it was named.
    pub path: PathBuf,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl Place {
    /// The place of a byte of a file's text; beyond the end it is the end.
    pub fn of(path: PathBuf, text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let last_line = before.rsplit('\n').next().unwrap_or_default();
        Self {
            path,
            line: before.matches('\n').count() + 1,
            column: last_line.chars().count() + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, column } = self;
        write!(f, "{}:{line}:{column}", path.display())
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line; the flag with its dashes.
    Flag(String),
    /// The environment; the variable's name.
    Variable(String),
    /// A file; where in it.
    File(Place),
    /// Nobody named one.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::File(place) => write!(f, "file {}:{}", place.path.display(), place.line),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The file is not there, or not readable.
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why not.
        message: String,
    },
    /// The file is not TOML, or has a value of the wrong kind.
    File {
        /// Where.
        place: Place,
        /// What is wrong.
        message: String,
    },
    /// The file has a key that is no setting.
    UnknownKey {
        /// Where.
        place: Place,
        /// The key.
        key: String,
        /// The known one that may have been meant.
        nearest: Option<&'static str>,
    },
    /// A `BARID_*` variable that names no setting.
    UnknownVariable {
        /// The variable.
        name: String,
        /// The known one that may have been meant.
        nearest: Option<String>,
    },
    /// A variable's value is of the wrong kind.
    Variable {
        /// Which one.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// A value breaks its rule, or two settings contradict each other.
    Rule {
        /// The setting's name in the file.
        key: &'static str,
        /// Where its value comes from.
        origin: Origin,
        /// The rule and the remedy.
        message: String,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, message } => {
                write!(
                    f,
                    "can't read the settings file {}: {message}",
                    path.display()
                )
            }
            Self::File { place, message } => write!(f, "{place}: {message}"),
            Self::UnknownKey {
                place,
                key,
                nearest,
            } => write!(
                f,
                "{place}: {key:?} is no setting{} (`barid config example` has them all)",
                hint(*nearest)
            ),
            Self::UnknownVariable { name, nearest } => {
                let hint = hint(nearest.as_deref());
                write!(f, "{name} is no variable of Barid's{hint}")
            }
            Self::Variable { name, message } => write!(f, "{name}: {message}"),
            Self::Rule {
                key,
                origin,
                message,
            } => match origin {
                Origin::File(place) => write!(f, "{place}: {key}: {message}"),
                Origin::Variable(name) => write!(f, "{name}: {message}"),
                Origin::Flag(name) => write!(f, "{name}: {message}"),
                Origin::Default => write!(f, "{key}: {message}"),
            },
        }
    }
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |near| format!("; is {near} meant?"))
}

/// Why the settings can't be used: everything that could be found at once, never nothing.
#[derive(Debug, thiserror::Error)]
#[error("{}", list(.0))]
pub struct ConfigError(pub Vec<Problem>);

/// One problem on the error's own line, several below it.
fn list(problems: &[Problem]) -> String {
    match problems {
        [only] => only.to_string(),
        [..] => {
            let lines: Vec<String> = problems
                .iter()
                .map(|problem| format!("\n  {problem}"))
                .collect();
            let count = problems.len();
            format!("{count} problems in the settings:{}", lines.concat())
        }
    }
}

impl Problem {
    /// A file that can't be read, in words.
    pub fn unreadable(path: PathBuf, error: &io::Error) -> Self {
        Self::Unreadable {
            path,
            message: error.to_string(),
        }
    }
}
