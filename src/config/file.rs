//! `barid.toml`: what it says, where it says it, and everything that is wrong with it at once.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    str,
};

use serde::Deserialize as _;
use toml::{
    Spanned,
    de::{DeTable, Deserializer},
};

use crate::config::{
    layer::{KEYS, Layer},
    nearest,
    problem::{Place, Problem},
};

/// Most bytes of a settings file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A file that was read, as far as it could be.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// What it says.
    pub layer: Layer,
    /// Where each of its settings stands.
    pub places: BTreeMap<&'static str, Place>,
}

/// Reads a file; `problems` gets all that is wrong with it.
pub fn read(path: &Path, problems: &mut Vec<Problem>) -> Read {
    match text(path) {
        Ok(text) => parse(path, &text, problems),
        Err(problem) => {
            problems.push(problem);
            Read::default()
        }
    }
}

fn text(path: &Path) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| Problem::unreadable(path.to_owned(), &error))?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > FILE_BYTES_MAX) {
        let message = format!("has more than {FILE_BYTES_MAX} bytes");
        let error = io::Error::new(io::ErrorKind::FileTooLarge, message);
        return Err(Problem::unreadable(path.to_owned(), &error));
    }
    let error = match str::from_utf8(&bytes) {
        Ok(text) => return Ok(text.to_owned()),
        Err(error) => error,
    };
    let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
    let good = String::from_utf8_lossy(good);
    Err(Problem::File {
        place: Place::of(path.to_owned(), &good, good.len()),
        message: "is not UTF-8 from here on; save the file as UTF-8".to_owned(),
    })
}

fn parse(path: &Path, text: &str, problems: &mut Vec<Problem>) -> Read {
    let place = |offset: usize| Place::of(path.to_owned(), text, offset);
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut broken_lines = Vec::new();
    for error in errors {
        let place = place(error.span().map_or(0, |span| span.start));
        broken_lines.push(place.line);
        problems.push(Problem::File {
            place,
            message: error.message().to_owned(),
        });
    }
    let whole = table.span();
    let mut good = DeTable::new();
    let mut read = Read::default();
    for (name, value) in table.into_inner() {
        let (name_place, value_place) = (place(name.span().start), place(value.span().start));
        // What the parser made of a broken line is a guess, and has been told already.
        if broken_lines.contains(&name_place.line) {
            continue;
        }
        let Some(key) = KEYS.into_iter().find(|key| *key == name.get_ref()) else {
            problems.push(Problem::UnknownKey {
                place: name_place,
                key: name.get_ref().to_string(),
                nearest: nearest(name.get_ref(), KEYS.into_iter()),
            });
            continue;
        };
        // One by one, so that an error of one hides no other's.
        let mut only = DeTable::new();
        only.insert(name.clone(), value.clone());
        match Layer::deserialize(Deserializer::from(Spanned::new(whole.clone(), only))) {
            Ok(_) => {
                read.places.insert(key, name_place);
                good.insert(name, value);
            }
            Err(error) => problems.push(Problem::File {
                place: value_place,
                message: format!("{key}: {}", error.message()),
            }),
        }
    }
    read.layer = Layer::deserialize(Deserializer::from(Spanned::new(whole, good)))
        .expect("each entry was read by itself");
    read.layer
        .relative_to(path.parent().unwrap_or(Path::new("")));
    read
}

/// The file to read: the one that is named, or else `barid.toml` if it is there.
pub fn chosen(named: Option<&Path>) -> Option<PathBuf> {
    match named {
        Some(path) => Some(path.to_owned()),
        None => Path::new(super::FILE).exists().then(|| super::FILE.into()),
    }
}
