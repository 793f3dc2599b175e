//! Files of ninjs: one object, or JSON Lines, and the line that each object begins at.

use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    path::Path,
};

use serde::de::IgnoredAny;

use crate::wire::ninjs::{self, NinjsError, Parsed};

/// Most bytes of one object: an article of 900 KiB with every character escaped, and some room.
const OBJECT_BYTES_MAX: u64 = 8 << 20;

/// Where in which file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file as the user named it.
    pub file: String,
    /// From 1; 0 where only the file is known.
    pub line: usize,
    /// From 1; 0 where only the line is known.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if self.column > 0 {
            write!(f, ":{}", self.column)?;
        }
        Ok(())
    }
}

/// One object of a file, read or not.
#[derive(Debug)]
pub struct Item {
    /// Where it begins, or where it is wrong.
    pub place: Place,
    /// What it says.
    pub parsed: Result<Parsed, String>,
}

/// Opens a file; `-` is stdin.
///
/// # Errors
/// What the system says.
pub fn open(file: &str) -> io::Result<Box<dyn BufRead>> {
    if file == "-" {
        return Ok(Box::new(io::stdin().lock()));
    }
    if Path::new(file).is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(Box::new(BufReader::new(File::open(file)?)))
}

/// Every object of a file. After an error of the file itself nothing more comes.
pub fn items<R: BufRead>(file: &str, reader: R) -> Items<R> {
    Items {
        file: file.to_owned(),
        reader,
        line: 0,
        is_done: false,
    }
}

/// The objects of one file.
#[derive(Debug)]
pub struct Items<R> {
    file: String,
    reader: R,
    line: usize,
    is_done: bool,
}

impl<R: BufRead> Iterator for Items<R> {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        loop {
            if self.is_done {
                return None;
            }
            self.line += 1;
            let text = match self.read_line() {
                Ok(text) => text,
                Err(error) => {
                    self.is_done = true;
                    return Some(self.refuse(error.to_string()));
                }
            };
            if text.is_empty() {
                self.is_done = true;
                return None;
            }
            let text = text.strip_prefix('\u{FEFF}').unwrap_or(&text);
            if !text.trim().is_empty() {
                return Some(self.item(text.to_owned()));
            }
        }
    }
}

impl<R: BufRead> Items<R> {
    /// A line with its end; empty at the end of the file.
    fn read_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        let mut limited = self.reader.by_ref().take(OBJECT_BYTES_MAX + 1);
        limited.read_line(&mut line)?;
        bounded(line)
    }

    fn item(&mut self, mut text: String) -> Item {
        if text.trim_start().starts_with('[') {
            self.is_done = true;
            let message = "is a list; write one object per line instead (JSON Lines)";
            return self.refuse(message.to_owned());
        }
        // A line that is no whole value is the beginning of an object over several lines, which
        // then fills the file. Any other mistake is that line's own.
        let whole = serde_json::from_str::<IgnoredAny>(&text);
        if whole.is_err_and(|error| error.is_eof()) {
            self.is_done = true;
            let mut limited = self.reader.by_ref().take(OBJECT_BYTES_MAX + 1);
            let read = limited.read_to_string(&mut text);
            match read.and_then(|_| bounded(text)) {
                Ok(all) => text = all,
                Err(error) => return self.refuse(error.to_string()),
            }
        }
        match ninjs::parse(&text) {
            Ok(parsed) => Item {
                place: self.place(0, 0),
                parsed: Ok(parsed),
            },
            Err(error) => self.refuse_ninjs(&error),
        }
    }

    fn refuse_ninjs(&self, error: &NinjsError) -> Item {
        Item {
            place: self.place(error.line.saturating_sub(1), error.column),
            parsed: Err(error.to_string()),
        }
    }

    fn refuse(&self, message: String) -> Item {
        Item {
            place: self.place(0, 0),
            parsed: Err(message),
        }
    }

    fn place(&self, lines_below: usize, column: usize) -> Place {
        Place {
            file: self.file.clone(),
            line: self.line + lines_below,
            column,
        }
    }
}

fn bounded(text: String) -> io::Result<String> {
    if u64::try_from(text.len()).is_ok_and(|len| len <= OBJECT_BYTES_MAX) {
        Ok(text)
    } else {
        let message = format!("one object has more than {OBJECT_BYTES_MAX} bytes");
        Err(io::Error::new(io::ErrorKind::InvalidData, message))
    }
}

#[cfg(test)]
mod tests;
